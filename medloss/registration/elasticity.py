"""Linear elasticity: what a field would cost if it deformed an elastic body; and its divergence alone."""

from __future__ import annotations

from medloss import checks
from medloss.registration.smoothness import ElasticLoss


class LinearElasticityLoss(ElasticLoss):
    r"""Mean linear elastic energy of a displacement field: changes of volume, and strain.

    .. math:: L = \frac{1}{B V} \sum_{b, x} \frac{\lambda}{2} \Bigl( \sum_i \partial_i u_i \Bigr)^2 +
        \frac{\mu}{4} \sum_{j, k} (\partial_j u_k + \partial_k u_j)^2

    Shape: field B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives B [interior].

    Range: [0, inf), in the unit of the constants where field and spacing have the same unit; 0 for a translation and
    for an infinitesimal rotation, whose gradient is antisymmetric.

    Limits: in 1D :math:`\lambda / 2 + \mu` times :class:`DiffusionLoss`; at lambda 2 and mu 0 :class:`DivergenceLoss`.

    Authors' code: deepali's is equal with ``stencil="central"``. FAIR's is :math:`\mu |\nabla u|^2 + (\lambda + \mu)
    (\nabla \cdot u)^2` halved, which differs by terms of the border alone; its lambda is 0 by default.

    Args:
        lame_lambda: first constant of Lame, the price of changes of volume; at least 0.
        lame_mu: second one, the shear modulus; at least 0.
        spacing: voxel size, in the unit of the field's components.
        stencil: ``"forward"`` u+ - u; ``"central"`` (u+ - u-) / 2, blind to a field that alternates from voxel to
            voxel.
        border: ``"interior"``: only voxels whose neighbours are inside the volume count; ``"replicate"``: all do, the
            field being continued beyond the border by its values there.

    Raises:
        ShapeError: the number of components is not that of the axes, or too few voxels for the stencil.
        ValueError: a constant below 0.

    References:
        [1] Broit, Optimal registration of deformed images, PhD thesis, University of Pennsylvania 1981.
        [2] Modersitzki, Numerical methods for image registration, Oxford University Press 2004.

    >>> import torch, medloss
    >>> i, j = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    >>> loss = medloss.LinearElasticityLoss(lame_lambda=2.0, lame_mu=1.0)
    >>> loss(torch.stack([j, -i])[None])  # turns
    tensor(0.)
    >>> loss(torch.stack([i, j])[None])  # grows: divergence 2, and strain 1 along either axis
    tensor(6.)
    """

    lame_lambda: float = 1.0
    lame_mu: float = 1.0
    stencil: str = "forward"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("lame_lambda", self.lame_lambda, 0)
        checks.at_least("lame_mu", self.lame_mu, 0)

    @property
    def lame(self) -> tuple[float, float]:
        """The constants of Lame."""
        return self.lame_lambda, self.lame_mu


class DivergenceLoss(ElasticLoss):
    r"""Mean squared divergence of a displacement or velocity field: how much it swells or shrinks.

    .. math:: L = \frac{1}{B V} \sum_{b, x} \Bigl( \sum_i \partial_i u_i \Bigr)^2

    A velocity field without divergence keeps volumes; of a displacement that holds as long as it is small, and
    :class:`JacobianLoss` says it exactly.

    Shape: field B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives B [interior].

    Range: [0, inf), without unit where field and spacing have the same unit; 0 for a shear.

    Limits: equals :class:`LinearElasticityLoss` at lambda 2 and mu 0, and :class:`DiffusionLoss` in 1D.

    Authors' code: deepali's is half of this one.

    Args:
        spacing: voxel size, in the unit of the field's components.
        stencil: ``"forward"`` u+ - u; ``"central"`` (u+ - u-) / 2, blind to a field that alternates from voxel to
            voxel.
        border: ``"interior"``: only voxels whose neighbours are inside the volume count; ``"replicate"``: all do, the
            field being continued beyond the border by its values there.

    Raises:
        ShapeError: the number of components is not that of the axes, or too few voxels for the stencil.

    References:
        [1] Mansi et al., iLogDemons, Int J Comput Vis 2011: registration without divergence.

    >>> import torch, medloss
    >>> i, j = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    >>> medloss.DivergenceLoss()(torch.stack([2 * i, j])[None])  # (2 + 1)^2
    tensor(9.)
    """

    stencil: str = "forward"

    @property
    def lame(self) -> tuple[float, float]:
        """The squared divergence alone."""
        return 2.0, 0.0
