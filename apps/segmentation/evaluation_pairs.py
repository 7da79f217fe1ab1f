"""Which mask is compared with which reference, and on which image it is drawn: files of one name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import strip_suffix
from medloss.apps.common.images import Volume, check_same_grid
from medloss.apps.common.labels import load_labels
from medloss.apps.common.listing import LeftOut, list_images, tell_left_out, without_channel
from medloss.apps.common.reading import Reading
from medloss.apps.segmentation.classes import NAMES_FILE, Classes
from medloss.apps.segmentation.jobs import PREVIEWS, RECORD_FILE

METRICS_CSV, METRICS_JSON, REPORT = "metrics.csv", "metrics.json", "report.html"


class Pair(NamedTuple):
    """A case: its mask, its reference, its image where one is known, and a mask outside of which nothing counts."""

    case: str
    prediction: Path
    reference: Path
    image: Path | None = None
    within: Path | None = None


def find_pairs(
    predictions: Path, references: Path, images: Path | None = None, within: Path | None = None
) -> tuple[list[Pair], list[str]]:
    """The pairs in order of their names, and the references without a prediction.

    Raises:
        UserError: nothing there, a folder beside a file, or a prediction, image or mask without a partner.
    """
    everything = [predictions, references, *([images] if images else []), *([within] if within else [])]
    for given in everything:
        if not given.exists():
            raise UserError(f"{given} does not exist")
    if len({given.is_dir() for given in everything}) > 1:
        other = next(given for given in everything if given.is_dir() != predictions.is_dir())
        raise UserError(f"give folders alone or files alone, not both: {predictions} and {other}")
    if predictions.is_file():
        return [Pair(without_channel(strip_suffix(predictions)), predictions, references, images, within)], []
    found, truth = _masks(predictions), _masks(references)
    lonely = sorted(set(found) - set(truth))
    if lonely:
        raise UserError(
            f"{len(lonely)} prediction(s) have no reference of the same name in {references}: {found[lonely[0]]} ..."
        )
    if not found:
        raise UserError(f"no masks found in {predictions}")
    seen, fields = _beside(found, images, "image"), _beside(found, within, "mask")
    pairs = [Pair(case, found[case], truth[case], seen.get(case), fields.get(case)) for case in sorted(found)]
    return pairs, sorted(set(truth) - set(found))


def _beside(found: Mapping[str, Path], folder: Path | None, what: str) -> dict[str, Path]:
    """The files of a folder by case, one for each prediction; none without a folder."""
    if folder is None:
        return {}
    files = _masks(folder)
    without = sorted(set(found) - set(files))
    if without:
        raise UserError(
            f"{len(without)} prediction(s) have no {what} of the same name in {folder}: {found[without[0]]}"
        )
    return files


def counted_in(pair: Pair, truth: Volume, classes: Classes, reading: Reading) -> np.ndarray:
    """The voxels of a reference that count: those that it does not ignore, within the mask of the case.

    Raises:
        UserError: a mask that cannot be read, or on another grid.
    """
    counted = classes.counted(truth.array)
    if pair.within is None:
        return counted
    mask = load_labels(pair.within, reading)
    check_same_grid(mask, truth, f"mask {pair.within}", f"reference {pair.reference}", reading)
    return counted & (mask.array > 0)


def _masks(folder: Path) -> dict[str, Path]:
    """The images of a folder by case, without the tables and probabilities that ``predict`` and ``evaluate`` wrote."""
    listing = list_images(folder)
    tell_left_out([each for each in listing.left_out if not _is_ours(each)])
    return {without_channel(name): path for name, path in listing.images.items() if "_probabilities" not in name}


def _is_ours(left: LeftOut) -> bool:
    names = (NAMES_FILE, RECORD_FILE, METRICS_CSV, METRICS_JSON, REPORT, PREVIEWS)
    return left.path.name in names or left.path.parent.name == PREVIEWS
