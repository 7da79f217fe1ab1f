"""Spectral amplitude: the difference of the amplitudes of two spectra, whatever their phases."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.image.focal_frequency import twins
from medloss.ops.masking import accumulation_dtype, blank, present
from medloss.ops.operator import without_autocast
from medloss.reduction import mass, ratio, reduce


class SpectralAmplitudeLoss(ImageLoss):
    r"""Mean squared difference of the amplitudes of the spectra of two images.

    .. math::
        L = \frac{\sum_f (|F_x(f)| - |F_y(f)|)^2}{\sum_i w_i}

    for each sample and channel, with the Fourier transform over the spatial axes, unitary by default, and the voxel
    weights w. Phases do not count: what is compared is how much there is of each frequency, and not where. Add a loss
    that compares voxels. Under a mask both images are zero outside it, and :math:`\sqrt{w} x` and :math:`\sqrt{w} y`
    inside. Where an amplitude is 0 its gradient is 0, so an input of zeros learns nothing.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C.

    Range: [0, inf), for the unitary transform at most :class:`~medloss.MSELoss`; 0 where the amplitudes are equal.

    Limits: 0 between an image and its negative, its mirror image in all axes, or what is left by rolling it around; for
    images of one voxel the squared difference of their absolute values.

    Args:
        fft_signal_size: length of each spatial axis before the transform, for which the images (and their mask) are cut
            off or filled up with zeros at the ends; None for their own. With it the loss is the mean over the
            frequencies of that size.
        fft_norm: what the transform is divided by, for the n voxels of its size: ``"ortho"`` by the root of n,
            ``"forward"`` by n, ``"backward"`` by nothing. The loss is that of ``"ortho"``, over n or times n.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: an unknown ``fft_norm``, or a ``fft_signal_size`` below 1 or not of one length for each axis.

    References:
        [1] Dhariwal et al., Jukebox: a generative model for music, arXiv:2005.00341, spectral loss (there the norm of
        the difference, over windows of several sizes in time; here its square, over the whole image, by the voxel).

    >>> import torch, medloss
    >>> x, y = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[0.0, 2.0]]])  # |F| = (4, 2) and (2, 2), over sqrt(2)
    >>> medloss.SpectralAmplitudeLoss()(x, y)  # (2 + 0) / 2
    tensor(1.0000)
    """

    fft_signal_size: Sequence[int] | None = None
    fft_norm: str = "ortho"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("fft_norm", self.fft_norm, ("ortho", "forward", "backward"))
        for length in self.fft_signal_size or ():
            checks.at_least("fft_signal_size", length, 1)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        sizes = self._lengths(input)
        input, target = cut(input, sizes), cut(target, sizes)
        mask = None if mask is None else cut(mask, sizes)
        dtype = accumulation_dtype(input)
        with without_autocast(input.device.type):
            weight = None if mask is None else mask.to(dtype)
            one, other = (self._amplitude(image.to(dtype), weight, sizes) for image in (input, target))
            total = ((one - other).square() * twins(sizes[-1], one)).flatten(2).sum(-1)
            voxels = mass(mask, input.shape, total)
            filled = math.prod(input.shape[2:]) / math.prod(sizes)  # 1 but for images filled up
            return reduce(ratio(total, voxels) * filled, self.reduction, present(voxels))

    def _lengths(self, image: Tensor) -> tuple[int, ...]:
        """The size of the transform."""
        spatial = tuple(image.shape[2:])
        if self.fft_signal_size is None:
            return spatial
        if len(self.fft_signal_size) != len(spatial):
            given = list(self.fft_signal_size)
            raise ValueError(f"fft_signal_size={given} must have one length for each of {len(spatial)} spatial axes")
        return tuple(self.fft_signal_size)

    def _amplitude(self, image: Tensor, weight: Tensor | None, sizes: tuple[int, ...]) -> Tensor:
        """That of each frequency of the half spectrum."""
        image = blank(image, weight) if weight is None else blank(image, weight) * weight.sqrt()
        axes = tuple(range(2, image.ndim))
        spectrum = torch.view_as_real(torch.fft.rfftn(image, s=sizes, dim=axes, norm=self.fft_norm))
        power = spectrum.square().sum(-1)
        some = power != 0  # the root has no slope at 0; a NaN stays one
        return torch.where(some, torch.where(some, power, 1.0).sqrt(), 0.0)


def cut(image: Tensor, sizes: Sequence[int]) -> Tensor:
    """The first voxels along each spatial axis; what is shorter stays."""
    for axis, size in enumerate(sizes, 2):
        image = image.narrow(axis, 0, min(size, image.shape[axis]))
    return image
