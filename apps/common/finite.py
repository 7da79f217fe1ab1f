"""Intensities that networks and losses can compute with: finite, and within the range of 32-bit floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.notes import note
from medloss.apps.common.reading import Reading


def finite_values(array: np.ndarray, path: Path | str, reading: Reading) -> np.ndarray:
    """The array; NaN and infinite values are refused or read as 0, as ``reading.nan`` says.

    Raises:
        UserError: such values where they are refused, or values beyond 32-bit floats.
    """
    if array.dtype.kind != "f":
        return array
    finite = np.isfinite(array)
    odd = int(array.size - np.count_nonzero(finite))
    if odd and reading.nan == "refuse":
        raise UserError(
            f"image {path} holds {odd} NaN or infinite values of {array.size}; replace them first, or read them "
            "as 0 with nan=zero (see the options for reading)"
        )
    if odd:
        note(f"{path}: {odd} NaN or infinite values are read as 0")
        array = np.where(finite, array, 0).astype(array.dtype)
    if array.dtype.itemsize > 4 and (largest := np.abs(array).max(initial=0)) > np.finfo(np.float32).max:
        raise UserError(
            f"image {path} holds values up to {largest:.3g}, expected at most 3.4e38, the largest of 32-bit floats: "
            "divide its intensities first"
        )
    return array
