"""Maps that resampling spoils: they warn when a spatial transform of MONAI resamples them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from monai.data import MetaTensor
from monai.utils import TraceKeys

RESAMPLES = ("Affine", "Distortion", "Elastic", "LowResolution", "Resample", "Resize", "Rotate", "Spacing", "Zoom")
"""Words in the names of the transforms that interpolate."""
EXACT = "Rotate90"


class SpoiledMapWarning(UserWarning):
    """A map has been resampled that should have been made afterwards."""


class Watched(list):
    """The transforms that were applied to a MetaTensor; it warns, once, when one of them resamples.

    It is a list in all else.
    """

    def __init__(self, operations: Iterable[Any] = (), what: str = "", warned: bool = False) -> None:
        super().__init__(operations)
        self.what, self.warned = what, warned

    def copy(self) -> Watched:
        """A list that watches on: MONAI copies it to each result."""
        return Watched(self, self.what, self.warned)

    def append(self, operation: Any) -> None:
        """Add the description of a transform."""
        super().append(operation)
        name = str(operation.get(TraceKeys.CLASS_NAME, "")) if isinstance(operation, dict) else ""
        did = bool(operation.get(TraceKeys.DO_TRANSFORM, True)) if isinstance(operation, dict) else False
        if did and not self.warned and EXACT not in name and any(word in name for word in RESAMPLES):
            self.warned = True
            warnings.warn(
                f"{name} resamples {self.what}, which does not hold distances any more: put the transform that makes "
                f"it after {name}, or take it out of the keys of {name}",
                SpoiledMapWarning,
                stacklevel=2,
            )


def watched(array: Any, what: str) -> Any:
    """A map that warns when it is resampled, where it is a MetaTensor: no other array knows what happens to it."""
    if isinstance(array, MetaTensor):
        array.applied_operations = Watched(array.applied_operations, what)
    return array
