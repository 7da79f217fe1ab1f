"""The CPU path of ``local_moments`` and ``local_ssim``: says what ``kernel.c`` can take, and hands it the volumes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.local_moments.windows import CORRELATION, SSIM, axes_of, window_misfits
from medloss.ops.voxels import accumulation_dtype

ZERO, RENORMALISE, MASKED = range(3)


def volumes(
    input: Tensor, target: Tensor, mask: Tensor | None, windows: list[list[float]]
) -> tuple[Tensor | int | None, ...]:
    """The kernel's first operands: images, mask, sizes and weights as depth, height and width."""
    dtype = accumulation_dtype(input)
    batch, channels, *spatial = input.shape
    x, y = (tensor.detach().to(dtype).contiguous() for tensor in (input, target))
    shared = 1
    if mask is not None:
        shared = channels if mask.shape[1] == 1 else 1
        mask = mask.to(dtype).expand(batch, mask.shape[1], *spatial).contiguous()
    k, one = [torch.tensor(window, dtype=torch.float64) for window in windows], torch.ones(1, dtype=torch.float64)
    # the planes that roll are the first axis that the images have; a missing axis is one voxel that no window widens
    sizes = {1: (1, 1, *spatial), 2: (spatial[0], 1, spatial[-1]), 3: tuple(spatial)}[len(spatial)]
    weights = {1: (one, one, k[0]), 2: (k[0], one, k[-1]), 3: tuple(k)}[len(spatial)]
    told = [value for window in weights for value in (window, window.numel())]
    return (x, y, mask, batch * channels, shared, *sizes, *told)


def forward(operands: tuple[Any, ...], shape: torch.Size, dtype: torch.dtype, reduce: bool) -> Tensor:
    """The map, or the sums of the volumes."""
    if not reduce:
        map = torch.empty(shape, dtype=dtype)
        native.call("local_moments", dtype, *operands, map, None, None, None, None)
        return map
    sums = torch.empty(shape[:2], dtype=torch.float64)
    native.call("local_moments", dtype, *operands, None, sums, None, None, None)
    return sums.to(dtype)


def backward(operands: tuple[Any, ...], grad: Tensor, input: Tensor, reduce: bool) -> Tensor:
    """The gradient of input, in its dtype."""
    dtype = accumulation_dtype(input)
    result = torch.empty(input.shape, dtype=dtype)
    grad = grad.to(dtype).contiguous()
    upstream = (None, grad) if reduce else (grad, None)
    native.call("local_moments", dtype, *operands, None, None, *upstream, result)
    return result.to(input.dtype)


def swapped(index: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with the images exchanged, in the precision of the call: either statistic is the same for both."""
    assert index == 1, "only the images have a gradient"
    input, target, *options = args
    return (target.to(accumulation_dtype(input)), input, *options)


class NativeLocalMoments(native.NativePath):
    """Rolling planes: no map of the whole volume is made but the result."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return window_misfits(args[0], [list(args[3])], needs)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, or B C with ``reduce``."""
        input, *_, reduce = args
        return forward(self._operands(args), input.shape, accumulation_dtype(input), reduce)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype."""
        input, *_, reduce = args
        return backward(self._operands(args), grad, input, reduce)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of target, as which the statistic sees either image."""
        return self.backward(grad, swapped(index, args)).to(args[1].dtype)

    def _operands(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        input, target, mask, window, renormalise, smooth_nr, smooth_dr, _ = args
        border = MASKED if mask is not None else RENORMALISE if renormalise else ZERO
        told = volumes(input, target, mask, [list(window)] * (input.ndim - 2))
        return (*told, border, CORRELATION, 0, smooth_nr, smooth_dr)


class NativeLocalSSIM(native.NativePath):
    """SSIM of one window, by the same rolling planes."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input, _, mask, weights, sizes, border, _, _, luminance, _ = args
        found = window_misfits(input, axes_of(weights, sizes)[: input.ndim - 2], needs)
        if len(sizes) != input.ndim - 2:
            found.append("a product over several windows has no native kernel")
        if mask is None and border not in ("valid", "renormalise"):
            found.append(f"the border {border!r} has no native kernel")
        if not luminance:
            found.append("SSIM without its luminance has no native kernel")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map (of the valid windows alone where the border says so), or B C with ``reduce``."""
        input, *_, reduce = args
        values = forward(self._operands(args), input.shape, accumulation_dtype(input), reduce)
        return values if reduce else values[self._inside(args)].contiguous()

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype."""
        input, *_, reduce = args
        if not reduce:
            whole = grad.new_zeros(input.shape)
            whole[self._inside(args)] = grad
            grad = whole
        return backward(self._operands(args), grad, input, reduce)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of target, as which the statistic sees either image."""
        return self.backward(grad, swapped(index, args)).to(args[1].dtype)

    def _operands(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        input, target, mask, weights, sizes, border, c1, c2, _, _ = args
        valid = int(border == "valid" and mask is None)
        told = volumes(input, target, mask, axes_of(weights, sizes))
        return (*told, MASKED if mask is not None else RENORMALISE, SSIM, valid, c1, c2)

    def _inside(self, args: tuple[Any, ...]) -> tuple[slice, ...]:
        input, _, mask, _, sizes, border, *_ = args
        if border != "valid" or mask is not None:
            return (slice(None),)
        cut = [slice(size // 2, extent - size // 2) for size, extent in zip(sizes, input.shape[2:])]
        return (slice(None), slice(None), *cut)
