"""Label maps: whole numbers, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import Volume, load_channels, load_volume
from medloss.apps.common.reading import DEFAULT, Reading

ROUNDED = 1e-3
"""Stored labels this close to a whole number are that number: what resampling in float32 or a scaled file leaves."""


def load_labels(path: Path | str, reading: Reading = DEFAULT, layers: int = 0) -> Volume:
    """Read a label map; its array holds integers, whatever the file stores.

    ``layers``: the file is 4D and holds so many regions, each as a volume of 0 and 1; the label of a voxel is the sum
    of 2^number over the regions that hold it.

    Floats and scaled integers are rounded where they lie within a thousandth of whole numbers, or within the step
    between two stored values.

    Raises:
        UserError: unreadable, or not whole numbers; or other layers than were asked for.
    """
    if layers:
        return _layered(path, reading, layers)
    volume = load_volume(path, reading)
    return volume._replace(array=_whole(volume, path), step=0.0)


def load_label_channels(path: Path | str, reading: Reading = DEFAULT) -> Volume:
    """Read a 3D or 4D file of labels or masks; its array (i, j, k, channels) holds integers."""
    volume = load_channels(path, reading)
    return volume._replace(array=_whole(volume, path), step=0.0)


def _layered(path: Path | str, reading: Reading, layers: int) -> Volume:
    """The volumes of a 4D label file as one label map of sums of 2^number."""
    volume = load_label_channels(path, reading)
    array = volume.array
    if array.shape[-1] != layers:
        raise UserError(f"{path} has {array.shape[-1]} volume(s), and data.label_channels names {layers}")
    if array.size and (array.min() < 0 or array.max() > 1):
        raise UserError(
            f"{path} holds values from {array.min()} to {array.max()}; each volume of a 4D label file is 1 in its "
            "region and 0 elsewhere"
        )
    return volume._replace(array=array.astype(np.int32) @ (1 << np.arange(layers, dtype=np.int32)))


def as_layers(labels: np.ndarray, layers: int) -> np.ndarray:
    """The volumes (i, j, k, layers), uint8, of a label map of sums of 2^number: what :func:`load_labels` reads back.

    >>> as_layers(np.array([0, 1, 2, 3]), 2).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    return (labels[..., None] >> np.arange(layers) & 1).astype(np.uint8)


def layered_ids(names: Sequence[str]) -> dict[str, list[int]]:
    """The labels that hold each region of a 4D label file.

    >>> layered_ids(["whole", "core"])
    {'whole': [1, 3], 'core': [2, 3]}
    """
    codes = range(1, 1 << len(names))
    return {name: [code for code in codes if code >> number & 1] for number, name in enumerate(names)}


def integer_dtype(array: np.ndarray) -> type[np.signedinteger[Any]]:
    """int32 for the integers of an array, or int64 where one of them needs it."""
    if np.can_cast(array.dtype, np.int32) or not array.size:
        return np.int32
    return np.int32 if int(array.min()) >= -(2**31) and int(array.max()) < 2**31 else np.int64


def label_values(array: np.ndarray) -> np.ndarray:
    """The distinct values of an integer label map, in order."""
    return np.unique(array)


def label_values_check(array: np.ndarray, classes: Iterable[int], path: Path | str) -> None:
    """Raise UserError unless every value of a label map is one of ``classes``."""
    known = sorted(set(classes))
    strange = np.setdiff1d(label_values(array), known)
    if strange.size:
        listed = ", ".join(str(value) for value in strange[:10]) + (", ..." if strange.size > 10 else "")
        raise UserError(
            f"{path} holds label{'s' * (strange.size > 1)} {listed} outside the classes {known}; "
            "add a name for it under data.labels, or declare it with data.ignore"
        )


def _whole(volume: Volume, path: Path | str) -> np.ndarray:
    array = volume.array
    if array.dtype.kind in "iu":
        return array
    if not np.isfinite(array).all():
        raise UserError(f"{path} is not a label map: it holds NaN or infinite values")
    whole = np.rint(array)
    tolerance = max(ROUNDED, min(volume.step, 0.1))
    off = np.abs(array - whole) > tolerance
    if off.any():
        odd = np.unique(array[off])[:3]
        raise UserError(
            f"{path} is not a label map: it holds fractions such as {', '.join(f'{value:g}' for value in odd)}; "
            "was it resampled with linear interpolation, or is it an image?"
        )
    if np.abs(whole).max(initial=0) >= 2**63:
        raise UserError(f"{path} is not a label map: it holds values beyond 64 bits")
    return whole.astype(np.int64)
