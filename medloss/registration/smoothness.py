"""What the losses of a field's derivatives share: stencils, spacing, and the mean over the interior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from medloss import checks
from medloss.base import FieldLoss
from medloss.ops import differences
from medloss.ops.differences import REACH, STENCILS, interior_weight
from medloss.reduction import ratio


@dataclass(eq=False, kw_only=True)
class SmoothnessLoss(FieldLoss):
    """Mean energy of a field's derivatives over its components and its interior; a subclass names the energy.

    Args:
        normalize: factors of the number of voxels along each axis in place of the spacing, as in MONAI, so that a field
            in voxels costs alike at every resolution: each derivative along axis i of component c is multiplied by
            n_i, and the component divided by n_c.
        stencil: the finite difference; see the subclass.
    """

    normalize: bool = False

    @property
    def energy(self) -> str:
        """The operator's energy."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("stencil", self.stencil, STENCILS[self.energy])

    def forward(
        self, field: Tensor, mask: Tensor | None = None, spacing: Sequence[float] | float | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        field, mask = self._field(field, mask)
        density = differences(
            field,
            mask,
            energy=self.energy,
            stencil=self.stencil,
            reduce=self.reduction != "none",
            **self._scales(field, spacing),
        )
        if self.reduction != "mean":
            return density.sum() if self.reduction == "sum" else density
        reach = sum(REACH[self.stencil])
        if mask is None:
            entries = field.shape[0] * field.shape[1]
            for size in field.shape[2:]:
                entries *= size - reach
            return density.sum() / entries
        weight = interior_weight(mask.to(density.dtype), self.stencil)
        return ratio(density.sum(), weight.sum() * (field.shape[1] // mask.shape[1]))

    def _scales(self, field: Tensor, spacing: Any) -> dict[str, list[float]]:
        sizes = list(field.shape[2:])
        least = sum(REACH[self.stencil]) + 1
        if min(sizes) < least:
            raise checks.ShapeError(
                f"field has shape {checks.shape(field)}: the {self.stencil} stencil needs {least} voxels per axis"
            )
        spacing = self._sizes(self.spacing if spacing is None else spacing, len(sizes))
        if not self.normalize:
            return {"axis_scale": [1 / size for size in spacing], "component_scale": [1.0] * len(sizes)}
        if any(size != 1 for size in spacing):
            raise ValueError("normalize counts in voxels and spacing in millimetres: choose one")
        return {"axis_scale": [float(n) for n in sizes], "component_scale": [1 / n for n in sizes]}
