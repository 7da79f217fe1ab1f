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
from medloss.apps.common.tables import read_table
from medloss.apps.segmentation.case import Case, Found

IGNORE, BACKGROUND = "ignore", "background"


def from_csv(file: Path) -> Found:
    """The rows of a table: image (or image_<channel>, one per channel), label, id, split, classes, within."""
    cases, names = [], []
    for line, row in read_table(file, ("label",)):
        names = sorted_channels([name for name in row if name.startswith("image_")])
        columns = names or ["image"]
        if any(name not in row for name in columns):
            raise UserError(f"{file} needs the columns image (or image_<channel>, one for each) and label")
        part = row.get("split", "").lower()
        absent = [name for name in (*columns, "label") if not row[name]]
        if absent or part not in ("", "train", "valid"):
            raise UserError(
                f"{file} line {line}: needs an image, a label and a split of train, valid or nothing"
                + (f"; {', '.join(absent)} missing" if absent else "")
            )
        images = tuple(file.parent / row[name] for name in columns)  # absolute paths stay as they are
        name = check_case_name(row.get("id") or strip_suffix(images[0]), f"{file}, line {line}")
        within = file.parent / row["within"] if row.get("within") else None
        annotated = tuple(each.strip() for each in re.split(r"[;|]", row.get("classes", "")) if each.strip()) or None
        cases.append(Case(name, images, file.parent / row["label"], part, annotated, within))
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
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        labels = dict(content.get("labels", {}))
        channels = _channels(content)
        if "training" not in content and ("channel_names" in content or "file_ending" in content):
            names = {str(name): _ids(value) for name, value in labels.items() if str(name).lower() != IGNORE}
            names = {name: ids for name, ids in names.items() if ids != 0}
            ignore = next((int(value) for name, value in labels.items() if str(name).lower() == IGNORE), None)
            order = content.get("regions_class_order")
            regions = tuple(int(each) for each in order)[-len(names) :] if order else None
            overlap = any(isinstance(ids, list) for ids in names.values())
            found = folders(channels)
            return found._replace(
                names=names, channels=channels, ignore=ignore, region_order=regions if overlap else None
            )
        pairs = [
            (root / str(each["image"]), root / str(each["label"]), each.get("classes")) for each in content["training"]
        ]
        names = {str(name): int(value) for value, name in labels.items() if int(value) != 0}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is neither a Decathlon dataset.json with training and labels nor nnU-Net's: {error!r}"
        ) from error
    cases = []
    for image, label, classes in pairs:
        name = check_case_name(strip_suffix(image), str(file))
        cases.append(Case(name, (image,), label, "", tuple(str(each) for each in classes) if classes else None))
    return Found(cases, _not_listed(cases), names, channels)


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
