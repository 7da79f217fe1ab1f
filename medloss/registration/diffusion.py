"""Diffusion: the energy of a field's first derivatives."""

from __future__ import annotations

from typing import ClassVar

from medloss.registration.smoothness import SmoothnessLoss


class DiffusionLoss(SmoothnessLoss):
    r"""Mean squared first derivatives of a displacement or velocity field.

    .. math:: L = \frac{1}{B d V} \sum_{b, c, x} \sum_i (\partial_i u_c)^2

    Shape: field B d [spatial] with d spatial axes, mask B 1 [spatial]; a scalar, ``"none"`` gives B d [interior].

    Range: [0, inf), without unit where field and spacing have the same unit; 0 for a translation.

    Authors' code: MONAI's and DeepReg's are equal by default. The regulariser of VoxelMorph (eq. 7 there), TransMorph,
    LapIRN, SYMNet and CycleMorph is :class:`FieldGradientLoss`, with differences from voxel to voxel and a mean over
    the axes: a weight from there belongs to that one, and is d times too much here. deepali's ``diffusion_loss`` is d /
    2 times this one, TransMorph's ``DisplacementRegularizer("gradient-l2")`` a third in 3D. airlab multiplies by the
    spacing where this divides.

    Args:
        spacing: voxel size, in the unit of the field's components.
        stencil: ``"central"`` (u+ - u-) / 2 as in MONAI and DeepReg, blind to a field that alternates from voxel to
            voxel; ``"forward"`` u+ - u, which sees it.
        normalize: factors of the number of voxels in place of the spacing, as in MONAI.
        border: ``"interior"``: only voxels whose neighbours are inside the volume count, as in the peers;
            ``"replicate"``: all do, the field being continued beyond the border by its values there.

    Raises:
        ShapeError: the number of components is not that of the axes, or too few voxels for the stencil.

    References:
        [1] Fischer and Modersitzki, Fast diffusion registration, 2002.

    >>> import torch, medloss
    >>> ramp = torch.arange(5.0).expand(5, 5)
    >>> field = torch.stack([2 * ramp, 0 * ramp])[None]  # the first component grows by 2 along the second axis
    >>> medloss.DiffusionLoss()(field)  # 2^2 in one of two components
    tensor(2.)
    """

    energy: ClassVar[str] = "diffusion"
    stencil: str = "central"
