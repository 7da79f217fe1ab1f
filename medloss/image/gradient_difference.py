"""Gradient difference: whether two images change from voxel to voxel by as much."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.image.adjacent import AdjacentLoss


class GradientDifferenceLoss(AdjacentLoss):
    r"""Mean difference of the steepness of two images, added over the axes: it punishes blurred edges.

    .. math::
        L = \sum_a \frac{\sum_i w_{i,i+a} \big| |x_{i+a} - x_i| - |y_{i+a} - y_i| \big|^\alpha / s_a^\alpha}
        {\sum_i w_{i,i+a}}

    for each sample and channel, with the voxel i + a behind i along axis a, the spacing s, and the lesser weight of the
    two voxels.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C.

    Range: [0, inf); 0 where the images differ by a constant, or by their sign.

    Limits: for a constant target and alpha = 1 it is :class:`~medloss.TotalVariationLoss` of the input.

    Args:
        alpha: exponent of the difference, at least 1.
        spacing: size of a voxel along each axis; differences are per unit of it.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: alpha below 1, or a spacing that is not above 0.

    References:
        [1] Mathieu et al., Deep multi-scale video prediction beyond mean square error, ICLR 2016.

    >>> import torch, medloss
    >>> edge, ramp = torch.tensor([[[0.0, 0.0, 1.0]]]), torch.tensor([[[0.0, 0.5, 1.0]]])
    >>> medloss.GradientDifferenceLoss()(ramp, edge)  # steps of 0.5 and 0.5 in place of 0 and 1
    tensor(0.5000)
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 1)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        return self._costs(input, target, mask, penalty="magnitude", shape=self.alpha)
