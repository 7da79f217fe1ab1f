"""What kornia's robust losses share: a penalty of the residual, for tensors of any shape."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medloss.compat.kornia.base import DeviceError, alike, check, pair, reduced, together
from medloss.ops import pointwise


def robust(penalty: str, img1: Any, img2: Any, reduction: Any, others: tuple[Any, ...] = (None,)) -> Tensor:
    """A penalty of ``pointwise`` at every element.

    Args:
        penalty: its name.
        img1, img2: tensors of one shape.
        reduction: the name of one.
        others: what else stands for ``"none"``.
    """
    x, y = pair(img1, img2)
    alike("img2", y, "img1", x.shape)
    together("img2", y, x, DeviceError)
    check(reduction in ("mean", "sum", "none", *others), f"reduction={reduction!r} is unknown")
    values = pointwise(x.reshape(1, 1, -1), y.reshape(1, 1, -1), penalty=penalty).view(x.shape)
    return reduced(values, reduction or "none", x.dtype)
