"""Hyperelasticity: a body that may stretch far, and that cannot be turned inside out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from medloss import checks
from medloss.ops import hyperelastic
from medloss.registration.smoothness import StencilLoss


class HyperelasticLoss(StencilLoss):
    r"""Mean hyperelastic energy of a displacement field: changes of length, area and volume, at any size.

    .. math:: L = \frac{1}{B V} \sum_{b, x} \frac{\alpha_l}{2} |\nabla u|^2
        + \alpha_s \sum_i \max \bigl( |c_i|^2 - 1, 0 \bigr)^2 + \alpha_v \Bigl( \frac{(J - 1)^2}{J} \Bigr)^2

    with :math:`J = \det(I + \nabla u)`, what a voxel's volume grows by, and the rows :math:`c_i` of the cofactors of
    :math:`I + \nabla u`, whose lengths are what its faces grow by (in 3D; in 2D the area is the volume, and there is no
    such term). The volume term is the same for a voxel that doubles and for one that halves, and without end where it
    vanishes; linear elasticity is for small deformations.

    Shape: field B d [spatial] with d = 1, 2 or 3 spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives
    B [interior].

    Range: [0, inf), without unit where field and spacing have the same unit; 0 for a translation.

    Limits: with the length alone half of d times :class:`DiffusionLoss`. A rotation costs length alone.

    Authors' code: FAIR's has another term of the surface, half of the squared change of area both ways; here it is the
    paper's, which prices growth.

    Args:
        alpha_length: price of the term of lengths, at least 0.
        alpha_surface: price of the term of surfaces, at least 0.
        alpha_volume: price of the term of volumes, at least 0.
        floor: below this J, in (0, 1], the volume term goes on as its tangent, so that folds have a finite price, the
            higher the deeper they are, and a gradient.
        spacing: voxel size, in the unit of the field's components.
        stencil: ``"forward"`` u+ - u; ``"central"`` (u+ - u-) / 2, blind to a field that alternates from voxel to
            voxel.
        border: ``"interior"``: only voxels whose neighbours are inside the volume count; ``"replicate"``: all do, the
            field being continued beyond the border by its values there.

    Raises:
        ShapeError: the number of components is not that of the axes, too few voxels for the stencil, or above 3 axes.
        ValueError: a price below 0, or a floor outside (0, 1].

    References:
        [1] Burger, Modersitzki and Ruthotto, A hyperelastic regularization energy for image registration, SIAM J Sci
        Comput 2013 (the energy; there on tetrahedra).

    >>> import torch, medloss
    >>> i, j = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    >>> loss = medloss.HyperelasticLoss(alpha_length=2.0)
    >>> loss(torch.stack([i, 0 * j])[None])  # twice as long along one axis: 1, and ((2 - 1)^2 / 2)^2
    tensor(1.2500)
    """

    alpha_length: float = 1.0
    alpha_surface: float = 1.0
    alpha_volume: float = 1.0
    floor: float = 0.1
    stencil: str = "forward"
    energy: ClassVar[str] = "elasticity"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha_length", "alpha_surface", "alpha_volume"):
            checks.at_least(name, getattr(self, name), 0)
        if not 0 < self.floor <= 1:
            raise ValueError(f"floor={self.floor!r} lies outside (0, 1]")

    def forward(
        self, field: Tensor, mask: Tensor | None = None, spacing: Sequence[float] | float | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        field, mask = self._volume(field, mask)
        density = hyperelastic(
            field,
            mask,
            prices=(self.alpha_length, self.alpha_surface, self.alpha_volume),
            floor=self.floor,
            stencil=self.stencil,
            axis_scale=self._per_length(field, spacing),
            border=self.border,
            reduce=self.reduction != "none",
        )
        return self._reduced(density, field, mask, 1)
