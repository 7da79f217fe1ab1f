"""Curvature: the energy of a field's Laplacian."""

from __future__ import annotations

from typing import ClassVar

from medloss.registration.smoothness import SmoothnessLoss


class CurvatureLoss(SmoothnessLoss):
    r"""Mean squared Laplacian of a displacement or velocity field.

    .. math:: L = \frac{1}{B d V} \sum_{b, c, x} \Bigl( \sum_i \partial_{ii} u_c \Bigr)^2

    Shape: field B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives B d [interior].

    Range: [0, inf), in one over the squared unit of the spacing; 0 for an affine field, and for any that is harmonic.

    Limits: equals :class:`BendingEnergyLoss` in 1D. Per component and volume it is twice the functional of [1].

    Authors' code: that of FAIR and deepali is d / 2 times this one.

    Args:
        spacing: voxel size, in the unit of the field's components.
        stencil: ``"compact"`` [1, -2, 1]; ``"wide"`` [1, 0, -2, 0, 1] / 4, blind to a field that alternates from voxel
            to voxel.
        normalize: factors of the number of voxels in place of the spacing.
        border: ``"interior"``: only voxels whose neighbours are inside the volume count; ``"replicate"``: all do, the
            field being continued beyond the border by its values there.

    Raises:
        ShapeError: the number of components is not that of the axes, or too few voxels for the stencil.

    References:
        [1] Fischer and Modersitzki, Curvature based image registration, J Math Imaging Vis 2003.

    >>> import torch, medloss
    >>> i, j = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    >>> field = torch.stack([i**2 + j**2, i**2 - j**2])[None]  # Laplacians 4 and 0
    >>> medloss.CurvatureLoss()(field)
    tensor(8.)
    """

    energy: ClassVar[str] = "curvature"
    stencil: str = "compact"
