"""From folders, a CSV or an MSD dataset.json to a checked list of cases, split into training and validation."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import list_images, strip_suffix
from medloss.apps.common.output import read_csv
from medloss.apps.segmentation.config import Data, Split


class Case(NamedTuple):
    """One subject: its id, the image file, the label file, and the part it was given to ("" leaves it to the split)."""

    id: str
    image: Path
    label: Path
    part: str = ""


def find_cases(data: Data) -> tuple[list[Case], dict[str, int]]:
    """All cases, sorted by id (numbers in order of size), and the label names that the data set itself declares."""
    names: dict[str, int] = {}
    if data.kind == "msd":
        cases, names = _from_msd(data.root)
    elif data.kind == "csv":
        cases = _from_csv(data.file)
    else:
        cases = _from_folders(*_folders(data))
    if not cases:
        raise UserError(f"no images found in {data.file or data.images or data.root}")
    missing = [str(path) for case in cases for path in (case.image, case.label) if not path.is_file()]
    if missing:
        raise UserError(f"{len(missing)} file(s) of the data set do not exist: {_some(missing)}")
    ids = [case.id for case in cases]
    repeated = sorted({each for each in ids if ids.count(each) > 1})
    if repeated:
        raise UserError(f"several cases have the same id: {_some(repeated)}; give each row of the CSV an id of its own")
    return sorted(cases, key=lambda case: natural_key(case.id)), names


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
        candidates = [given] if given else [data.root / name for name in names]
        found = next((each for each in candidates if each.is_dir()), None)
        if found is None:
            raise UserError(f"folder {' or '.join(str(each) for each in candidates)} does not exist; see data.root")
        chosen.append(found)
    return chosen[0], chosen[1]


def _from_folders(images: Path, labels: Path) -> list[Case]:
    by_id = {strip_suffix(path): path for path in list_images(labels)}
    cases, lonely = [], []
    for image in list_images(images):
        name = strip_suffix(image)
        key = name if name in by_id else re.sub(r"_0000$", "", name)
        if key in by_id:
            cases.append(Case(key, image, by_id[key]))
        else:
            lonely.append(image.name)
    if lonely:
        raise UserError(f"{len(lonely)} image(s) of {images} have no label of that name in {labels}: {_some(lonely)}")
    return cases


def _from_csv(file: Path) -> list[Case]:
    if not file.is_file():
        raise UserError(f"data.file {file} does not exist")
    rows = read_csv(file)
    columns = set(rows[0]) if rows else set()
    if not {"image", "label"} <= columns:
        raise UserError(f"{file} needs the columns image and label, got {sorted(columns) or 'no rows'}")
    cases = []
    for number, row in enumerate(rows, 2):
        part = (row.get("split") or "").strip()
        if not row["image"] or not row["label"] or part not in ("", "train", "valid"):
            raise UserError(f"{file} line {number}: needs an image, a label and a split of train, valid or nothing")
        image, label = file.parent / row["image"], file.parent / row["label"]  # absolute paths stay as they are
        cases.append(Case(row.get("id") or strip_suffix(image), image, label, part))
    return cases


def _from_msd(root: Path) -> tuple[list[Case], dict[str, int]]:
    file = root / "dataset.json"
    if not file.is_file():
        raise UserError(f"{file} does not exist; data.kind msd needs the Decathlon's dataset.json in data.root")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        pairs = [(root / each["image"], root / each["label"]) for each in content["training"]]
        names = {str(name): int(value) for value, name in content.get("labels", {}).items() if int(value) != 0}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not a Decathlon dataset.json with training and labels: {error!r}") from error
    return [Case(strip_suffix(image), image, label) for image, label in pairs], names


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
