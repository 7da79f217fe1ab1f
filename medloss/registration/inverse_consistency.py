"""Whether two fields undo each other: inverse consistency, and the gradient of what they leave (GradICON)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from medloss import checks
from medloss.base import FieldPairLoss
from medloss.reduction import ratio
from medloss.registration.smoothness import StencilLoss, joint
from medloss.registration.warp import there_and_back


def paired(loss: FieldPairLoss, field: Any, inverse: Any, mask: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    field, mask = loss._field(field, mask)
    inverse = checks.image_like("inverse", inverse, 3)
    checks.same_device("inverse", inverse, field)
    if inverse.shape != field.shape:
        raise checks.ShapeError(
            f"inverse has shape {checks.shape(inverse)} and field {checks.shape(field)}: they must be equal"
        )
    return field, inverse, joint(mask)


class InverseConsistencyLoss(FieldPairLoss):
    r"""Mean squared distance between a point and where it comes back to, by one field and then by the other.

    .. math:: L = \frac{1}{B V} \sum_{b, x} \lVert u(x) + v(x + u(x)) \rVert^2

    where v is read linearly between its voxels, and beyond its border as at the border.

    Shape: field u and inverse v B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives
    B [spatial].

    Range: [0, inf), in the squared unit of the spacing; 0 where v undoes u.

    Limits: of a zero inverse the mean squared length of the field. It is not symmetric: for both orders add
    ``loss(inverse, field)``.

    Authors' code: ICON's averages over the d components: a weight from there is divided by d here. It adds both orders,
    ``loss(field, inverse) + loss(inverse, field)``, and jitters the points; here they are the voxels. deepali's is the
    mean distance, not of its square.

    Args:
        spacing: voxel size, in the unit of the fields' components. Under a mask a point counts where its displaced
            position, too, lies between valid voxels.

    Raises:
        ShapeError: fields of unlike shapes, or the number of components is not that of the axes.

    References:
        [1] Christensen and Johnson, Consistent image registration, IEEE TMI 2001.
        [2] Greer et al., ICON: Learning regular maps through inverse consistency, ICCV 2021.

    >>> import torch, medloss
    >>> field = torch.full((1, 2, 4, 4), 1.5)
    >>> loss = medloss.InverseConsistencyLoss()
    >>> loss(field, -field), loss(field, 0 * field)  # two components of 1.5
    (tensor(0.), tensor(4.5000))
    """

    def forward(
        self,
        field: Tensor,
        inverse: Tensor,
        mask: Tensor | None = None,
        spacing: Sequence[float] | float | None = None,
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        field, inverse, mask = paired(self, field, inverse, mask)
        sizes = checks.voxel_sizes(self.spacing if spacing is None else spacing, field.ndim - 2, "the field")
        residual, weight = there_and_back(field, inverse, mask, sizes)
        squares = (residual * residual).sum(1)
        if weight is not None:
            squares = squares * weight[:, 0]
        if self.reduction != "mean":
            return squares.sum() if self.reduction == "sum" else squares
        return squares.mean() if weight is None else ratio(squares.sum(), weight.sum())


class GradICONLoss(StencilLoss, FieldPairLoss):
    r"""Mean squared gradient of what two fields leave of each other: they may differ by a translation, and no more.

    .. math:: L = \frac{1}{B V} \sum_{b, x} \lVert \nabla r(x) \rVert_F^2 , \quad r(x) = u(x) + v(x + u(x))

    which is the Jacobian of the composed maps, less the identity.

    Shape: field u and inverse v B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives
    B [interior].

    Range: [0, inf), without unit where fields and spacing have the same unit; 0 where v undoes u up to a translation.

    Limits: of a zero inverse d times :class:`DiffusionLoss` of the field.

    Authors' code: it averages over the entries' components, the paper's formula sums them: a weight from there is
    divided by d here, the 1.5 of GradICON and uniGradICON is 0.5 in 3D. It jitters the points and takes differences
    over 0.001 of the unit coordinates; here they are those from voxel to voxel.

    Args:
        stencil: ``"forward"`` u+ - u; ``"central"`` (u+ - u-) / 2, blind to a residual that alternates from voxel to
            voxel.
        border: ``"interior"``: only voxels whose neighbours are inside the volume count; ``"replicate"``: all do, the
            residual being continued beyond the border by its values there.
        spacing: voxel size, in the unit of the fields' components. Under a mask a point counts where its displaced
            position, too, lies between valid voxels, and where all of that is true of its neighbours.

    Raises:
        ShapeError: fields of unlike shapes, the number of components is not that of the axes, or too few voxels for
            the stencil.

    References:
        [1] Tian et al., GradICON: Approximate diffeomorphisms via gradient inverse consistency, CVPR 2023.

    >>> import torch, medloss
    >>> i, j = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    >>> field = torch.stack([0.5 * i, 0 * j])[None]
    >>> medloss.GradICONLoss()(field, torch.ones_like(field))  # 0.5 remains along one axis
    tensor(0.2500)
    """

    energy: ClassVar[str] = "diffusion"
    stencil: str = "forward"

    def forward(
        self,
        field: Tensor,
        inverse: Tensor,
        mask: Tensor | None = None,
        spacing: Sequence[float] | float | None = None,
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        field, inverse, mask = paired(self, field, inverse, mask)
        sizes = checks.voxel_sizes(self.spacing if spacing is None else spacing, field.ndim - 2, "the field")
        residual, weight = there_and_back(field, inverse, mask, sizes)
        density = self._density(residual, weight, sizes).sum(1)
        return self._reduced(density, field, weight, 1)
