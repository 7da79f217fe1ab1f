"""What every transform asks of the arrays that it is given, in one place."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type, ensure_tuple, get_equivalent_dtype
from torch import Tensor

from medloss import checks
from medloss.options import frozen


def as_tensor(array: Any, what: str) -> Tensor:
    """The values of a NumPy array, tensor or MetaTensor as a plain tensor, without a copy where that is possible.

    Labels without a sign in 16 bits or more, with which torch does not compute, become wider ones with a sign;
    :func:`type_of` still knows what they were.

    Raises:
        TypeError: for anything else, naming what was given.
    """
    if isinstance(array, Tensor):
        return checks.plain(what, array)
    if isinstance(array, np.ndarray):
        # nibabel hands out big-endian and read-only arrays, which torch refuses or warns about
        native = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
        return checks.plain(what, torch.from_numpy(np.ascontiguousarray(native)))
    raise TypeError(f"{what} must be a NumPy array, a tensor or a MetaTensor, not {type(array).__name__}")


def type_of(array: Any) -> torch.dtype:
    """The type of an array's values, as torch calls it."""
    return array.dtype if isinstance(array, Tensor) else get_equivalent_dtype(array.dtype.newbyteorder("="), Tensor)


def like(result: Tensor, array: Any, dtype: torch.dtype) -> Any:
    """A result as the kind of array that was given, with its meta data, and where it is."""
    with array.device if isinstance(array, Tensor) else torch.device("cpu"):  # MONAI makes tensors on torch's default
        return convert_to_dst_type(result, dst=array, dtype=dtype)[0]


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


def checked_spacing(spacing: Sequence[float] | float | None) -> tuple[float, ...] | None:
    """The spacing as numbers, one or one per axis; None stands for the affine's."""
    if spacing is None:
        return None
    sizes = tuple(float(size) for size in ensure_tuple(frozen("spacing", spacing)))
    if not sizes or not all(0 < size < float("inf") for size in sizes):
        raise ValueError(f"spacing must be above 0 along every axis, not {spacing!r}")
    return sizes


def voxel_sizes(img: Any, spacing: tuple[float, ...] | None) -> list[float]:
    """The size of a voxel of ``img`` along each spatial axis: the spacing, else the lengths of the affine's columns."""
    axes = len(img.shape) - 1
    if spacing is None:
        if not isinstance(img, MetaTensor):
            return [1.0] * axes
        columns = img.affine[:-1, :axes]
        return torch.linalg.vector_norm(columns, dim=0).tolist()
    if len(spacing) not in (1, axes):
        raise ValueError(f"spacing has {len(spacing)} entries and the label {axes} spatial axes")
    return list(spacing) * (axes if len(spacing) == 1 else 1)


def one_for_each(names: KeysCollection, keys: Sequence[Hashable], what: str) -> tuple[Hashable, ...]:
    """The keys of results, one for each key."""
    names = ensure_tuple(names)
    if len(names) != len(keys) or len(set(names)) != len(names):
        raise ValueError(f"{what} must name one result for each of keys {tuple(keys)}, but is {names}")
    return names
