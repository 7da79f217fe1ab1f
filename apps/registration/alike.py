"""Whether the two images of a pair look alike: which losses ``loss.image: auto`` stands for, and what speaks against a
result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medloss.apps.registration.config import ALIKE, UNLIKE, PairConfig, by_lncc
from medloss.apps.registration.result import Chosen
from medloss.apps.registration.views import Views
from medloss.ops.local_correlation import local_correlation

LEAST_AGREEMENT = 0.8
"""Of images that look alike. On development pairs after the affine stage: of one modality .85 and more (mostly .95), T1
beside T2 or proton density .55 and less. Brains painted like T1 and FLAIR have .87 to .93: fluid is dark in both.
"""
WINDOW = 5
"""Voxels along each axis in which intensities are correlated."""
NOISE = 0.03
"""Standard deviation of intensities, rescaled to 0 to 1, below which a window shows noise."""
LEAST_CORRELATION = 0.2
"""Of the fixed and the moved intensities: below it two images of one modality show nothing in common."""
SAME_MODALITY = 0.7
"""Images of one modality end above it (.93 and more on all development pairs), T1 and T2 of one person below (.52)."""

DOUBT = (
    "the images do not look alike, and were compared by mutual information, which suits unlike modalities. If both are "
    "of one modality, they may not have met: look at preview.png; try initialise=centre_of_mass or resize"
)
"""Where mutual information was chosen, not named."""


@torch.no_grad()
def choose(views: Views, start: Tensor | None = None) -> Chosen:
    """The image losses for a pair.

    Args:
        views: both images, about on each other by their initial map.
        start: or through this displacement, ``(1, 3, *fixed)`` in voxels.
    """
    views = views if start is None else views.through(start)
    found = agreement(views.fixed, views.moving, views.mask)
    alike = found >= LEAST_AGREEMENT
    image, does, sign = (ALIKE, "look", ">=") if alike else (UNLIKE, "do not look", "<")
    why = f"{next(iter(image))}: the images {does} alike (their local correlations agree in sign by {found:.2f}"
    return Chosen(image, f"{why} {sign} {LEAST_AGREEMENT:.2f})")


def agreement(fixed: Tensor, moved: Tensor, mask: Tensor | None = None) -> float:
    """How far two images brighten and darken together, or against each other, at every place alike: 0 to 1.

    It is ``|sum r |r|| / sum r^2`` over the correlations r in windows about each voxel. One modality has one sign, and
    unlike ones have both: in T2 fluid is brighter than grey and grey brighter than white matter, and bone is darker
    than fat in both T1 and T2. A correlation in the whole image would see the outline of the head before all else.

    Args:
        fixed, moved: ``(1, 1, *spatial)``, intensities rescaled to 0 to 1.
        mask: ``(1, 1, *spatial)`` of 0 and 1, or None.
    """
    windows: dict[str, Any] = {"window": [1.0] * WINDOW, "renormalise": True}
    found = local_correlation(moved, fixed, mask, **windows, smooth_dr=WINDOW**3 * NOISE**2)
    squares = float(found.square().sum())
    return abs(float((found * found.abs()).sum())) / squares if squares else 0.0


def verdict(metrics: Mapping[str, Any], config: PairConfig) -> str | None:
    """What speaks against the result, where the images hardly look alike at its end; None where nothing does.

    Mutual information has no least value that would show a fault: noise is laid over other noise as well as T1 over T2.

    Args:
        config: with its image losses named.
    """
    if not by_lncc(config.loss.image):
        return DOUBT if "image_loss" in metrics else None
    size = abs(metrics["ncc"])  # LNCC is squared: it compares reversed contrast, too
    if size >= SAME_MODALITY:
        return None
    found = f"the correlation of the fixed and the moved image is {metrics['ncc']:.2f}"
    if not size >= LEAST_CORRELATION:  # or NaN
        return (
            f"nothing was found: {found}. Is it the same body part in both, and the same modality? Look at "
            "preview.png; try initialise=centre_of_mass or resize, or for unlike modalities "
            "loss.image=global_mutual_information"
        )
    return (
        f"{found}, and the loss (LNCC) compares images of one modality. For T1 and T2, MR and CT and the like use "
        "loss.image=global_mutual_information; for images of one modality look at preview.png before the field is used"
    )
