"""The CPU paths of the statistics of windows: say what ``cpu_kernel.c`` can take, and pass the volumes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.dispatch import PathOfBoth
from medloss.ops.local_moments.ssim_reference import either, reach_of, split
from medloss.ops.local_moments.windows import CORRELATION, ERROR, SIGNED, SSIM, STRUCTURE, axes_of, window_misfits
from medloss.ops.masking import accumulation_dtype, added, blank, spatial_axes

ZERO, RENORMALISE, MASKED, REFLECT = range(4)
BORDERS = {"valid": RENORMALISE, "renormalise": RENORMALISE, "zero": ZERO, "reflect": REFLECT}


def volumes(input: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor | int | None, ...]:
    """The kernel's first operands: images, mask, and sizes as depth, height and width."""
    dtype = accumulation_dtype(input)
    batch, channels, *spatial = input.shape
    x, y = (tensor.detach().to(dtype).contiguous() for tensor in (input, target))
    shared = 1
    if mask is not None:
        shared = channels if mask.shape[1] == 1 else 1
        mask = mask.to(dtype).expand(batch, mask.shape[1], *spatial).contiguous()
    return (x, y, mask, batch * channels, shared, *placed(spatial, 1))


def taps(windows: list[list[float]]) -> list[Tensor | int]:
    """The next ones: the weights along depth, height and width."""
    each = [torch.tensor(window, dtype=torch.float64, device="cpu") for window in placed(windows, [1.0])]
    return [value for window in each for value in (window, window.numel())]


def placed(axes: Sequence[Any], missing: Any) -> tuple[Any, Any, Any]:
    """What is said of each axis, as depth, height and width.

    The planes that roll are the first axis that the images have; a missing axis is one voxel that no window widens.
    """
    return {1: (missing, missing, axes[0]), 2: (axes[0], missing, axes[-1]), 3: tuple(axes)}[len(axes)]


def forward(operands: tuple[Any, ...], shape: torch.Size, dtype: torch.dtype, reduce: bool) -> Tensor:
    """The map, or the sums of the volumes."""
    if not reduce:
        map = torch.empty(shape, dtype=dtype, device="cpu")
        native.call("local_moments", dtype, *operands, map, None, None, None, None)
        return map
    sums = torch.empty(shape[:2], dtype=torch.float64, device="cpu")
    native.call("local_moments", dtype, *operands, None, sums, None, None, None)
    return sums.to(dtype)


def backward(operands: tuple[Any, ...], grad: Tensor, input: Tensor, reduce: bool) -> Tensor:
    """The gradient of input, in its dtype."""
    dtype = accumulation_dtype(input)
    result = torch.empty(input.shape, dtype=dtype, device="cpu")
    grad = grad.to(dtype).contiguous()
    upstream = (None, grad) if reduce else (grad, None)
    native.call("local_moments", dtype, *operands, None, None, *upstream, result)
    return result.to(input.dtype)


