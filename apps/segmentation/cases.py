"""From folders, a CSV or an MSD dataset.json to a checked list of cases, split into training and validation."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from medloss.apps.common.case_names import check_case_name, check_distinct
from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import strip_suffix
from medloss.apps.common.listing import LeftOut, Listing, list_images, match
from medloss.apps.common.tables import read_table
from medloss.apps.segmentation.config import Data, Split


class Case(NamedTuple):
    """One subject: its id, the image file, the label file, and the part it was given to ("" leaves it to the split)."""

    id: str
    image: Path
    label: Path
    part: str = ""


class Found(NamedTuple):
    """What a data set holds: its cases, the label names that it declares itself, and the files that are left out."""

    cases: list[Case]
    names: dict[str, int]
    left_out: list[LeftOut]


def find_cases(data: Data) -> Found:
    """All cases, sorted by id (numbers in order of size).

    Raises:
        UserError: no case; files that do not exist (all of them are counted); ids that repeat or cannot name a file.
    """
    if data.kind == "msd":
        found = _from_json(cast(Path, data.root))
    elif data.kind == "csv":
        found = Found(_from_csv(cast(Path, data.file)), {}, [])
    else:
        found = _from_folders(*_folders(data))
    if not found.cases:
        raise UserError(f"no images found in {data.file or data.images or data.root}" + _first_left_out(found.left_out))
    missing = [str(path) for case in found.cases for path in (case.image, case.label) if not path.exists()]
    if missing:
        raise UserError(f"{len(missing)} file(s) of the data set do not exist: {_some(missing)}")
    check_distinct([case.id for case in found.cases], str(data.file or data.root or data.images))
    return found._replace(cases=sorted(found.cases, key=lambda case: natural_key(case.id)))


def split_cases(cases: Sequence[Case], split: Split) -> tuple[list[Case], list[Case]]:
    """Training and validation cases: by ``ids``, the CSV's split column, or the last ``fraction`` of the sorted ids."""
    if split.ids is not None:
        held = _pick(cases, split.ids)
    elif any(case.part for case in cases):
        held = {case.id for case in cases if case.part == "valid"}
    else:
        count = max(round(split.fraction * len(cases)), 1 if split.fraction else 0)
        held = {case.id for case in cases[len(cases) - count :]}
    train, valid = [case for case in cases if case.id not in held], [case for case in cases if case.id in held]
    if not train:
        raise UserError(f"all {len(cases)} cases are held out for validation, none is left to train on; see data.valid")
    return train, valid


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sorts ``case_2`` before ``case_10``."""
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


def _folders(data: Data) -> tuple[Path, Path]:
    chosen = []
    for given, names in ((data.images, ("images", "imagesTr")), (data.masks, ("labels", "labelsTr", "masks"))):
        candidates = [given] if given else [cast(Path, data.root) / name for name in names]
        found = next((each for each in candidates if each.is_dir()), None)
        if found is None:
            raise UserError(f"folder {' or '.join(str(each) for each in candidates)} does not exist; see data.root")
        chosen.append(found)
    return chosen[0], chosen[1]


def _from_folders(images: Path, labels: Path) -> Found:
    cases, lonely, left_out = match(list_images(images, skip=[labels]), list_images(labels, skip=[images]))
    if lonely:
        raise UserError(
            f"{len(lonely)} image(s) of {images} have no label of that name in {labels}: {_some(lonely)}"
            + _first_left_out(left_out)
        )
    return Found([Case(name, image, label) for name, (image, label) in cases.items()], {}, left_out)


def _from_csv(file: Path) -> list[Case]:
    cases = []
    for line, row in read_table(file, ("image", "label")):
        part = row.get("split", "").lower()
        if not row["image"] or not row["label"] or part not in ("", "train", "valid"):
            raise UserError(f"{file} line {line}: needs an image, a label and a split of train, valid or nothing")
        image, label = file.parent / row["image"], file.parent / row["label"]  # absolute paths stay as they are
        name = check_case_name(row.get("id") or strip_suffix(image), f"{file}, line {line}")
        cases.append(Case(name, image, label, part))
    return cases


def _from_json(root: Path) -> Found:
    """The Decathlon's ``dataset.json``, which lists the cases, or nnU-Net's, which names the labels alone."""
    file = root / "dataset.json"
    if not file.is_file():
        raise UserError(f"{file} does not exist; data.kind msd needs the dataset.json of the Decathlon or of nnU-Net")
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        labels = dict(content.get("labels", {}))
        if "training" not in content and ("channel_names" in content or "file_ending" in content):
            names = {str(name): int(value) for name, value in labels.items() if int(value) != 0}
            return _from_folders(root / "imagesTr", root / "labelsTr")._replace(names=names)
        pairs = [(root / str(each["image"]), root / str(each["label"])) for each in content["training"]]
        names = {str(name): int(value) for value, name in labels.items() if int(value) != 0}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is neither a Decathlon dataset.json with training and labels nor nnU-Net's: {error!r}"
        ) from error
    cases = [Case(check_case_name(strip_suffix(image), str(file)), image, label) for image, label in pairs]
    return Found(cases, names, _not_listed(cases))


def _not_listed(cases: Sequence[Case]) -> list[LeftOut]:
    """Images and labels that lie beside those of the list and are not in it."""
    used = {path.resolve() for case in cases for path in (case.image, case.label)}
    folders = dict.fromkeys(path.parent for case in cases for path in (case.image, case.label) if path.parent.is_dir())
    listings: list[Listing] = [list_images(folder) for folder in folders]
    unlisted = [path for each in listings for path in each.images.values() if path.resolve() not in used]
    return [
        *(left for each in listings for left in each.left_out if left.path.resolve() not in used),
        *(LeftOut(path, "not in dataset.json") for path in unlisted),
    ]


def _first_left_out(left_out: Sequence[LeftOut]) -> str:
    return f"; left out: {left_out[0].path}, {left_out[0].reason}" if left_out else ""


def _pick(cases: Sequence[Case], ids: list[str] | str) -> set[str]:
    known = [case.id for case in cases]
    wanted = ids.split("..") if isinstance(ids, str) else list(ids)
    strange = [each for each in wanted if each not in known]
    if strange:
        near = difflib.get_close_matches(strange[0], known, n=1)
        raise UserError(f"data.valid.ids: no case {_some(strange)}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if isinstance(ids, str) and len(wanted) == 2:
        first, last = known.index(wanted[0]), known.index(wanted[1])
        if first > last:
            raise UserError(f"data.valid.ids: {ids} is empty, since {wanted[0]} comes after {wanted[1]}")
        return set(known[first : last + 1])
    return set(wanted)


def _some(names: Sequence[str], count: int = 5) -> str:
    return ", ".join(names[:count]) + (f", ... ({len(names)} in all)" if len(names) > count else "")
