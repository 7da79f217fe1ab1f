"""Clean-up of masks: of a class, only the largest connected component stays. Chosen on validation cases alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import label as components

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import check_same_grid
from medloss.apps.common.labels import load_labels
from medloss.apps.common.origin import FILE as ORIGIN
from medloss.apps.common.output import RunFolder, digest_of, read_json, write_json
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.segmentation.classes import Classes, read_classes
from medloss.apps.segmentation.evaluation_pairs import Pair, find_pairs

FILE = "cleanup.json"
"""In the run folder: which classes are cleaned, what that gave, and on which cases it was chosen."""
ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


def keep_largest(mask: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """A label map (i, j, k) in which the labels ``ids``, taken together, keep their largest component alone.

    Voxels that touch by a corner are of one component; the rest becomes background, 0.
    """
    region = np.isin(mask, ids)
    numbers, count = components(region, ALL_NEIGHBOURS)
    if count < 2:
        return mask
    largest = np.bincount(numbers.ravel())[1:].argmax() + 1
    return np.where(region & (numbers != largest), 0, mask).astype(mask.dtype)


def clean(mask: np.ndarray, classes: Classes, names: Iterable[str]) -> np.ndarray:
    """A mask with the classes ``names`` cleaned."""
    for name in names:
        mask = keep_largest(mask, classes.ids[classes.names.index(name)])
    return mask


def choose_cleanup(
    run: RunFolder, pairs: Sequence[Pair], classes: Classes, reading: Reading = DEFAULT
) -> dict[str, Any]:
    """Which classes gain by it, on the validation cases of a run; written into the run, for ``predict --cleanup``.

    A class is cleaned where its mean Dice over these cases rises. Nothing is chosen on any other data: what is chosen
    on the test cases makes their result too good.

    Raises:
        UserError: a case that is no validation case of the run, or regions that overlap.
    """
    if not classes.exclusive or not classes.names:
        raise UserError("clean-up is chosen for the classes of a run, one per voxel; regions that overlap have none")
    check_validation(run, pairs)
    dice: dict[str, list[tuple[float, float]]] = {name: [] for name in classes.names}
    for pair in pairs:
        found, truth = load_labels(pair.prediction, reading), load_labels(pair.reference, reading)
        check_same_grid(found, truth, f"prediction {pair.prediction}", f"reference {pair.reference}", reading)
        counted = classes.counted(truth.array)
        for name, ids in zip(classes.names, classes.ids, strict=True):
            true = np.isin(truth.array, ids) & counted
            both = [np.isin(each, ids) & counted for each in (found.array, keep_largest(found.array, ids))]
            if true.any() or both[0].any():
                dice[name].append((_dice(both[0], true), _dice(both[1], true)))
    means = {name: np.mean(values, axis=0).tolist() for name, values in dice.items() if values}
    chosen = [name for name, (before, after) in means.items() if after > before]
    result = {
        "largest_component": chosen,
        "mean_dice": {name: {"as_predicted": before, "cleaned": after} for name, (before, after) in means.items()},
        "chosen_on": [pair.case for pair in pairs],
    }
    write_json(run.path / FILE, result)
    return result


def check_validation(run: RunFolder, pairs: Sequence[Pair]) -> None:
    """Raise UserError unless every reference is the label file of a validation case of the run."""
    made_of = read_json(run.path / ORIGIN) or {}
    valid = made_of.get("parts", {}).get("valid", [])
    known = {digest for case in valid for digest in made_of.get("cases", {}).get(case, [])}
    strange = [str(pair.reference) for pair in pairs if digest_of(pair.reference) not in known]
    if strange:
        raise UserError(
            f"{len(strange)} of {len(pairs)} references, such as {strange[0]}, are not those of the validation cases "
            f"of {run.path}: clean-up is chosen on these alone ({', '.join(valid[:10]) or 'the run has none'})"
        )


def read_cleanup(run: RunFolder, classes: Classes) -> tuple[str, ...]:
    """The classes that were chosen.

    Raises:
        UserError: nothing has been chosen yet, or the file does not fit the classes.
    """
    content = read_json(run.path / FILE)
    if content is None:
        raise UserError(
            f"{run.path} has no {FILE}: predict the validation cases, then choose by "
            f"medloss segment evaluate MASKS REFERENCES --choose-cleanup {run.path}"
        )
    names = content.get("largest_component") if isinstance(content, dict) else None
    if not isinstance(names, list) or not set(names) <= set(classes.names):
        raise UserError(f"{run.path / FILE} must list classes of the run ({', '.join(classes.names)}), not {names!r}")
    return tuple(names)


def choose_for(run: Path, predictions: Path, references: Path, reading: Reading = DEFAULT) -> str:
    """Choose for a run folder by masks and references, files or folders of one name; what was chosen, in words."""
    folder = RunFolder.open(run)
    pairs, _ = find_pairs(predictions, references)
    classes = read_classes(predictions if predictions.is_dir() else predictions.parent) or Classes((), ())
    return told(choose_cleanup(folder, pairs, classes, reading), folder.path)


def told(chosen: dict[str, Any], path: Path) -> str:
    """One line for each class: its mean Dice as predicted and cleaned, and whether it is cleaned from now on."""
    lines = [
        f"{name}: mean Dice {means['as_predicted']:.4f}, of the largest component alone {means['cleaned']:.4f}"
        f"{': cleaned' if name in chosen['largest_component'] else ''}"
        for name, means in chosen["mean_dice"].items()
    ]
    return "\n".join([*lines, f"chosen on {len(chosen['chosen_on'])} validation cases; wrote {path / FILE}"])


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))
