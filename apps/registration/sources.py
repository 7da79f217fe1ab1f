"""The volumes of a split: DeepReg's folders and HDF5 files, CSV and JSON lists; each with its label and landmarks."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medloss.apps.common.case_names import check_case_name
from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import SUFFIXES, strip_suffix
from medloss.apps.common.hdf5 import volumes_in
from medloss.apps.common.listing import list_images, tell_left_out
from medloss.apps.common.tables import read_table
from medloss.apps.registration.config import Data

LISTS = (".csv", ".json")
CELLS = ("label", "points", "group", "name")


class Source(NamedTuple):
    """One image with what belongs to it; ``group`` is its subject, scan date or other group."""

    name: str
    image: Path
    label: Path | None = None
    points: Path | None = None
    group: str = ""


class PairFiles(NamedTuple):
    """The files of one pair; labels and landmarks of both sides or of neither."""

    name: str
    fixed: Path
    moving: Path
    fixed_label: Path | None = None
    moving_label: Path | None = None
    fixed_points: Path | None = None
    moving_points: Path | None = None


def pair_of(fixed: Source, moving: Source, name: str = "") -> PairFiles:
    """The pair of two images; what only one of them has is left out."""
    labels = (fixed.label, moving.label) if fixed.label and moving.label else (None, None)
    points = (fixed.points, moving.points) if fixed.points and moving.points else (None, None)
    return PairFiles(name or f"{moving.name}-to-{fixed.name}", fixed.image, moving.image, *labels, *points)


def sources_in(folder: Path, data: Data, prefix: str = "", groups: bool = False) -> list[Source]:
    """The images of ``{prefix}images`` with their labels and points, by name.

    Args:
        folder: the folder of a split.
        data: whether there are labels and points.
        prefix: ``fixed_`` or ``moving_`` where the two sides have folders of their own.
        groups: each image lies in a folder of its group, in whose names numbers count as numbers.

    Raises:
        UserError: nothing to read, or labels and points that do not go with the images.
    """
    images = _volumes(folder, f"{prefix}images", groups)
    labels = _volumes(folder, f"{prefix}labels", groups) if data.labels else {}
    points = _tables(folder / f"{prefix}points") if data.points else {}
    optional = data.labels is not None and data.labels.missing == "allow"
    if labels and not optional:
        same_names(images, labels, (folder / f"{prefix}images", folder / f"{prefix}labels"))
    if points:
        same_names(images, points, (folder / f"{prefix}images", folder / f"{prefix}points"))
    return [
        Source(name, path, labels.get(name), points.get(name), _group(folder / f"{prefix}images", name, path, groups))
        for name, path in images.items()
    ]


def same_names(first: Iterable[str], second: Iterable[str], where: Sequence[Path]) -> None:
    """Raise UserError unless both folders hold files of the same names."""
    for one, other, folder in ((first, second, where[1]), (second, first, where[0])):
        absent = sorted(set(one) - set(other))
        if absent:
            near = difflib.get_close_matches(absent[0], list(other), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            complete = where[0] if folder is where[1] else where[1]
            raise UserError(
                f"{folder} lacks {len(absent)} file(s) that {complete} has, such as {absent[0]}: "
                f"a pair has equal names in both folders{hint}"
            )


def listed_sources(path: Path, split: str, data: Data) -> list[Source]:
    """The images of a CSV or JSON list: ``image``, and maybe ``label``, ``points``, ``group`` and ``name``."""
    found = []
    for place, row in listed(path, split, ("image",)):
        image = _beside(path, row["image"])
        name = check_case_name(row.get("name") or strip_suffix(image), place)
        label, points = (_beside(path, row[key]) if row.get(key) else None for key in ("label", "points"))
        label, points = label if data.labels else None, points if data.points else None
        found.append(Source(name, image, label, points, row.get("group", "")))
    return found


def listed_pairs(path: Path, split: str, data: Data) -> list[PairFiles]:
    """The pairs of a list: ``fixed``, ``moving``, and maybe ``fixed_label`` to ``moving_points``, and ``name``."""
    from medloss.apps.common.notes import note

    found = []
    for place, row in listed(path, split, ("fixed", "moving")):
        sides = []
        for side in ("fixed", "moving"):
            label, points = (row.get(f"{side}_{kind}") for kind in ("label", "points"))
            sides.append(
                Source(
                    strip_suffix(row[side]),
                    _beside(path, row[side]),
                    _beside(path, label) if label and data.labels else None,
                    _beside(path, points) if points and data.points else None,
                )
            )
        if data.labels and bool(sides[0].label) != bool(sides[1].label):
            note(f"{place}: one of fixed_label and moving_label is empty: registered without labels")
        name = row.get("name") or row.get("id") or f"{sides[1].name}-to-{sides[0].name}"
        found.append(pair_of(sides[0], sides[1], check_case_name(name, place)))
    return found


def listed(path: Path, split: str, needed: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """The rows of a CSV, or the entries of a JSON: a list of mappings, or a mapping of such lists by split.

    Returns: where each stands, for messages, and its cells.
    """
    if path.suffix.lower() == ".json":
        rows = [(f"{path}, entry {number}", row) for number, row in enumerate(_entries(path, split), 1)]
    else:
        rows = [(f"{path}, line {line}", cells) for line, cells in read_table(path, needed)]
    if not rows:
        raise UserError(f"{path} holds no {'pairs' if 'fixed' in needed else 'images'} below its header")
    for place, row in rows:
        if not all(row.get(key) for key in needed):
            raise UserError(f"{place}: {' and '.join(needed)} {'are both' if len(needed) > 1 else 'is'} needed")
    return rows


def _entries(path: Path, split: str) -> list[dict[str, str]]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist, expected a JSON list") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is no JSON: {error}") from error
    found = content.get(split) if isinstance(content, Mapping) else content
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise UserError(
            f"{path}: expected a list of entries such as {{fixed: a.nii.gz, moving: b.nii.gz}}, or a mapping with such "
            f"a list under {split!r}"
        )
    return [{str(key): str(value) for key, value in each.items() if value is not None} for each in found]


def _beside(path: Path, cell: str) -> Path:
    return path.parent / cell


def _volumes(folder: Path, kind: str, groups: bool) -> dict[str, Path]:
    """The volumes of ``kind`` by name: of a folder, or of ``kind.h5`` beside it."""
    file = next((folder / f"{kind}{end}" for end in (".h5", ".hdf5") if (folder / f"{kind}{end}").is_file()), None)
    if file is not None and not (folder / kind).is_dir():
        return dict(sorted(volumes_in(file).items(), key=lambda each: _in_order(each[0])))
    found = list_images(folder / kind)
    tell_left_out(found.left_out)
    if not found.images:
        raise UserError(
            f"{folder / kind} holds no images that can be read ({', '.join(SUFFIXES)}, or folders of DICOM slices)"
        )
    if not groups:
        return dict(sorted(found.images.items()))
    # two groups may hold files of one name, and the order in a group counts
    places = sorted(found.images.values(), key=lambda path: _in_order(str(path.relative_to(folder / kind))))
    return {"_".join([*path.relative_to(folder / kind).parts[:-1], strip_suffix(path)]): path for path in places}


def _tables(folder: Path) -> dict[str, Path]:
    found = {path.stem: path for path in sorted(folder.glob("*.csv"))} if folder.is_dir() else {}
    if not found:
        raise UserError(f"{folder} holds no landmarks: expected a CSV with the columns x, y and z for each image")
    return found


def _in_order(name: str) -> list[tuple[int, str]]:
    """Sorts numbers in names as numbers: what comes second is before what comes tenth."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _group(images: Path, name: str, path: Path, groups: bool) -> str:
    """The folder of an image below ``images``; in an HDF5 file what stands before the last number of its name."""
    if not groups:
        return ""
    if path.parent.is_file():
        return name.rpartition("-")[0]
    return "/".join(path.relative_to(images).parts[:-1])
