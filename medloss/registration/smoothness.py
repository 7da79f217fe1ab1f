"""How rough a vector field is, from its first derivatives (diffusion) or its second ones (bending)."""

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


@dataclass(eq=False, kw_only=True)
class DiffusionLoss(SmoothnessLoss):
    r"""Mean squared first derivatives of a displacement or velocity field.

    .. math:: L = \frac{1}{B d V} \sum_{b, c, x} \sum_i (\partial_i u_c)^2

    Shape: field B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives B d [interior].

    Range: [0, inf), without unit where field and spacing have the same unit; 0 for a translation.

    Args:
        spacing: voxel size, in the unit of the field's components.
        stencil: ``"central"`` (u+ - u-) / 2 as the peers, blind to a field that alternates from voxel to voxel;
            ``"forward"`` u+ - u, which sees it.

    Raises:
        ShapeError: the number of components is not that of the axes, or too few voxels for the stencil.

    References:
        [1] Fischer and Modersitzki, Fast diffusion registration, 2002.
        [2] Balakrishnan et al., VoxelMorph, IEEE TMI 2019, eq. 7.

    >>> import torch, medloss
    >>> ramp = torch.arange(5.0).expand(5, 5)
    >>> field = torch.stack([2 * ramp, 0 * ramp])[None]  # the first component grows by 2 along the second axis
    >>> medloss.DiffusionLoss()(field)  # 2^2 in one of two components
    tensor(2.)
    """

    stencil: str = "central"

    @property
    def energy(self) -> str:
        """First derivatives."""
        return "diffusion"


@dataclass(eq=False, kw_only=True)
class BendingEnergyLoss(SmoothnessLoss):
    r"""Mean bending energy of a displacement or velocity field, from its second derivatives.

    .. math:: L = \frac{1}{B d V} \sum_{b, c, x} \Bigl( \sum_i (\partial_{ii} u_c)^2 +
        2 \sum_{i < j} (\partial_{ij} u_c)^2 \Bigr)

    Shape: field B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives B d [interior].

    Range: [0, inf), in one over the squared unit of the spacing; 0 for an affine field.

    Args:
        spacing: voxel size, in the unit of the field's components.
        stencil: ``"compact"`` [1, -2, 1], as MONAI since 1.6; ``"wide"`` [1, 0, -2, 0, 1] / 4, as before, which is
            blind to a field that alternates from voxel to voxel.

    Raises:
        ShapeError: the number of components is not that of the axes, or too few voxels for the stencil.

    References:
        [1] Rueckert et al., Nonrigid registration using free-form deformations, IEEE TMI 1999, eq. 3.

    >>> import torch, medloss
    >>> square = (torch.arange(5.0) ** 2).expand(5, 5)
    >>> field = torch.stack([square, 0 * square])[None]  # the second derivative is 2 in one of two components
    >>> medloss.BendingEnergyLoss()(field)
    tensor(2.)
    """

    stencil: str = "compact"

    @property
    def energy(self) -> str:
        """Second derivatives."""
        return "bending"
