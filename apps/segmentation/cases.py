"""From folders, a CSV or a dataset.json to a checked list of cases, split into training and validation."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from medloss.apps.common.case_names import check_distinct
from medloss.apps.common.errors import UserError
from medloss.apps.common.listing import LeftOut, list_images, match_channels
from medloss.apps.segmentation.case import Case, Found, in_order, some
from medloss.apps.segmentation.case_lists import from_csv, from_json
from medloss.apps.segmentation.data_config import Data, Split


def find_cases(data: Data, faults: list[str] | None = None) -> Found:
    """All cases, sorted by id (numbers in order of size).

    ``faults`` collects what is wrong with single cases, which are left out then, in place of an exception.

    Raises:
        UserError: no case; files or channels that do not exist (all of them are counted); ids that repeat or cannot
            name a file.
    """
    if data.kind == "msd":
        root = cast(Path, data.root)
        found = from_json(
            root, lambda channels: _from_folders(root / "imagesTr", root / "labelsTr", data, channels, faults)
        )
    elif data.kind == "csv":
        found = from_csv(cast(Path, data.file))
    else:
        found = _from_folders(*_folders(data), data, (), faults)
    if not found.cases:
        raise UserError(f"no images found in {data.file or data.images or data.root}" + _first_left_out(found.left_out))
    missing = [str(path) for case in found.cases for path in case.files if not path.exists()]
    if missing:
        _tell(faults, f"{len(missing)} file(s) of the data set do not exist: {some(missing)}")
        found = found._replace(cases=[case for case in found.cases if all(path.exists() for path in case.files)])
    check_distinct([case.id for case in found.cases], str(data.file or data.root or data.images))
    cases = [_annotated(case, data) for case in found.cases]
    return found._replace(cases=sorted(cases, key=lambda case: natural_key(case.id)))


def split_cases(cases: Sequence[Case], split: Split) -> tuple[list[Case], list[Case]]:
    """Training and validation cases: by ``ids``, a fold, the CSV's column, or the last ``fraction`` of the ids."""
    if split.ids is not None:
        held = _pick(cases, split.ids)
    elif split.folds is not None and split.fold is not None:
        first, end = (round(each * len(cases) / split.folds) for each in (split.fold, split.fold + 1))
        held = {case.id for case in cases[first:end]}
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


def _tell(faults: list[str] | None, message: str) -> None:
    if faults is None:
        raise UserError(message)
    faults.append(message)


def _from_folders(images: Path, labels: Path, data: Data, names: Sequence[str], faults: list[str] | None) -> Found:
    names = data.channels or names
    masks = {} if data.within is None else list_images(data.within).images
    skip = [] if data.within is None else [data.within]
    cases, lonely, left_out = match_channels(
        list_images(images, skip=[labels, *skip]), list_images(labels, skip=[images, *skip])
    )
    if lonely:
        told = f"{len(lonely)} image(s) of {images} have no label of that name in {labels}: {some(lonely)}"
        _tell(faults, told + _first_left_out(left_out))
    count = len(names) or max((max(files) + 1 for files, _ in cases.values()), default=1)
    without = [name for name in cases if data.within is not None and name not in masks]
    if without:
        _tell(faults, f"{len(without)} case(s) have no mask of that name in {data.within}: {some(without)}")
    found = []
    for name, (files, label) in cases.items():
        try:
            found.append(Case(name, in_order(name, files, count, names), label, within=masks.get(name)))
        except UserError as fault:
            _tell(faults, str(fault))
    channels = tuple(names) or tuple(f"channel_{number}" for number in range(count)) * (count > 1)
    return Found(found, left_out, channels=channels)


def _annotated(case: Case, data: Data) -> Case:
    """The case with the classes that the first pattern of ``data.annotated`` gives it."""
    if case.annotated is None:
        for pattern, names in data.annotated.items():
            if fnmatch.fnmatchcase(case.id, pattern):
                return case._replace(annotated=tuple(names))
    return case


def _first_left_out(left_out: Sequence[LeftOut]) -> str:
    return f"; left out: {left_out[0].path}, {left_out[0].reason}" if left_out else ""


def _pick(cases: Sequence[Case], ids: list[str] | str) -> set[str]:
    known = [case.id for case in cases]
    wanted = ids.split("..") if isinstance(ids, str) else list(ids)
    strange = [each for each in wanted if each not in known]
    if strange:
        near = difflib.get_close_matches(strange[0], known, n=1)
        raise UserError(f"data.valid.ids: no case {some(strange)}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if isinstance(ids, str) and len(wanted) == 2:
        first, last = known.index(wanted[0]), known.index(wanted[1])
        if first > last:
            raise UserError(f"data.valid.ids: {ids} is empty, since {wanted[0]} comes after {wanted[1]}")
        return set(known[first : last + 1])
    return set(wanted)
