"""What the losses of a joint histogram share: the range of intensities, the windows, and the probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.ops import joint_histogram
from medloss.ops.joint_histogram import KERNELS, LEAST_BINS
from medloss.ops.masking import accumulation_dtype, constants, present
from medloss.ops.operator import without_autocast
from medloss.reduction import reduce

FROM_DATA = ("image", "batch")


class HistogramLoss(ImageLoss):
    """A loss that is arithmetic on the joint histogram of two images; a subclass writes :meth:`compare`.

    Args:
        kernel_type: window through which an intensity is counted. ``"gaussian"``; or ``"mattes"`` and ``"b-spline"``, a
            cubic B-spline for the input and a box for the target, which gets no gradient.
        num_bins: bins of each image.
        sigma_ratio: sigma of the Gaussian window, in bins.
        intensity_range: lowest and highest intensity of both images; or ``"image"``, those of each image of each
            sample (under the mask), without a gradient of their own; or ``"batch"``, those of all samples together.
            What lies outside a given range counts as its end and has no gradient;
            :func:`~medloss.check_values` raises there.
        target_range: the same of the target, where it has another.
    """

    kernel_type: str = "gaussian"
    num_bins: int = 23
    sigma_ratio: float = 0.5
    intensity_range: Sequence[float] | str = (0.0, 1.0)
    target_range: Sequence[float] | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("kernel_type", self.kernel_type, KERNELS)
        least = LEAST_BINS[self.kernel_type]
        if not isinstance(self.num_bins, int) or self.num_bins < least:
            raise ValueError(f"num_bins={self.num_bins!r} must be a whole number, at least {least}")
        if not 0 < self.sigma_ratio < float("inf"):
            raise ValueError(f"sigma_ratio={self.sigma_ratio!r} must be above 0")
        _check_range("intensity_range", self.intensity_range)
        if self.target_range is not None:
            _check_range("target_range", self.target_range)

    def compare(self, joint: Tensor) -> Tensor:
        """The value of each sample, B, from its joint probabilities B bins bins (all 0 in a sample without voxels)."""
        raise NotImplementedError

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        of_target = self.intensity_range if self.target_range is None else self.target_range
        with without_autocast(input.device.type):
            ranges = torch.cat([_range(input, mask, self.intensity_range), _range(target, mask, of_target)], 1)
            if checks.checking_values():
                _check_within(input, mask, ranges[:, :2], "input")
                _check_within(target, mask, ranges[:, 2:], "target")
            values, mass = self._compared(input, target, mask, ranges)
            return reduce(values, self.reduction, present(mass))

    def _compared(self, input: Tensor, target: Tensor, mask: Tensor | None, ranges: Tensor) -> tuple[Tensor, Tensor]:
        """The value of each sample, and the sum of its weights, over ranges B 4 of input and target."""
        counts = joint_histogram(
            input,
            target,
            mask,
            kernel=self.kernel_type,
            bins=self.num_bins,
            ranges=ranges,
            sigma_ratio=self.sigma_ratio,
        )
        # does not change with the images: each voxel counts once in all
        mass = (counts.detach() if mask is None or not mask.requires_grad else counts).sum((1, 2))
        joint = counts / torch.where(present(mass), mass, torch.ones_like(mass)).view(-1, 1, 1)
        return self.compare(joint), mass


def _range(image: Tensor, mask: Tensor | None, wanted: Sequence[float] | str) -> Tensor:
    """Lowest and highest intensity of each sample, B 2, in the accumulation dtype."""
    dtype = accumulation_dtype(image)
    if not isinstance(wanted, str):
        return constants(wanted, image.new_empty((), dtype=dtype)).expand(image.shape[0], 2)
    image = image.detach()
    low = high = image
    if mask is not None:
        low, high = (torch.where(mask > 0, image, torch.full_like(image, end)) for end in (torch.inf, -torch.inf))
    low, high = low.flatten(1).amin(1).to(dtype), high.flatten(1).amax(1).to(dtype)
    if wanted == "batch":
        low, high = low.amin().expand(image.shape[0]), high.amax().expand(image.shape[0])
    seen = ~(low > high)  # false without any voxel; NaN stays
    return torch.stack([torch.where(seen, low, torch.zeros_like(low)), torch.where(seen, high, low + 1)], 1)


def _check_range(name: str, value: Any) -> None:
    if isinstance(value, str):
        checks.choice(name, value, FROM_DATA)
        return
    if len(value) != 2 or not value[0] < value[1]:
        raise ValueError(f"{name}={value!r} must be the lowest and the highest intensity, or one of {FROM_DATA}")


def _check_within(image: Tensor, mask: Tensor | None, ranges: Tensor, name: str) -> None:
    image = image.detach()
    low, high = (bound.view(-1, *[1] * (image.ndim - 1)) for bound in ranges.unbind(1))
    outside = (image < low) | (image > high)
    if mask is not None:
        outside = outside & (mask > 0)
    if bool(outside.any()):
        found = image[outside]
        raise ValueError(
            f"{name} holds {found.numel()} intensities outside the range {float(low.min())}..{float(high.max())}, "
            f"from {float(found.min())} to {float(found.max())}: scale the image, or name its intensity_range"
        )
