"""Total variation of a field, and VoxelMorph's mean of first differences: prices of slopes, by voxel and by axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from medloss import checks
from medloss.base import FieldLoss
from medloss.ops import differences
from medloss.ops.differences import interior_weight
from medloss.ops.masking import accumulation_dtype, present
from medloss.reduction import ratio, reduce
from medloss.registration.smoothness import SmoothnessLoss, joint


class FieldTotalVariationLoss(SmoothnessLoss):
    r"""Mean absolute first derivatives of a field, which allow it to jump where two organs slide along each other.

    .. math:: L = \frac{1}{B d V} \sum_{b, c, x} \sum_i |\partial_i u_c|

    Shape: field B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives B d [interior].

    Range: [0, inf), without unit where field and spacing have the same unit; 0 for a translation. A jump costs its
    height, however many voxels it takes.

    Authors' code: DeepReg's is equal with ``stencil="central"``; deepali's is d times, TransMorph's
    ``DisplacementRegularizer("gradient-l1")`` a third (in 3D) of that.

    Args:
        spacing: voxel size, in the unit of the field's components.
        stencil: ``"forward"`` u+ - u; ``"central"`` (u+ - u-) / 2, blind to a field that alternates from voxel to
            voxel.
        normalize: factors of the number of voxels in place of the spacing.
        border: ``"interior"``: only voxels whose neighbours are inside the volume count; ``"replicate"``: all do, the
            field being continued beyond the border by its values there.

    Raises:
        ShapeError: the number of components is not that of the axes, or too few voxels for the stencil.

    References:
        [1] Rudin, Osher and Fatemi, Nonlinear total variation based noise removal algorithms, Physica D 1992.
        [2] Vishnevskiy et al., Isotropic total variation regularization of displacements, IEEE TMI 2017.

    >>> import torch, medloss
    >>> jump = torch.tensor([0.0, 0.0, 3.0, 3.0]).expand(4, 4)
    >>> field = torch.stack([jump, 0 * jump])[None]  # 3 at one of three places, in one of two components
    >>> medloss.FieldTotalVariationLoss()(field)
    tensor(0.5000)
    """

    energy: ClassVar[str] = "variation"
    stencil: str = "forward"


class FieldGradientLoss(FieldLoss):
    r"""VoxelMorph's smoothness: the mean of the forward differences along each axis, averaged over the axes.

    .. math:: L = \frac{1}{B d} \sum_b \sum_i \frac{1}{d V_i} \sum_{c, x} |\partial_i u_c|^p

    with p = 1 or 2 and the :math:`V_i` voxels that have a next one along axis i.

    Shape: field B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives B d, one value for
    each axis.

    Range: [0, inf), without unit where field and spacing have the same unit; 0 for a translation.

    Limits: on a field of constant slopes one d-th of :class:`DiffusionLoss` (``"l2"``) or of
    :class:`FieldTotalVariationLoss` (``"l1"``), which add up the axes, and look only where all have a next voxel.

    Authors' code: the ``Grad`` of VoxelMorph and TransMorph and the smoothness of LapIRN, SYMNet and CycleMorph are
    equal, ``"l2"`` by default.

    Args:
        penalty: ``"l2"`` or ``"l1"``: the power of the differences.
        spacing: voxel size, in the unit of the field's components.

    Raises:
        ShapeError: the number of components is not that of the axes, or an axis has one voxel.

    References:
        [1] Balakrishnan et al., VoxelMorph, IEEE TMI 2019.

    >>> import torch, medloss
    >>> i, j = torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")
    >>> field = torch.stack([2 * j, 0 * j])[None]  # along the axes: 0, and 2^2 in one of two components
    >>> medloss.FieldGradientLoss()(field)
    tensor(1.)
    """

    penalty: str = "l2"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("penalty", self.penalty, ("l2", "l1"))

    def forward(
        self, field: Tensor, mask: Tensor | None = None, spacing: Sequence[float] | float | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        field, mask = self._field(field, mask)
        rank = field.ndim - 2
        if min(field.shape[2:]) < 2:
            raise checks.ShapeError(f"field has shape {checks.shape(field)}: a difference needs 2 voxels per axis")
        sizes = checks.voxel_sizes(self.spacing if spacing is None else spacing, rank, "the field")
        field = field.to(accumulation_dtype(field))  # once, so that the axes' gradients add up before they are rounded
        along = [self._axis(field, joint(mask), axis, size) for axis, size in enumerate(sizes)]
        values, pairs = (torch.stack(each, 1) for each in zip(*along))
        return reduce(ratio(values, pairs), self.reduction, present(pairs))

    def _axis(self, field: Tensor, mask: Tensor | None, axis: int, size: float) -> tuple[Tensor, Tensor]:
        """The differences along one axis, summed, and how many there are, of each sample."""
        rank = field.ndim - 2
        scale = [1 / size if other == axis else 0.0 for other in range(rank)]
        total = differences(
            field,
            mask,
            energy="diffusion" if self.penalty == "l2" else "variation",
            stencil="forward",
            axis_scale=scale,
            component_scale=[1.0] * rank,
            reduce=True,
        ).sum(1)
        if mask is None:
            voxels = field[0, 0].numel() * (field.shape[2 + axis] - 1) // field.shape[2 + axis]
            return total, torch.full_like(total, rank * voxels).detach()  # no float: see reduction.mass
        weight = interior_weight(mask.to(total.dtype), "forward", axis_scale=scale)
        return total, rank * weight.flatten(1).sum(1)
