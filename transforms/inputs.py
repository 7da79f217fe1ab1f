"""What every transform asks of the arrays that it is given, in one place."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor


def as_tensor(array: Any, what: str) -> Tensor:
    """The values of a NumPy array, tensor or MetaTensor as a plain tensor, without a copy where that is possible.

    Raises:
        TypeError: for anything else, naming what was given.
    """
    if isinstance(array, MetaTensor):
        return array.as_tensor()
    if isinstance(array, Tensor):
        return array
    if isinstance(array, np.ndarray):
        # nibabel hands out big-endian and read-only arrays, which torch refuses or warns about
        native = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
        return torch.from_numpy(np.ascontiguousarray(native))
    raise TypeError(f"{what} must be a NumPy array, a tensor or a MetaTensor, not {type(array).__name__}")


def spatial_shape(array: Any, what: str) -> tuple[int, ...]:
    """The spatial shape of a channel-first array ``C[spatial]`` with two or three spatial axes.

    Raises:
        ValueError: if the array has no channel axis, more than three spatial axes, or no voxels.
    """
    shape = tuple(array.shape)
    if len(shape) not in (3, 4):
        raise ValueError(
            f"{what} must be channel-first with 2 or 3 spatial axes (C H W or C H W D), but has shape {shape}: "
            "add a channel axis with EnsureChannelFirst, or leave out the batch axis"
        )
    if 0 in shape:
        raise ValueError(f"{what} is empty: its shape is {shape}")
    return shape[1:]


@contextmanager
def naming(key: Hashable) -> Iterator[None]:
    """Put the dictionary key in front of what an array transform complains about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"key {key!r}: {error}") from error
