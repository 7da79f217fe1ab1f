"""How good a registration is: overlap and surfaces per label, similarity, and what the field does to space."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medloss.apps.common import deformation, summary
from medloss.apps.common.region_metrics import diagonal_mm, region_measures
from medloss.apps.registration.losses import RegistrationLoss

MISS = "; of a missed region the diagonal of the image, the largest distance that there is"
DEFINITIONS = {
    **summary.DEFINITIONS,
    **deformation.DEFINITIONS,
    "hd95_mm": summary.DEFINITIONS["hd95_mm"] + MISS,
    "asd_mm": summary.DEFINITIONS["asd_mm"] + MISS,
    "missed": "whether a region is there in the fixed or in the moved labels alone: its Dice is 0",
    "tre_before_mm": "tre_mm before the registration, as dice_before",
    "tre_mm": "target registration error: mean distance in mm between the moving landmarks and the fixed ones that the "
    "field moves",
    "landmarks": "number of landmark pairs",
    "dice_before": "Dice before the registration: the headers trusted, or box laid over box with initialise: resize",
    "image_loss": "what loss.image: auto chose, and why",
    "ncc_before": "Pearson's correlation of the fixed and the moving intensities before registration, where both are",
    "ncc": "Pearson's correlation of the fixed and the moved intensities on the fixed grid, where both are",
    "seconds": "wall time of the registration, files and pictures excluded",
    "peak_gib": "peak memory in GiB: of the process (CPU), or allocated by torch (GPU)",
}


OVERLAP = ("dice_before", "dice", "hd95_mm", "asd_mm", "missed")
"""Of each region of a case."""
FIELD = (
    "tre_before_mm",
    "tre_mm",
    "ncc_before",
    "ncc",
    "folding_percent",
    "folding_inside_percent",
    "sdlogj",
    "sdlogj_l2r",
    "jacobian_min",
    "inverse_consistency_mm",
    "seconds",
    "peak_gib",
)
"""Of each case."""


def case_rows(case: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of a table: one per region of a case, or one where it has none."""
    field = {key: case[key] for key in FIELD if key in case}
    cells = [{key: row.get(key, "") for key in ("label", *OVERLAP)} for row in case["labels"] or [{}]]
    return [{"case": case["case"], **row, **field} for row in cells]


def regions(label: Tensor, classes: Sequence[int] | None = None) -> dict[str, Tensor]:
    """Boolean masks by name: of the ``classes`` of a map ``(i, j, k)``, or of the channels of masks ``(C, i, j,
    k)``.
    """
    if label.ndim == 4:
        return {str(number): channel > 0.5 for number, channel in enumerate(label)}
    return {str(value): label == value for value in classes or []}


def overlap_rows(
    fixed: Mapping[str, Tensor], before: Mapping[str, Tensor], after: Mapping[str, Tensor], spacing: Sequence[float]
) -> list[dict[str, Any]]:
    """One row per region: Dice before and after, HD95 and mean surface distance after, in mm.

    A region that only one side has is a miss, with a Dice of 0 and the image's diagonal as its distances. Of a region
    that neither side has nothing is known: NaN.
    """
    rows = []
    for name, reference in fixed.items():
        first, last = (region_measures(each[name].numpy(), reference.numpy(), spacing) for each in (before, after))
        missed = bool(reference.any()) != bool(after[name].any())
        diagonal = diagonal_mm(reference.shape, spacing)
        distances = {key: diagonal if missed else last[key] for key in ("hd95_mm", "asd_mm")}
        rows.append({"label": name, "dice_before": first["dice"], "dice": last["dice"], **distances, "missed": missed})
    return rows


def landmark_errors(ddf: Tensor, before: Tensor, points: tuple[np.ndarray, np.ndarray], affine: np.ndarray) -> dict:
    """Mean distance in mm of corresponding landmarks before and after.

    Args:
        ddf, before: ``(3, i, j, k)`` in voxels of the fixed grid.
        points: fixed and moving landmarks, ``(n, 3)`` each, RAS mm.
        affine: 4 x 4 of the fixed grid.
    """
    first, last = (float(deformation.landmark_error(field, *points, affine).mean()) for field in (before, ddf))
    return {"tre_before_mm": first, "tre_mm": last, "landmarks": len(points[0])}


@torch.no_grad()
def similarity(
    fixed: Tensor, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], loss: RegistrationLoss
) -> dict[str, float]:
    """Correlation and each image loss (raw) before and after, where the moving image is.

    Args:
        fixed: ``(i, j, k)``.
        before, after: the moving image on the fixed grid ``(i, j, k)``, rescaled alike, and where it is, boolean.
    """
    found = {}
    for when, (moved, inside) in (("_before", before), ("", after)):
        found[f"ncc{when}"] = _correlation(fixed[inside].numpy(), moved[inside].numpy())
        terms = loss.terms(images=(moved[None, None], fixed[None, None]), mask=inside[None, None])
        found |= {f"{name}{when}": float(term.raw) for name, term in terms.items()}
    return found


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; NaN where one of both is constant or empty."""
    if not one.size or not np.ptp(one) or not np.ptp(other):
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def peak_gib() -> float:
    """Peak memory so far: allocated on the GPU where one is used, else resident in this process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**30
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
