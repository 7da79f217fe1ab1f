"""Cases from a CSV, or from the dataset.json of the Decathlon or of nnU-Net."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss.apps.common.case_names import check_case_name
from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import strip_suffix
from medloss.apps.common.listing import LeftOut, Listing, list_images
from medloss.apps.common.tables import path_from, read_table
from medloss.apps.segmentation.case import Case, Found

IGNORE, BACKGROUND = "ignore", "background"
EXPECTED = (
    'expected that of the Decathlon, {"labels": {"0": "background", "1": "liver"}, "training": [{"image": "...", '
    '"label": "..."}]}, or of nnU-Net, {"labels": {"background": 0, "liver": 1}, "channel_names": {"0": "CT"}}'
)


def from_csv(file: Path) -> Found:
    """The rows of a table: image (or image_<channel>, one per channel), label, id, split, classes, within."""
    cases, names = [], []
    for line, row in read_table(file, ("label",)):
        names = sorted_channels([name for name in row if name.startswith("image_")])
        columns = names or ["image"]
        if any(name not in row for name in columns):
            raise UserError(
                f"{file} needs the columns image (or image_<channel>, one for each) and label, got {', '.join(row)}"
            )
        part = row.get("split", "").lower()
        absent = [name for name in (*columns, "label") if not row[name]]
        if absent or part not in ("", "train", "valid"):
            raise UserError(
                f"{file} line {line}: needs an image, a label and a split of train, valid or nothing"
                + (f"; {', '.join(absent)} missing" if absent else "")
            )
        images = tuple(path_from(file.parent, row[name]) for name in columns)
        name = check_case_name(row.get("id") or strip_suffix(images[0]), f"{file}, line {line}")
        within = path_from(file.parent, row["within"]) if row.get("within") else None
        annotated = tuple(each.strip() for each in re.split(r"[;|]", row.get("classes", "")) if each.strip()) or None
        cases.append(Case(name, images, path_from(file.parent, row["label"]), part, annotated, within))
    channels = tuple(name.removeprefix("image_") for name in names)
    return Found(cases, [], channels=channels)


def sorted_channels(columns: Sequence[str]) -> list[str]:
    """Columns such as image_0, image_1 by number, named ones as they stand."""
    if all(re.fullmatch(r"image_\d+", name) for name in columns):
        return sorted(columns, key=lambda name: int(name.removeprefix("image_")))
    return list(columns)


def from_json(root: Path, folders: Callable[[tuple[str, ...]], Found]) -> Found:
    """The Decathlon's ``dataset.json``, which lists the cases, or nnU-Net's, which names labels and channels alone.

    ``folders``: makes the cases of imagesTr/ and labelsTr/, given the names of the channels.
    """
    file = root / "dataset.json"
    if not file.is_file():
        raise UserError(f"{file} does not exist; data.kind msd needs the dataset.json of the Decathlon or of nnU-Net")
    content = _content(file)
    try:
        if "training" not in content:
            return _nnunet(content, folders)
        pairs = [
            (root / str(each["image"]), root / str(each["label"]), each.get("classes")) for each in content["training"]
        ]
        names = {str(name): int(value) for value, name in content["labels"].items() if int(value) != 0}
        channels = _channels(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: a value has another form than expected ({error}); {EXPECTED}") from error
    cases = []
    for image, label, classes in pairs:
        name = check_case_name(strip_suffix(image), str(file))
        cases.append(Case(name, (image,), label, "", tuple(str(each) for each in classes) if classes else None))
    return Found(cases, _not_listed(cases), names, channels)


def _content(file: Path) -> dict[str, Any]:
    """The JSON of a data set, an object with its labels and either its cases or its channels."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{file} is no valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds {json.dumps(content)[:40]}; {EXPECTED}")
    if not isinstance(content.setdefault("labels", {}), dict):
        raise UserError(f"{file} has the labels {json.dumps(content['labels'])[:60]}; {EXPECTED}")
    if "training" in content and not _is_list_of_cases(content["training"]):
        raise UserError(f"{file} has the training cases {json.dumps(content['training'])[:60]}; {EXPECTED}")
    if "training" not in content and not ("channel_names" in content or "file_ending" in content):
        raise UserError(f"{file} names neither training cases nor channels; {EXPECTED}")
    return content


def _is_list_of_cases(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and {"image", "label"} <= each.keys() for each in value
    )


def _nnunet(content: Mapping[str, Any], folders: Callable[[tuple[str, ...]], Found]) -> Found:
    """The cases of the folders, with the labels, channels and regions that nnU-Net's file names."""
    labels, channels = content["labels"], _channels(content)
    names = {str(name): _ids(value) for name, value in labels.items() if str(name).lower() != IGNORE}
    names = {name: ids for name, ids in names.items() if ids != 0}
    ignore = next((int(value) for name, value in labels.items() if str(name).lower() == IGNORE), None)
    order = content.get("regions_class_order")
    regions = tuple(int(each) for each in order)[-len(names) :] if order else None
    overlap = any(isinstance(ids, list) for ids in names.values())
    found = folders(channels)
    return found._replace(names=names, channels=channels, ignore=ignore, region_order=regions if overlap else None)


def _channels(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the channels by number; one name more for each that repeats."""
    given = content.get("channel_names") or content.get("modality") or {}
    names = [str(given[key]) for key in sorted(given, key=int)]
    return tuple(f"{name}_{number}" if names.count(name) > 1 else name for number, name in enumerate(names))


def _ids(value: Any) -> int | list[int]:
    return [int(each) for each in value] if isinstance(value, (list, tuple)) else int(value)


def _not_listed(cases: Sequence[Case]) -> list[LeftOut]:
    """Images and labels that lie beside those of the list and are not in it."""
    used = {path.resolve() for case in cases for path in case.files}
    folders = dict.fromkeys(path.parent for case in cases for path in case.files if path.parent.is_dir())
    listings: list[Listing] = [list_images(folder) for folder in folders]
    unlisted = [path for each in listings for path in each.images.values() if path.resolve() not in used]
    return [
        *(left for each in listings for left in each.left_out if left.path.resolve() not in used),
        *(LeftOut(path, "not in dataset.json") for path in unlisted),
    ]
