"""What the losses of a field's derivatives share: stencils, borders, spacing, and the mean over the voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from medloss import checks
from medloss.base import FieldLoss
from medloss.ops import differences
from medloss.ops.differences import BORDERS, REACH, STENCILS, interior_weight
from medloss.reduction import ratio


class StencilLoss(FieldLoss):
    """A loss of finite differences of a field; a subclass names the energy, and has a ``stencil`` that it may take.

    Args:
        border: ``"interior"``: only voxels whose neighbours are inside the volume count, as in the peers.
            ``"replicate"``: all do, the field being continued beyond the border by its values there. Under a mask a
            voxel counts only if its neighbours do, with either.
    """

    border: str = "interior"
    energy: ClassVar[str]
    """The operator's energy."""
    if TYPE_CHECKING:
        stencil: str  # of each subclass, with a default of its own

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("border", self.border, BORDERS)
        checks.choice("stencil", self.stencil, STENCILS[self.energy])

    def _volume(self, field: Any, mask: Any) -> tuple[Tensor, Tensor | None]:
        """A field of up to 3 axes, which have volumes, and the mask of its voxels."""
        field, mask = self._field(field, mask)
        if field.ndim > 5:
            raise checks.ShapeError(f"field has shape {checks.shape(field)}: up to 3 spatial axes are possible")
        return field, joint(mask)

    def _density(self, field: Tensor, mask: Tensor | None, spacing: Any, **constants: Any) -> Tensor:
        """The energy at every voxel, or its sums where that is enough."""
        return differences(
            field,
            mask,
            energy=self.energy,
            stencil=self.stencil,
            border=self.border,
            reduce=self.reduction != "none",
            **self._scales(field, spacing),
            **constants,
        )

    def _scales(self, field: Tensor, spacing: Any) -> dict[str, list[float]]:
        """The factors of each axis and component."""
        return {"axis_scale": self._per_length(field, spacing), "component_scale": [1.0] * (field.ndim - 2)}

    def _per_length(self, field: Tensor, spacing: Any) -> list[float]:
        """One over the voxel sizes, for a field with room for the stencil."""
        least = 1 if self.border == "replicate" else sum(REACH[self.stencil]) + 1
        if min(field.shape[2:]) < least:
            raise checks.ShapeError(
                f"field has shape {checks.shape(field)}: the {self.stencil} stencil needs {least} voxels per axis"
            )
        spacing = self.spacing if spacing is None else spacing
        return [1 / size for size in checks.voxel_sizes(spacing, field.ndim - 2, "the field")]

    def _reduced(self, density: Tensor, field: Tensor, mask: Tensor | None, maps: int) -> Tensor:
        """The loss from a density, or from its sums over the voxels, of so many maps per sample."""
        if self.reduction != "mean":
            return density.sum() if self.reduction == "sum" else density
        if mask is None:
            lost = 0 if self.border == "replicate" else sum(REACH[self.stencil])
            return density.sum() / (field.shape[0] * maps * math.prod([size - lost for size in field.shape[2:]]))
        weight = interior_weight(mask.to(density.dtype), self.stencil, self.border)
        return ratio(density.sum(), weight.sum() * (maps // mask.shape[1]))


class SmoothnessLoss(StencilLoss):
    """Mean energy of each component's derivatives; ``"none"`` gives B d [interior].

    Args:
        normalize: factors of the number of voxels along each axis in place of the spacing, as in MONAI, so that a field
            in voxels costs alike at every resolution: each derivative along axis i of component c is multiplied by
            n_i, and the component divided by n_c.
        stencil: the finite difference; see the subclass.
    """

    normalize: bool = False

    def forward(
        self, field: Tensor, mask: Tensor | None = None, spacing: Sequence[float] | float | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        field, mask = self._field(field, mask)
        return self._reduced(self._density(field, mask, spacing), field, mask, field.shape[1])

    def _scales(self, field: Tensor, spacing: Any) -> dict[str, list[float]]:
        scales, sizes = super()._scales(field, spacing), field.shape[2:]
        if not self.normalize:
            return scales
        if any(each != 1 for each in scales["axis_scale"]):
            raise ValueError("normalize counts in voxels and spacing in millimetres: choose one")
        return {"axis_scale": [float(n) for n in sizes], "component_scale": [1 / n for n in sizes]}


class ElasticLoss(StencilLoss):
    """Mean elastic energy of the whole vector; a subclass names the constants. ``"none"`` gives B [interior]."""

    energy: ClassVar[str] = "elasticity"

    @property
    def lame(self) -> tuple[float, float]:
        """Factors lambda of the squared divergence (halved), and mu of the squared strain."""
        raise NotImplementedError

    def forward(
        self, field: Tensor, mask: Tensor | None = None, spacing: Sequence[float] | float | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        field, mask = self._field(field, mask)
        mask = joint(mask)
        density = self._density(field, mask, spacing, lame=self.lame).squeeze(1)
        return self._reduced(density, field, mask, 1)


def joint(mask: Tensor | None) -> Tensor | None:
    """The mask of a voxel, B 1 [spatial], from one for each component: it counts where all of them do."""
    if mask is None or mask.shape[1] == 1:
        return mask
    return mask.all(1, keepdim=True) if mask.dtype == torch.bool else mask.amin(1, keepdim=True)
