"""Which mask is compared with which reference, and on which image it is drawn: files of one name."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import strip_suffix
from medloss.apps.common.listing import LeftOut, list_images, tell_left_out, without_channel
from medloss.apps.segmentation.classes import NAMES_FILE
from medloss.apps.segmentation.jobs import PREVIEWS, RECORD_FILE

METRICS_CSV, METRICS_JSON, REPORT = "metrics.csv", "metrics.json", "report.html"


class Pair(NamedTuple):
    """A case: its mask, its reference, and its image where one is known."""

    case: str
    prediction: Path
    reference: Path
    image: Path | None = None


def find_pairs(predictions: Path, references: Path, images: Path | None = None) -> tuple[list[Pair], list[str]]:
    """The pairs in order of their names, and the references without a prediction.

    Raises:
        UserError: nothing there, a folder beside a file, or a prediction or image without a partner.
    """
    for given in (predictions, references, *([images] if images else [])):
        if not given.exists():
            raise UserError(f"{given} does not exist")
    if len({given.is_dir() for given in (predictions, references, *([images] if images else []))}) > 1:
        raise UserError(f"give folders alone or files alone, not both: {predictions} and {images or references}")
    if predictions.is_file():
        return [Pair(without_channel(strip_suffix(predictions)), predictions, references, images)], []
    found, truth = _masks(predictions), _masks(references)
    lonely = sorted(set(found) - set(truth))
    if lonely:
        raise UserError(
            f"{len(lonely)} prediction(s) have no reference of the same name in {references}: {found[lonely[0]]} ..."
        )
    if not found:
        raise UserError(f"no masks found in {predictions}")
    seen = _masks(images) if images else {}
    unseen = sorted(set(found) - set(seen)) if images else []
    if unseen:
        raise UserError(f"{len(unseen)} prediction(s) have no image of the same name in {images}: {found[unseen[0]]}")
    pairs = [Pair(case, found[case], truth[case], seen.get(case)) for case in sorted(found)]
    return pairs, sorted(set(truth) - set(found))


def _masks(folder: Path) -> dict[str, Path]:
    """The images of a folder by case, without the tables and probabilities that ``predict`` and ``evaluate`` wrote."""
    listing = list_images(folder)
    tell_left_out([each for each in listing.left_out if not _is_ours(each)])
    return {without_channel(name): path for name, path in listing.images.items() if "_probabilities" not in name}


def _is_ours(left: LeftOut) -> bool:
    names = (NAMES_FILE, RECORD_FILE, METRICS_CSV, METRICS_JSON, REPORT, PREVIEWS)
    return left.path.name in names or left.path.parent.name == PREVIEWS
