"""kornia's mutual informations: its own windows and entropies, on the chunks of the native histogram.

Each signal is stretched over the bins from its least to its largest value, through which the gradient flows too. Every
voxel counts in the bins within a radius, by a window that need not sum to one, and the joint counts are made a
distribution after all. Window weights exist for one chunk of voxels at a time.
"""

from __future__ import annotations

import math
from enum import Enum
from functools import partial
from typing import Any

import torch
from torch import Tensor

from medloss.compat.kornia.base import alike, check, plain
from medloss.ops.joint_histogram.reference import in_chunks
from medloss.ops.operator import without_autocast


def xu_kernel(x: torch.Tensor, window_radius: float = 1.0) -> torch.Tensor:
    """Two parabolas that meet at half the radius: 1 in the middle, 0 from the radius on."""
    a = x.abs() / window_radius
    near, far = 1 - 0.1 * a - 1.8 * a * a, 1.9 - 3.7 * a + 1.8 * a * a
    return torch.where(a < 0.5, near, torch.where(a <= 1, far, 0))


def rectangular_kernel(x: torch.Tensor, window_radius: float = 1.0) -> torch.Tensor:
    """1 up to the radius; it has no slope."""
    return (x.abs() <= window_radius).to(x.dtype)


def truncated_gaussian_kernel(x: torch.Tensor, window_radius: float = 1.0) -> torch.Tensor:
    """The normal density whose standard deviation is the radius, up to the radius."""
    density = torch.exp(-((x / window_radius) ** 2) / 2) / (window_radius * math.sqrt(2 * math.pi))
    return torch.where(x.abs() <= window_radius, density, 0)


class MIKernel(Enum):
    """The windows; kornia's members of the same names are taken for these."""

    xu = (xu_kernel,)
    rectangular = (rectangular_kernel,)
    truncated_gaussian = (truncated_gaussian_kernel,)

    @property
    def value(self) -> Any:
        """The function."""
        return self._value_[0]


