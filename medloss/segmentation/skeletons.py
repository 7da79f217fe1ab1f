"""A warning where erosions were too few to find the skeleton of a region."""

from __future__ import annotations

import warnings
from functools import lru_cache

from torch import Tensor

from medloss import checks
from medloss.ops.operator import is_plain_eager


def warn_where_lost(region: Tensor, line: Tensor, iterations: int) -> None:
    """Warn, once, where a region B N [spatial] has no voxel of its skeleton ``line``.

    Looking makes a GPU wait: there it is done under :func:`~medloss.check_values` alone.
    """
    waits = region.device.type != "cpu"
    if not is_plain_eager(region, line) or region.is_meta or (waits and not checks.checking_values()):
        return
    lost = region.flatten(2).any(-1) & ~line.flatten(2).any(-1)
    if bool(lost.any()):
        _warn(iterations)


@lru_cache
def _warn(iterations: int) -> None:
    """Say it, the first time."""
    warnings.warn(
        f"a region has no skeleton after iter_={iterations} erosions, and no part in the loss: take an iter_ of at "
        "least the radius of the widest vessel, in voxels",
        stacklevel=7,
    )
