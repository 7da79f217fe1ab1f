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
from medloss.apps.common.region_metrics import region_measures
from medloss.apps.registration.losses import RegistrationLoss

DEFINITIONS = {
    **summary.DEFINITIONS,
    **deformation.DEFINITIONS,
    "dice_before": "Dice before the registration: the headers trusted, or box laid over box with initialise: resize",
    "ncc_before": "Pearson's correlation of the fixed and the moving intensities before the registration",
    "ncc": "Pearson's correlation of the fixed and the moved intensities on the fixed grid",
    "seconds": "wall time of the registration, files and pictures excluded",
    "peak_gib": "peak memory in GiB: of the process (CPU), or allocated by torch (GPU)",
}


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
    """One row per region: Dice before and after, HD95 and mean surface distance after, in mm; NaN where not defined."""
    rows = []
    for name, reference in fixed.items():
        first, last = (region_measures(each[name].numpy(), reference.numpy(), spacing) for each in (before, after))
        distances = {key: last[key] for key in ("hd95_mm", "asd_mm")}
        rows.append({"label": name, "dice_before": first["dice"], "dice": last["dice"], **distances})
    return rows


@torch.no_grad()
def similarity(fixed: Tensor, before: Tensor, after: Tensor, loss: RegistrationLoss) -> dict[str, float]:
    """Correlation and each image loss (raw) before and after; images ``(i, j, k)`` on the fixed grid, rescaled
    alike.
    """
    found = {}
    for when, moved in (("_before", before), ("", after)):
        found[f"ncc{when}"] = float(np.corrcoef(fixed.flatten().numpy(), moved.flatten().numpy())[0, 1])
        terms = loss.terms(images=(moved[None, None], fixed[None, None]))
        found |= {f"{name}{when}": float(term.raw) for name, term in terms.items()}
    return found


def peak_gib() -> float:
    """Peak memory so far: allocated on the GPU where one is used, else resident in this process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**30
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