class EntropyBasedLossBase(torch.nn.Module):
    """A loss of the entropies of a signal and a fixed reference.

    Args:
        reference_signal: of any leading axes, whose last axis (or two, or three, by the class) are its voxels.
        mask: which voxels count, one for all leading axes.
        kernel_function: the window.
        num_bins: number of bins, at least 2.
        window_radius: of the window, in bins.
    """

    rank = 1
    _reference_dtype: Tensor
    signal: Tensor
    mask: Tensor
    bin_centers: Tensor

    def __init__(
        self,
        reference_signal: torch.Tensor,
        mask: torch.Tensor | None = None,
        kernel_function: MIKernel = MIKernel.xu,
        num_bins: int = 64,
        window_radius: float = 1.0,
    ) -> None:
        super().__init__()
        self._reference_shape = reference_signal.shape
        reference, mask = self.arrange_shape(reference_signal), self._flat_mask(mask, reference_signal)
        integral = isinstance(num_bins, int) and not isinstance(num_bins, bool)
        check(integral and num_bins >= 2, f"num_bins={num_bins!r} must be an integer of at least 2")
        check(window_radius > 0, f"window_radius={window_radius!r} must be above 0")
        name = getattr(kernel_function, "name", "")
        known = isinstance(kernel_function, Enum) and name in MIKernel.__members__
        check(known, f"kernel_function={kernel_function!r} is unknown: choose a member of MIKernel", ValueError)
        self.initial_shape = reference.shape
        self.num_bins = num_bins
        self.kernel_function = partial(MIKernel[name].value, window_radius=window_radius)
        self.window_radius = window_radius
        self.register_buffer("_reference_dtype", reference.new_empty(0), persistent=False)
        counted = reference if mask is None else reference[..., mask]
        check(mask is None or counted.shape[-1] > 0, "mask must hold one voxel or more")
        self.register_buffer("signal", self._placed(counted))
        everywhere = torch.ones(reference.shape[-1], dtype=torch.bool, device=reference.device)
        self.register_buffer("mask", everywhere if mask is None else mask.clone())
        self.register_buffer("bin_centers", torch.arange(num_bins, device=reference.device), persistent=False)
        self._everywhere = mask is None

    @classmethod
    def arrange_shape(cls, tensor: torch.Tensor) -> torch.Tensor:
        """The voxels along one axis."""
        return tensor if cls.rank == 1 else tensor.reshape(*tensor.shape[: -cls.rank], -1)

    @property
    def eps(self) -> float:
        """The range up to which a signal counts as constant."""
        return torch.finfo(self._reference_dtype.dtype).eps

    def entropies(
        self, other_signal: torch.Tensor, other_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Those of the signal, of the reference, and of both together, in nats."""
        other, mask = self.arrange_shape(other_signal), self._flat_mask(other_mask, other_signal)
        check(other.shape == self.initial_shape, f"shapes {other.shape} and {self.initial_shape} differ", ValueError)
        with without_autocast(other.device.type):
            counts = self._counts(*self._common(other, mask))
            joint = counts.clamp_min(torch.finfo(counts.dtype).eps)
            joint = joint / joint.sum((-2, -1), keepdim=True)
            return _entropy(joint.sum(-2), 1), _entropy(joint.sum(-1), 1), _entropy(joint, 2)

    def _common(self, other: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Where both signals' voxels lie among the bins; those outside of either mask left out."""
        if mask is None and self._everywhere:
            return self.signal, self._placed(other)
        mask = torch.ones_like(self.mask) if mask is None else mask
        reference = self.signal[..., mask[self.mask]]
        check(reference.shape[-1] > 0, "the masks must have one voxel or more in common")
        return reference, self._placed(other[..., mask])[..., self.mask[mask]]

    def _placed(self, signal: Tensor) -> Tensor:
        """From 0 to the last bin; a constant signal lies in the first."""
        signal = _single(signal)
        low, high = signal.min(-1, keepdim=True).values, signal.max(-1, keepdim=True).values
        varied = high - low > self.eps
        places = (signal - low) / torch.where(varied, high - low, 1) * (self.num_bins - 1)
        return torch.where(varied, places, 0)

    def _counts(self, reference: Tensor, other: Tensor) -> Tensor:
        """The joint histogram ... bins bins of where the voxels lie."""
        dtype = torch.promote_types(_single(reference).dtype, _single(other).dtype)
        rows, columns = (places.to(dtype).reshape(-1, places.shape[-1]) for places in (reference, other))
        counts = in_chunks(self._windowed, self.num_bins, rows, columns, None, self.bin_centers)
        return counts.reshape(*reference.shape[:-1], self.num_bins, self.num_bins)

    def _windowed(self, rows: Tensor, columns: Tensor, weight: Tensor | None, centres: Tensor) -> Tensor:
        windows = [self.kernel_function(centres.unsqueeze(-1) - part.unsqueeze(-2)) for part in (rows, columns)]
        return windows[0] @ windows[1].transpose(-1, -2)

    def _flat_mask(self, mask: Any, signal: Tensor) -> Tensor | None:
        if mask is None:
            return None
        mask = plain("mask", mask)
        check(mask.dtype in (torch.bool, torch.uint8), f"mask is {mask.dtype} and must be torch.bool")
        expected = signal.shape[-self.rank :]
        check(mask.shape == expected, f"mask has shape {list(mask.shape)}: expected {list(expected)}, for all samples")
        return mask.reshape(-1).to(signal.device, torch.bool)

    def _checked(self, signal: Tensor) -> None:
        fits = signal.shape == self._reference_shape
        message = f"the signal has shape {list(signal.shape)} and the reference {list(self._reference_shape)}"
        check(self.rank == 1 or fits, message)


def _single(signal: Tensor) -> Tensor:
    """In float32 where the signal is of half precision."""
    return signal.float() if signal.dtype in (torch.float16, torch.bfloat16) else signal


def _entropy(p: Tensor, axes: int) -> Tensor:
    return -(p * p.log()).flatten(-axes).sum(-1)


class MILossFromRef(EntropyBasedLossBase):
    """``kornia.losses.MILossFromRef``: minus the mutual information, H(x) + H(y) - H(x, y), for each leading index."""

    def forward(self, other_signal: torch.Tensor, other_mask: torch.Tensor | None = None) -> torch.Tensor:
        """The loss."""
        self._checked(other_signal)
        one, other, both = self.entropies(other_signal, other_mask)
        return -(one + other - both).to(self._reference_dtype.dtype)


class MILossFromRef2D(MILossFromRef):
    """``kornia.losses.MILossFromRef2D``: :class:`MILossFromRef` of planes ... H W."""

    rank = 2


class MILossFromRef3D(MILossFromRef):
    """``kornia.losses.MILossFromRef3D``: :class:`MILossFromRef` of volumes ... D H W."""

    rank = 3


class NMILossFromRef(EntropyBasedLossBase):
    """``kornia.losses.NMILossFromRef``: minus (H(x) + H(y)) / H(x, y), for each leading index."""

    def forward(self, other_signal: torch.Tensor, other_mask: torch.Tensor | None = None) -> torch.Tensor:
        """The loss."""
        self._checked(other_signal)
        one, other, both = self.entropies(other_signal, other_mask)
        return -((one + other) / both).to(self._reference_dtype.dtype)


class NMILossFromRef2D(NMILossFromRef):
    """``kornia.losses.NMILossFromRef2D``: :class:`NMILossFromRef` of planes ... H W."""

    rank = 2


class NMILossFromRef3D(NMILossFromRef):
    """``kornia.losses.NMILossFromRef3D``: :class:`NMILossFromRef` of volumes ... D H W."""

    rank = 3


def mutual_information_loss(
    input: torch.Tensor,
    target: torch.Tensor,
    input_mask: torch.Tensor | None = None,
    target_mask: torch.Tensor | None = None,
    kernel_function: MIKernel = MIKernel.xu,
    num_bins: int = 64,
    window_radius: float = 1.0,
) -> torch.Tensor:
    """``kornia.losses.mutual_information_loss``: :class:`MILossFromRef` of the target."""
    alike("target", target, "input", input.shape)
    return MILossFromRef(target, target_mask, kernel_function, num_bins, window_radius)(input, input_mask)


def mutual_information_loss_2d(
    input: torch.Tensor,
    target: torch.Tensor,
    input_mask: torch.Tensor | None = None,
    target_mask: torch.Tensor | None = None,
    kernel_function: MIKernel = MIKernel.xu,
    num_bins: int = 64,
    window_radius: float = 1.0,
) -> torch.Tensor:
    """``kornia.losses.mutual_information_loss_2d``: :class:`MILossFromRef2D` of the target."""
    alike("target", target, "input", input.shape)
    return MILossFromRef2D(target, target_mask, kernel_function, num_bins, window_radius)(input, input_mask)


def mutual_information_loss_3d(
    input: torch.Tensor,
    target: torch.Tensor,
    input_mask: torch.Tensor | None = None,
    target_mask: torch.Tensor | None = None,
    kernel_function: MIKernel = MIKernel.xu,
    num_bins: int = 64,
    window_radius: float = 1.0,
) -> torch.Tensor:
    """``kornia.losses.mutual_information_loss_3d``: :class:`MILossFromRef3D` of the target."""
    alike("target", target, "input", input.shape)
    return MILossFromRef3D(target, target_mask, kernel_function, num_bins, window_radius)(input, input_mask)


def normalized_mutual_information_loss(
    input: torch.Tensor,
    target: torch.Tensor,
    input_mask: torch.Tensor | None = None,
    target_mask: torch.Tensor | None = None,
    kernel_function: MIKernel = MIKernel.xu,
    num_bins: int = 64,
    window_radius: float = 1.0,
) -> torch.Tensor:
    """``kornia.losses.normalized_mutual_information_loss``: :class:`NMILossFromRef` of the target."""
    alike("target", target, "input", input.shape)
    return NMILossFromRef(target, target_mask, kernel_function, num_bins, window_radius)(input, input_mask)


def normalized_mutual_information_loss_2d(
    input: torch.Tensor,
    target: torch.Tensor,
    input_mask: torch.Tensor | None = None,
    target_mask: torch.Tensor | None = None,
    kernel_function: MIKernel = MIKernel.xu,
    num_bins: int = 64,
    window_radius: float = 1.0,
) -> torch.Tensor:
    """``kornia.losses.normalized_mutual_information_loss_2d``: :class:`NMILossFromRef2D` of the target."""
    alike("target", target, "input", input.shape)
    return NMILossFromRef2D(target, target_mask, kernel_function, num_bins, window_radius)(input, input_mask)


def normalized_mutual_information_loss_3d(
    input: torch.Tensor,
    target: torch.Tensor,
    input_mask: torch.Tensor | None = None,
    target_mask: torch.Tensor | None = None,
    kernel_function: MIKernel = MIKernel.xu,
    num_bins: int = 64,
    window_radius: float = 1.0,
) -> torch.Tensor:
    """``kornia.losses.normalized_mutual_information_loss_3d``: :class:`NMILossFromRef3D` of the target."""
    alike("target", target, "input", input.shape)
    return NMILossFromRef3D(target, target_mask, kernel_function, num_bins, window_radius)(input, input_mask)
