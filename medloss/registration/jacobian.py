"""What the determinant of a deformation's Jacobian costs: folds, changes of volume, their unevenness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from medloss import checks
from medloss.ops.differences import interior_weight
from medloss.ops.jacobian import PENALTIES, jacobian_penalty
from medloss.ops.masking import present
from medloss.reduction import reduce
from medloss.registration.smoothness import StencilLoss


class JacobianLoss(StencilLoss):
    r"""Price of where a displacement field folds or changes volumes, from :math:`J(x) = \det(I + \nabla u(x))`.

    .. math:: L = \frac{1}{B V} \sum_{b, x} \rho(J_b(x))

    with :math:`\rho(J) = \max(0, -J)` for ``"folding"``, :math:`\max(0, m - J)^2` for ``"hinge"`` with the margin m,
    :math:`(\log J)^2` for ``"log"`` and :math:`|J - 1|` for ``"volume"``; ``"sdlog"`` is the standard deviation of
    :math:`\log J` over the voxels of a sample (SDlogJ), averaged over the samples.

    Shape: field B d [spatial] with d = 1, 2 or 3 spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives B
    [interior], or B for ``"sdlog"``.

    Range: [0, inf), without unit; 0 for a translation and, but for rounding, for a rotation.

    Limits: of an affine field all schemes give the determinant of its matrix. ``"folding"`` with ``"all"`` in 2D and 3D
    is the non-diffeomorphic area or volume of [1], per voxel: it is 0 if and only if the field, read linearly in the
    simplices of either tiling of the grid, folds nowhere.

    Authors' code: the folding penalty of LapIRN and SYMNet is equal by default; the share of folded voxels that ICON
    prints is that of ``stencil="backward"``.

    Args:
        penalty: which :math:`\rho`, as above: ``"folding"``, ``"hinge"``, ``"log"``, ``"volume"`` or ``"sdlog"``.
        stencil: how the derivatives are taken. ``"forward"``, ``"backward"``; ``"central"`` as most evaluations do,
            blind to a voxel that leaves its neighbours behind; ``"all"``: of each cell of 2^d voxels every combination
            of forward and backward differences, and in 3D the two inner tetrahedra, at four to ten times the cost.
        margin: below this determinant ``"hinge"`` begins to cost. Above 0 it ends folding before it begins, so that
            less smoothness is needed.
        floor: below it the logarithm goes on as its tangent, so that a fold costs more the deeper it is.
        spacing: voxel size, in the unit of the field's components.
        border: ``"interior"``: only voxels whose neighbours are inside the volume count; ``"replicate"``: all do, the
            field being continued beyond the border by its values there.

    Raises:
        ShapeError: the number of components is not that of the axes, too few voxels for the stencil, or above 3 axes.
        ValueError: an unknown option, or a floor that is not above 0.

    References:
        [1] Liu et al., On finite difference Jacobian computation in deformable image registration, Int J Comput Vis
            2024.
        [2] Mok and Chung, Fast symmetric diffeomorphic image registration with convolutional neural networks, CVPR
            2020: the price of negative determinants.
        [3] Leow et al., Statistical properties of Jacobian maps, IEEE TMI 2007: their logarithm.

    >>> import torch, medloss
    >>> i, j = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    >>> field = torch.stack([-3 * i, 0.5 * j])[None]  # turned over along one axis: J = (1 - 3) (1 + 0.5)
    >>> medloss.JacobianLoss()(field), medloss.JacobianLoss(penalty="volume")(field)
    (tensor(3.), tensor(4.))
    """

    penalty: str = "folding"
    stencil: str = "forward"
    floor: float = 0.01
    margin: float = 0.1
    energy: ClassVar[str] = "jacobian"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("penalty", self.penalty, PENALTIES)
        if not self.floor > 0:
            raise ValueError(f"floor={self.floor!r} must be above 0: it is where the logarithm ends")
        checks.at_least("margin", self.margin, 0)

    def forward(
        self, field: Tensor, mask: Tensor | None = None, spacing: Sequence[float] | float | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        field, mask = self._volume(field, mask)
        values = jacobian_penalty(
            field,
            mask,
            penalty=self.penalty,
            floor=self.margin if self.penalty == "hinge" else self.floor,
            stencil=self.stencil,
            axis_scale=self._per_length(field, spacing),
            border=self.border,
            reduce=self.reduction != "none",
        )
        if self.penalty != "sdlog":
            return self._reduced(values, field, mask, 1)
        if mask is None:
            return reduce(values, self.reduction)
        weight = interior_weight(mask.to(values.dtype), self.stencil, self.border)
        return reduce(values, self.reduction, present(weight.flatten(1).amax(1)))
