"""Normalised cross-correlation of two whole images (Pearson's correlation of their intensities)."""

from __future__ import annotations

from torch import Tensor

from medloss.base import ImageLoss
from medloss.ops import global_moments
from medloss.ops.masking import present
from medloss.ops.operator import without_autocast
from medloss.reduction import reduce


class NormalizedCrossCorrelationLoss(ImageLoss):
    r"""Minus the correlation of two images over all voxels, squared or with its sign (global NCC).

    .. math:: L = -\rho^2 \quad \text{or} \quad L = -\rho, \qquad
        \rho = \frac{\sigma_{xy}}{\sqrt{\max(\sigma_x^2, dr) \max(\sigma_y^2, dr)}}

    with the covariance and the variances of the voxels of each sample and channel, weighted by the mask. A constant
    image correlates with nothing and counts 0.

    Shape: input and target B C [spatial], mask B 1 [spatial]; ``"none"`` gives B C.

    Range: [-1, 0], -1 where one image is a linear function of the other; with ``signed`` [-1, 1], -1 where that
    function rises and 1 where it falls.

    Limits: minus the ``signed`` loss is Pearson's correlation coefficient, and the square of it is minus the other.

    Authors' code: ITK's and deepali's are equal; ICON's and airlab's with ``signed=True`` (ICON's plus 1). DeepReg's
    adds 1e-5 to the product of variances, which is large for images in [0, 1].

    Args:
        signed: the correlation itself in place of its square: images must be alike, and not only in inverted contrast.
        smooth_dr: least value of each variance, above 0.

    Raises:
        ShapeError: images or mask of unlike shapes.
        ValueError: a ``smooth_dr`` that is not above 0.

    References:
        [1] Hill et al., Medical image registration, Phys. Med. Biol. 2001, section 3.4 (correlation techniques).

    >>> import torch, medloss
    >>> x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    >>> medloss.NormalizedCrossCorrelationLoss()(x, 1 - 2 * x)
    tensor(-1.0000)
    >>> medloss.NormalizedCrossCorrelationLoss(signed=True)(x, 1 - 2 * x)
    tensor(1.0000)
    """

    signed: bool = False
    smooth_dr: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.smooth_dr > 0:
            raise ValueError(f"smooth_dr={self.smooth_dr!r} must be above 0: it guards constant images")

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        with without_autocast(input.device.type):
            mass, covariance, of_input, of_target = global_moments(input, target, mask).unbind(-1)
            scale = of_input.clamp_min(self.smooth_dr).rsqrt() * of_target.clamp_min(self.smooth_dr).rsqrt()
            correlation = covariance * scale
            values = -correlation if self.signed else -(correlation**2)
            return reduce(values, self.reduction, present(mass))
