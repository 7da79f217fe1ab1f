"""Which files make the pairs: DeepReg's folders, or a CSV."""

from __future__ import annotations

import difflib
import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from medloss.apps.common.case_names import check_case_name
from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import SUFFIXES, strip_suffix
from medloss.apps.common.listing import list_images, tell_left_out
from medloss.apps.common.notes import note
from medloss.apps.common.tables import read_table
from medloss.apps.registration.config import Data


class PairFiles(NamedTuple):
    """The files of one pair; both labels or neither."""

    name: str
    fixed: Path
    moving: Path
    fixed_label: Path | None = None
    moving_label: Path | None = None


def _named(folder: Path) -> dict[str, Path]:
    found = list_images(folder)
    tell_left_out(found.left_out)
    if not found.images:
        raise UserError(
            f"{folder} holds no images that can be read ({', '.join(SUFFIXES)}, or folders of DICOM slices)"
        )
    return found.images


def _same_names(first: dict[str, Path], second: dict[str, Path], where: Sequence[Path]) -> None:
    for one, other, folder in ((first, second, where[1]), (second, first, where[0])):
        absent = sorted(set(one) - set(other))
        if absent:
            near = difflib.get_close_matches(absent[0], other, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            complete = where[0] if folder is where[1] else where[1]
            raise UserError(
                f"{folder} lacks {len(absent)} file(s) that {complete} has, such as {absent[0]}: "
                f"a pair has equal names in both folders{hint}"
            )


def _paired(folder: Path, data: Data, seed: int) -> list[PairFiles]:
    kinds = ["fixed_images", "moving_images"] + (["fixed_labels", "moving_labels"] if data.labels else [])
    found = {kind: _named(folder / kind) for kind in kinds}
    for kind in kinds[1:]:
        _same_names(found["fixed_images"], found[kind], (folder / "fixed_images", folder / kind))
    return [PairFiles(name, *(found[kind][name] for kind in kinds)) for name in sorted(found["fixed_images"])]


def _unpaired(folder: Path, data: Data, seed: int) -> list[PairFiles]:
    images = _named(folder / "images")
    labels = _named(folder / "labels") if data.labels else {}
    if labels:
        _same_names(images, labels, (folder / "images", folder / "labels"))
    names = sorted(images)
    if len(names) < 2:
        raise UserError(f"{folder / 'images'} holds one image: a pair needs two")
    chosen = list(itertools.permutations(names, 2))
    if data.pairs == "random":
        chosen = random.Random(seed).sample(chosen, min(len(names), len(chosen)))
    return [
        PairFiles(f"{moving}-to-{fixed}", images[fixed], images[moving], labels.get(fixed), labels.get(moving))
        for fixed, moving in chosen
    ]


KINDS: dict[str, Callable[[Path, Data, int], list[PairFiles]]] = {"paired": _paired, "unpaired": _unpaired}
"""How the folder of a split becomes pairs, by ``data.kind``; the last argument is the seed."""


def find_pairs(data: Data, split: str, seed: int) -> list[PairFiles]:
    """The pairs of a split; UserError when it has no folder or the folder is not as ``data.kind`` says."""
    folder = data.split(split)
    if folder is None or not folder.is_dir():
        expected = folder or (data.root or Path(".")) / split
        raise UserError(f"there is no folder for the split {split!r}: expected {expected}")
    return KINDS[data.kind](folder, data, seed)


def train_and_valid(data: Data, seed: int) -> tuple[list[PairFiles], list[PairFiles]]:
    """Pairs to train on and to validate with: a valid/ folder, or the last ``valid_fraction`` of the training pairs."""
    pairs = find_pairs(data, "train", seed)
    if data.split("valid") is not None:
        return pairs, find_pairs(data, "valid", seed)
    held = round(len(pairs) * data.valid_fraction) if len(pairs) > 1 else 0
    held = max(held, 1) if data.valid_fraction and len(pairs) > 1 else held
    if data.kind == "unpaired" and held:
        return _apart(pairs, held)
    return pairs[: len(pairs) - held], pairs[len(pairs) - held :]


def _apart(pairs: list[PairFiles], held: int) -> tuple[list[PairFiles], list[PairFiles]]:
    """Hold out pairs, and train on none of their images: the others that share one are left out."""
    valid = pairs[len(pairs) - held :]
    seen = {path for pair in valid for path in (pair.fixed, pair.moving)}
    train = [pair for pair in pairs[: len(pairs) - held] if pair.fixed not in seen and pair.moving not in seen]
    if not train:
        raise UserError("too few unpaired images to hold some out: give a valid/ folder or data.valid_fraction=0")
    return train, valid


def read_pairs(path: Path, labelled: bool) -> list[PairFiles]:
    """Pairs of a CSV with the columns fixed, moving (and name, fixed_label, moving_label); paths relative to it."""
    pairs = []
    for line, row in read_table(path, ("fixed", "moving")):
        columns = ("fixed", "moving", "fixed_label", "moving_label")
        fixed, moving, *labels = (path.parent / row[key] if row.get(key) else None for key in columns)
        if fixed is None or moving is None:
            raise UserError(f"{path}, line {line}: fixed and moving are both needed")
        if (labels[0] is None) != (labels[1] is None):
            note(f"{path}, line {line}: one of fixed_label and moving_label is empty: registered without labels")
        if not labelled or None in labels:
            labels = [None, None]
        name = row.get("name") or row.get("id") or f"{strip_suffix(moving)}-to-{strip_suffix(fixed)}"
        pairs.append(PairFiles(check_case_name(name, f"{path}, line {line}"), fixed, moving, *labels))
    if not pairs:
        raise UserError(f"{path} holds no pairs below its header")
    return pairs
