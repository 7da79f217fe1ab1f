"""Multi-scale structural similarity: the structure of several resolutions, multiplied."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from medloss.checks import ShapeError
from medloss.image.ssim import StructuralLoss
from medloss.image.windows import by, least_voxels, map_shape
from medloss.ops import local_ssim
from medloss.ops.masking import accumulation_dtype, blank, present
from medloss.ops.operator import without_autocast
from medloss.reduction import mass, ratio, reduce


class MultiScaleSSIMLoss(StructuralLoss):
    r"""One minus the product of the structural similarities of two images at several resolutions.

    .. math:: L = 1 - \max(0, S_M)^{\beta_M} \prod_{m < M} \max(0, C_m)^{\beta_m}

    for each sample and channel: C is the mean over windows of contrast times structure
    :math:`(2 \sigma_{xy} + c_2) / (\sigma_x^2 + \sigma_y^2 + c_2)`, S that of the whole similarity
    (:class:`~medloss.SSIMLoss`), and from each scale to the next the images are averaged over 2 voxels along each axis.

    A scale whose mean is negative counts 0: the loss is 1, without a gradient. Images that are worse than unrelated
    need another loss beside this one.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C.

    Range: [0, 1]; 0 where the images are equal.

    Limits: ``scale_weights=[1]`` is :class:`~medloss.SSIMLoss` of each sample and channel, where that is below 1.

    Args:
        scale_weights: the exponents beta, finest scale first; as many scales as there are entries.
        window, window_size, sigma, data_range, k1, k2, border: see :class:`~medloss.SSIMLoss`; the window is the same
            number of voxels at every scale. Under a mask an average is over the valid ones of its voxels, with the mean
            of their weights.

    Raises:
        ShapeError: images or mask of unlike shapes, or too few voxels for the window at the coarsest scale.
        ValueError: no scale, a negative weight, an even window, or an unknown option.

    References:
        [1] Wang et al., Multiscale structural similarity for image quality assessment, Asilomar 2003, eq. 7.

    >>> import torch, medloss
    >>> x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> loss = medloss.MultiScaleSSIMLoss(window_size=5, scale_weights=[0.4, 0.6])
    >>> loss(x, x), loss(x, 1 - x)
    (tensor(0.), tensor(1.))
    """

    scale_weights: Sequence[float] = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.scale_weights) == 0 or not all(0 <= weight < float("inf") for weight in self.scale_weights):
            raise ValueError(f"scale_weights={self.scale_weights!r} must be one or more numbers of at least 0")

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        self._fits(input, mask)
        # every scale looks at the images: their gradients are added before they are rounded to half precision
        input, target = input.to(accumulation_dtype(input)), target.to(accumulation_dtype(input))
        valid = present(mass(mask, input.shape, input))
        with without_autocast(input.device.type):
            return reduce(1 - self._similarity(input, target, mask), self.reduction, valid)

    def _similarity(self, input: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """The product over the scales, B C."""
        weights = self._window(input.ndim - 2)
        sizes = [len(axis) for axis in weights]
        last = len(self.scale_weights) - 1
        factors = []
        for scale, exponent in enumerate(self.scale_weights):
            if scale:
                input, target, mask = halved(input, target, mask)
            sums = local_ssim(
                input,
                target,
                mask,
                windows=[weights],
                border=self.border,
                luminance=scale == last,
                reduce=True,
                **self._constants,
            )
            mean = 1 - ratio(sums, mass(mask, map_shape(input.shape, sizes, self.border, mask), sums))
            some = ~(mean <= 0)  # a power has no slope at 0; NaN stays NaN
            factors.append(torch.where(some, torch.where(some, mean, 1.0) ** exponent, 0.0))
        return functools.reduce(torch.mul, factors)

    def _fits(self, input: Tensor, mask: Tensor | None) -> None:
        """Raise where the coarsest scale has too few voxels."""
        shrunk = 2 ** (len(self.scale_weights) - 1)
        spatial = list(input.shape[2:])
        least = least_voxels([len(axis) for axis in self._window(len(spatial))], self.border, mask)
        if any(size // shrunk < needed for size, needed in zip(spatial, least, strict=True)):
            raise ShapeError(
                f"input has spatial shape {by(spatial)}: {len(self.scale_weights)} scales and this window need "
                f"at least {by([needed * shrunk for needed in least])} voxels. Take fewer scale_weights, a smaller "
                "window_size, or border='renormalise'"
            )


def halved(input: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Images and weights at half the resolution, a last odd voxel left out."""
    if mask is None:
        return pooled(input), pooled(target), None
    weight = mask.to(input.dtype)
    coarse = pooled(weight)
    images = [ratio(pooled(blank(image, weight) * weight), coarse) for image in (input, target)]
    return images[0], images[1], coarse


def pooled(tensor: Tensor) -> Tensor:
    """The mean of 2 voxels along each axis. Not by the pooling of torch, which is not deterministic on a GPU."""
    for axis in range(2, tensor.ndim):
        if torch.compiler.is_compiling():  # does not ask whether the axis is odd: one graph for both
            before = (slice(None),) * axis
            tensor = (tensor[(*before, slice(0, -1, 2))] + tensor[(*before, slice(1, None, 2))]) / 2
        else:
            half = tensor.shape[axis] // 2
            tensor = tensor.narrow(axis, 0, 2 * half).unflatten(axis, (half, 2)).mean(axis + 1)
    return tensor
