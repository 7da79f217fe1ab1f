"""Focal frequency: the difference of two spectra, weighted towards the frequencies that are hard."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.ops.masking import accumulation_dtype, blank, present
from medloss.ops.operator import without_autocast
from medloss.reduction import mass, ratio, reduce


class FocalFrequencyLoss(ImageLoss):
    r"""Mean squared difference of the spectra of two images, where the worst frequencies weigh most.

    .. math::
        L = \frac{\sum_f \omega_f |F_x(f) - F_y(f)|^2}{\sum_i w_i}, \qquad
        \omega_f = \left( \frac{|F_x(f) - F_y(f)|}{\max_g |F_x(g) - F_y(g)|} \right)^\alpha

    for each sample and channel, with the unitary Fourier transform over the spatial axes and the voxel weights w. The
    weights omega take no part in the gradient. Under a mask the images differ by nothing outside it, and by
    :math:`\sqrt{w} (x - y)` inside.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C.

    Range: [0, inf), at most :class:`~medloss.MSELoss`; 0 where the images are equal.

    Limits: alpha = 0 is :class:`~medloss.MSELoss`, by Parseval's theorem, under any mask.

    Args:
        alpha: exponent of the weights, at least 0: the larger, the more the worst frequencies count.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a negative alpha.

    References:
        [1] Jiang et al., Focal frequency loss for image reconstruction and synthesis, ICCV 2021.

    >>> import torch, medloss
    >>> x, y = torch.tensor([[[2.0, 0.0]]]), torch.zeros(1, 1, 2)  # |F| = sqrt(2) at both frequencies: weights of 1
    >>> medloss.FocalFrequencyLoss()(x, y)  # 4 / 2
    tensor(2.0000)
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 0)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        dtype = accumulation_dtype(input)
        with without_autocast(input.device.type):
            weight = None if mask is None else checks.without_gradient("mask", mask).to(dtype)
            difference = blank(input.to(dtype), weight) - blank(target.to(dtype), weight)
            difference = difference if weight is None else difference * weight.sqrt()
            total = self._weighted_power(difference)
            voxels = mass(mask, input.shape, total)
            return reduce(ratio(total, voxels), self.reduction, present(voxels))

    def _weighted_power(self, difference: Tensor) -> Tensor:
        """The sum over the frequencies, B C."""
        axes = tuple(range(2, difference.ndim))
        spectrum = torch.view_as_real(torch.fft.rfftn(difference, dim=axes, norm="ortho"))
        power = spectrum.square().sum(-1)
        found = power.detach()
        largest = found.amax(axes, keepdim=True)
        focus = ratio(found, largest.expand_as(found)) ** (self.alpha / 2) * twins(difference.shape[-1], found)
        return (power * focus).sum(axes)


def twins(size: int, like: Tensor) -> Tensor:
    """How often each frequency of a half spectrum is in the whole one: all but 0 and the last of an even size twice."""
    frequencies = torch.arange(size // 2 + 1, device=like.device)
    return torch.where(2 * frequencies % size == 0, like.new_ones(()), 2.0)  # no branch: the size may be free
