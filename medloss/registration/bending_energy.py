"""Bending energy: the energy of a field's second derivatives."""

from __future__ import annotations

from typing import ClassVar

from medloss.registration.smoothness import SmoothnessLoss


class BendingEnergyLoss(SmoothnessLoss):
    r"""Mean bending energy of a displacement or velocity field, from its second derivatives.

    .. math:: L = \frac{1}{B d V} \sum_{b, c, x} \Bigl( \sum_i (\partial_{ii} u_c)^2 +
        2 \sum_{i < j} (\partial_{ij} u_c)^2 \Bigr)

    Shape: field B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives B d [interior].

    Range: [0, inf), in one over the squared unit of the spacing; 0 for an affine field.

    Authors' code: DeepReg's and TransMorph's are equal with ``stencil="wide"``; deepali's is d times that. ICON's
    ``BendingEnergyNet`` averages over pairs of axes and components, and is this loss over d^2 (9 in 3D) in its unit
    coordinates: ``spacing=1 / (n - 1)``.

    Args:
        spacing: voxel size, in the unit of the field's components.
        stencil: ``"compact"`` [1, -2, 1], as MONAI since 1.6; ``"wide"`` [1, 0, -2, 0, 1] / 4, as before, which is
            blind to a field that alternates from voxel to voxel.
        normalize: factors of the number of voxels in place of the spacing, as in MONAI.
        border: ``"interior"``: only voxels whose neighbours are inside the volume count, as in the peers;
            ``"replicate"``: all do, the field being continued beyond the border by its values there.

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

    energy: ClassVar[str] = "bending"
    stencil: str = "compact"
