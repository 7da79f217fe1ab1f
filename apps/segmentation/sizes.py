"""How much of a patch a class may take, by its sizes in the training cases: bounds for losses of sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medloss.apps.segmentation.case import Case
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.data_config import Data
from medloss.apps.segmentation.scan import Look

DIGITS = 6


def size_bounds(
    cases: Sequence[Case], looks: Sequence[Look], classes: Classes, data: Data, largest: float = 1.0
) -> dict[str, list[float]]:
    """The bounds ``lower`` and ``upper`` of the share of a patch's voxels that each channel of the network may take.

    A class takes at most the largest size that it has in a case that annotates it, times ``largest`` cubed, the factor
    of augmentation. It takes nothing where the patch lies beside it; the lower bound is above 0 only where every volume
    fits into a patch and nothing is scaled. Of exclusive classes the background is what the others leave.
    """
    annotated = {case.id: classes.names if case.annotated is None else case.annotated for case in cases}
    patch = data.settled_patch
    whole = largest == 1.0 and all(_fits(look, patch, data.settled_spacing) for look in looks)
    lower, upper = [], []
    for name, ids in zip(classes.names, classes.ids, strict=True):
        sizes = [_voxels(look, ids, data.settled_spacing) for look in looks if name in annotated[look.case]]
        shares = [size / math.prod(patch) for size in sizes] or [0.0, 1.0]
        lower.append(min(shares) if whole else 0.0)
        upper.append(max(shares) * largest**3)
    if classes.exclusive:
        lower, upper = [1 - sum(upper), *lower], [1 - sum(lower), *upper]
    scale = 10**DIGITS
    return {
        "lower": [max(0.0, math.floor(each * scale) / scale) for each in lower],
        "upper": [min(1.0, math.ceil(each * scale) / scale) for each in upper],
    }


def _voxels(look: Look, ids: Sequence[int], spacing: Sequence[float] | None) -> float:
    """The size of a class in voxels of the network's grid."""
    scale = 1.0 if spacing is None else math.prod(look.spacing) / math.prod(spacing)
    return scale * sum(look.counts.get(each, 0) for each in ids)


def _fits(look: Look, patch: Sequence[int], spacing: Sequence[float] | None) -> bool:
    sizes = zip(look.shape, look.spacing, spacing or look.spacing, strict=True)
    return all(round(n * old / new) <= most for (n, old, new), most in zip(sizes, patch, strict=True))