def swapped(index: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with the images exchanged, in the precision of the call: either statistic is the same for both."""
    assert index == 1, "only the images have a gradient"
    input, target, *options = args
    return (target.to(accumulation_dtype(input)), input, *options)


class NativeLocalMoments(native.NativePath, PathOfBoth):
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

    def both(self, grad: Tensor, args: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        """The sums, and the gradient of input, in one sweep; of the map in two."""
        input, *_, reduce = args
        if not reduce:
            return self.forward(args), self.backward(grad, args)
        dtype = accumulation_dtype(input)
        sums = torch.empty(input.shape[:2], dtype=torch.float64, device="cpu")
        result = torch.empty(input.shape, dtype=dtype, device="cpu")
        upstream = grad.to(dtype).contiguous()
        native.call("local_moments", dtype, *self._operands(args), None, sums, None, upstream, result)
        return sums.to(dtype), result.to(input.dtype)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of target, as which the statistic sees either image."""
        return self.backward(grad, swapped(index, args)).to(args[1].dtype)

    def _operands(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        smooth_nr, smooth_dr = args[5:7]
        return self._told(args, CORRELATION, smooth_nr, smooth_dr)

    def _told(self, args: tuple[Any, ...], statistic: int, *constants: float) -> tuple[Any, ...]:
        input, target, mask, window, renormalise = args[:5]
        border = MASKED if mask is not None else RENORMALISE if renormalise else ZERO
        weights = taps([list(window)] * (input.ndim - 2))
        return (*volumes(input, target, mask), *weights, border, statistic, 0, 0, 0, 0, *constants)


class NativeLocalCorrelation(NativeLocalMoments):
    """The correlation with its sign."""

    def _operands(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return self._told(args, SIGNED, 0.0, args[5])


class NativeLocalSSIM(native.NativePath):
    """SSIM by the same rolling planes; of several windows, one after the other."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input, _, mask, weights, sizes, border, *_ = args
        found = window_misfits(input, axes_of(weights, sizes), needs)
        reach = reach_of(split(weights, sizes, input.ndim - 2))
        if mask is None and border == "reflect" and any(by >= size for by, size in zip(reach, input.shape[2:])):
            found.append(f"windows that reach {reach} voxels mirror more than there is of {tuple(input.shape[2:])}")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map (of the valid windows alone where the border says so), or B C with ``reduce``."""
        input, mask, reduce = args[0], args[2], args[-1]
        calls, dtype, inside = self._calls(args), accumulation_dtype(input), self._inside(args)
        if len(calls) == 1:
            values = forward(calls[0], input.shape, dtype, reduce)
            return values if reduce else values[inside].contiguous()
        first, *others = (forward(call, input.shape, dtype, reduce=False)[inside] for call in calls)
        values = weighted(functools.reduce(either, others, first).clamp_(0, 2), mask)
        return values.sum(spatial_axes(values), dtype=torch.float64).to(dtype) if reduce else values.contiguous()

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype."""
        input, mask, reduce = args[0], args[2], args[-1]
        calls, inside = self._calls(args), self._inside(args)
        if reduce and len(calls) == 1:
            return backward(calls[0], grad, input, reduce)
        whole = grad.new_zeros(input.shape, dtype=accumulation_dtype(input))
        whole[inside] = grad.view(*grad.shape, *[1] * (input.ndim - 2)) if reduce else grad
        if len(calls) == 1:
            return backward(calls[0], whole, input, reduce=False)
        upstreams = self._upstreams(calls, weighted(whole, mask), inside)
        return added(
            backward(call, upstream, whole, reduce=False) for call, upstream in zip(calls, upstreams, strict=True)
        ).to(input.dtype)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of target, as which the statistic sees either image."""
        return self.backward(grad, swapped(index, args)).to(args[1].dtype)

    def _calls(self, args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The operands of each window; the last one has the luminance."""
        input, target, mask, weights, sizes, border, c1, c2, luminance, _ = args
        scales = split(weights, sizes, input.ndim - 2)
        skipped = placed(reach_of(scales) if self._valid(args) else [0] * (input.ndim - 2), 0)
        images, where = volumes(input, target, mask), MASKED if mask is not None else BORDERS[border]
        statistics = [STRUCTURE] * (len(scales) - 1) + [SSIM if luminance else STRUCTURE]
        rest = (*skipped, int(len(scales) > 1), c1, c2)
        return [(*images, *taps(scale), where, kind, *rest) for scale, kind in zip(scales, statistics, strict=True)]

    def _upstreams(self, calls: list[tuple[Any, ...]], grad: Tensor, inside: tuple[slice, ...]) -> list[Tensor]:
        """The gradient that reaches each window's factor: that of the product, times all the others."""
        factors = [1 - forward(call, grad.shape, grad.dtype, reduce=False)[inside] for call in calls]
        upstreams, before = [], grad
        for factor in factors:
            upstreams.append(before)
            before = before.clone()
            before[inside] *= factor
        behind = torch.ones_like(factors[-1])
        for upstream, factor in zip(reversed(upstreams), reversed(factors)):
            upstream[inside] *= behind
            behind *= factor
        return upstreams

    def _valid(self, args: tuple[Any, ...]) -> bool:
        return args[5] == "valid" and args[2] is None

    def _inside(self, args: tuple[Any, ...]) -> tuple[slice, ...]:
        """The windows that count."""
        input, _, _, weights, sizes, *_ = args
        if not self._valid(args):
            return (slice(None),)
        reach = reach_of(split(weights, sizes, input.ndim - 2))
        return (slice(None), slice(None), *(slice(by, size - by) for by, size in zip(reach, input.shape[2:])))


class NativeLocalError(NativeLocalSSIM):
    """The mean absolute difference, by the loop of SSIM of one window; its one window has the place of the last one."""

    def _calls(self, args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        input, target, mask, weights, sizes, border, _ = args
        scales = split(weights, sizes, input.ndim - 2)
        skipped = placed(reach_of(scales) if self._valid(args) else [0] * (input.ndim - 2), 0)
        images, where = volumes(input, target, mask), MASKED if mask is not None else BORDERS[border]
        return [(*images, *taps(scales[0]), where, ERROR, *skipped, 0, 0.0, 0.0)]


def weighted(values: Tensor, mask: Tensor | None) -> Tensor:
    """Values times their weight, and 0 where nothing counts."""
    return values if mask is None else blank(values, mask.to(values.dtype)) * mask.to(values.dtype)
