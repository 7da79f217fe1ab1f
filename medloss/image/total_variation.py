"""Total variation: how much an image changes from voxel to voxel."""

from __future__ import annotations

from torch import Tensor

from medloss.checks import image_like, mask_like
from medloss.image.adjacent import AdjacentLoss


class TotalVariationLoss(AdjacentLoss):
    r"""Mean absolute difference between neighbouring voxels of one image, added over the axes.

    .. math:: L = \sum_a \frac{\sum_i w_{i,i+a} |x_{i+a} - x_i| / s_a}{\sum_i w_{i,i+a}}

    for each sample and channel, with the voxel i + a behind i along axis a, the spacing s, and the lesser weight of the
    two voxels. With ``isotropic`` it is the mean over the voxels of :math:`\sqrt{\sum_a (x_{i+a} - x_i)^2 / s_a^2}`,
    where a neighbour that is not there differs by 0.

    It stands beside other image losses in a sum: a target may be given, and is not looked at.

    Shape: input B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C.

    Range: [0, inf), in units of intensity over those of the spacing; 0 for a constant image.

    Limits: ``average=False`` with ``reduction="none"`` is the textbook sum. Isotropic and anisotropic sums agree where
    the image changes along one axis only.

    Args:
        isotropic: the length of the gradient in place of the sum of its components.
        average: divide by the number of differences (voxels if isotropic), so that image size does not matter.
        spacing: size of a voxel along each axis; differences are per unit of it.

    Raises:
        ShapeError: mask (or target) does not fit the input.
        ValueError: a spacing that is not above 0.

    References:
        [1] Rudin, Osher and Fatemi, Nonlinear total variation based noise removal algorithms, Physica D 1992.

    >>> import torch, medloss
    >>> image = torch.tensor([[[[0.0, 1.0], [3.0, 1.0]]]])
    >>> medloss.TotalVariationLoss()(image)  # (3 + 0) / 2 down and (1 + 2) / 2 across
    tensor(3.)
    """

    isotropic: bool = False
    average: bool = True

    def forward(self, input: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        if target is None:
            input = image_like("input", input, 3)
            mask = mask_like(mask, input)
        else:
            input, _, mask = self._images(input, target, mask)
        penalty = "isotropic" if self.isotropic else "absolute"
        return self._costs(input, None, mask, penalty=penalty, average=self.average)
