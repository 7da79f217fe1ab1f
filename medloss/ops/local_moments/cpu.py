"""The CPU paths of the statistics of windows: say what ``cpu_kernel.cpp`` can take, and pass the volumes."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.axes import planes_first
from medloss.ops.dispatch import PathOfBoth
from medloss.ops.local_moments.arguments import (
    CORRELATION,
    SIGNED,
    STRUCTURE,
    Arguments,
    border_of,
    lost,
    misfits,
    scales_of,
)
from medloss.ops.local_moments.ssim_reference import either
from medloss.ops.masking import accumulation_dtype, added, blank, spatial_axes

ZERO, RENORMALISE, MASKED, REFLECT = range(4)
BORDERS = {"valid": RENORMALISE, "renormalise": RENORMALISE, "zero": ZERO, "reflect": REFLECT}


def volumes(input: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor | int | None, ...]:
    """The kernel's first operands: images, mask, and sizes as depth, height and width."""
    dtype = accumulation_dtype(input)
    batch, channels, *spatial = input.shape
    x, y = (tensor.detach().to(dtype).contiguous() for tensor in (input, target))
    mask, shared = native.shared_weight(mask, input, dtype)
    return (x, y, mask, batch * channels, shared, *planes_first(spatial, 1))


def taps(windows: list[list[float]]) -> list[Any]:
    """The next ones: the weights along depth, height and width."""
    return [value for window in planes_first(windows, [1.0]) for value in (native.reals(window), len(window))]


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


class NativeWindows(native.NativePath[Arguments], PathOfBoth[Arguments]):
    """Rolling planes: no map of the whole volume is made but the result; of several windows, one after the other."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return misfits(args)

    def forward(self, args: Arguments) -> Tensor:
        """The map (of the valid windows alone where the border says so), or B C with ``reduce``."""
        shape, dtype, reduce, calls = args.input.shape, accumulation_dtype(args.input), args.reduce, _calls(args)
        if len(calls) == 1:
            values = forward(calls[0], shape, dtype, reduce)
            return values if reduce else values[_inside(args)].contiguous()
        inside = _inside(args)
        first, *others = (forward(call, shape, dtype, reduce=False)[inside] for call in calls)
        values = weighted(functools.reduce(either, others, first).clamp_(0, 2), args.mask)
        return values.sum(spatial_axes(values), dtype=torch.float64).to(dtype) if reduce else values.contiguous()

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype."""
        input, calls = args.input, _calls(args)
        if len(calls) == 1 and (args.reduce or grad.shape == input.shape):
            return backward(calls[0], grad, input, args.reduce)
        inside = _inside(args)
        whole = grad.new_zeros(input.shape, dtype=accumulation_dtype(input))
        whole[inside] = grad.view(*grad.shape, *[1] * (input.ndim - 2)) if args.reduce else grad
        if len(calls) == 1:
            return backward(calls[0], whole, input, reduce=False)
        upstreams = _upstreams(calls, weighted(whole, args.mask), inside)
        return added(
            backward(call, upstream, whole, reduce=False) for call, upstream in zip(calls, upstreams, strict=True)
        ).to(input.dtype)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of target, as which every statistic sees either image."""
        exchanged = args._replace(input=args.target.to(accumulation_dtype(args.input)), target=args.input)
        return self.backward(grad, exchanged).to(args.target.dtype)

    def both(self, grad: Tensor, args: Arguments) -> tuple[Tensor, Tensor]:
        """The sums, and the gradient of input, in one sweep; of a map, and of SSIM, in two."""
        if not args.reduce or args.statistic[0] not in (CORRELATION, SIGNED):
            return self.forward(args), self.backward(grad, args)
        dtype, (operands,) = accumulation_dtype(args.input), _calls(args)
        sums = torch.empty(args.input.shape[:2], dtype=torch.float64, device="cpu")
        result = torch.empty(args.input.shape, dtype=dtype, device="cpu")
        upstream = grad.to(dtype).contiguous()
        native.call("local_moments", dtype, *operands, None, sums, None, upstream, result)
        return sums.to(dtype), result.to(args.input.dtype)


def _calls(args: Arguments) -> list[tuple[Any, ...]]:
    """The operands of each window; the last one has the luminance."""
    scales, (statistic, *constants) = scales_of(args), args.statistic
    images, last = volumes(args.input, args.target, args.mask), len(scales) - 1
    border = border_of(args)
    skipped = planes_first(lost(args), 0) if border == "valid" else (0, 0, 0)
    edge = MASKED if args.mask is not None else BORDERS[border]
    rest = (*skipped, int(last > 0), *constants)
    return [
        (*images, *taps(scale), edge, statistic if at == last else STRUCTURE, *rest) for at, scale in enumerate(scales)
    ]


def _inside(args: Arguments) -> tuple[slice, ...]:
    """The windows that count."""
    return (slice(None), slice(None), *(slice(by, size - by) for by, size in zip(lost(args), args.input.shape[2:])))


def _upstreams(calls: list[tuple[Any, ...]], grad: Tensor, inside: tuple[slice, ...]) -> list[Tensor]:
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


def weighted(values: Tensor, mask: Tensor | None) -> Tensor:
    """Values times their weight, and 0 where nothing counts."""
    return values if mask is None else blank(values, mask.to(values.dtype)) * mask.to(values.dtype)
