"""The CPU path of ``mind``: says what ``cpu_kernel.cpp`` can take, and passes volumes and pairs of neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.axes import planes_first
from medloss.ops.masking import accumulation_dtype
from medloss.ops.mind.reference import Arguments, steps_of


class NativeMind(native.NativePath[Arguments]):
    """Rolling planes of patch distances: no map of the whole volume is made but the result."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits()

    def forward(self, args: Arguments) -> Tensor:
        """The map, or B C with ``reduce``."""
        dtype = accumulation_dtype(args.input)
        shape, kind = (args.input.shape[:2], torch.float64) if args.reduce else (args.input.shape, dtype)
        result = torch.empty(shape, dtype=kind, device="cpu")
        results = (None, result) if args.reduce else (result, None)
        native.call("mind", dtype, *_operands(args), *results, None, None, None)
        return result.to(dtype)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype."""
        dtype = accumulation_dtype(args.input)
        grad = grad.to(dtype).contiguous()
        result = torch.empty(args.input.shape, dtype=dtype, device="cpu")
        upstream = (None, grad) if args.reduce else (grad, None)
        native.call("mind", dtype, *_operands(args), None, None, *upstream, result)
        return result.to(args.input.dtype)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of target, which the difference sees as it sees input."""
        exchanged = args._replace(input=args.target.to(accumulation_dtype(args.input)), target=args.input)
        return self.backward(grad, exchanged).to(args.target.dtype)


def _operands(args: Arguments) -> tuple[Any, ...]:
    """The kernel's first operands: images, mask, sizes, and what is compared."""
    dtype = accumulation_dtype(args.input)
    batch, channels, *spatial = args.input.shape
    x, y = (tensor.detach().to(dtype).contiguous() for tensor in (args.input, args.target))
    mask, shared = native.shared_weight(args.mask, args.input, dtype)
    dilation, (steps, pairs) = args.dilation, steps_of(len(spatial))
    there = planes_first([1] * len(spatial), 0)
    told = [number for axis in there for number in (args.radius * axis, dilation * axis)]
    told += [by * dilation for step in steps for by in planes_first(step, 0)]
    for number, start in pairs:
        told += [number, *(by * dilation for by in planes_first(start, 0))]
    return (
        x, y, mask, batch * channels, shared, *planes_first(spatial, 1),
        native.integers(told), len(steps), len(pairs), int(args.penalty == "absolute"),
    )  # fmt: skip
