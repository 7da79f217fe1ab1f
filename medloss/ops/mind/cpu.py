"""The CPU path of ``mind``: says what ``cpu_kernel.c`` can take, and passes volumes and pairs of neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.masking import accumulation_dtype
from medloss.ops.mind.reference import Arguments, pairs_of

PLACES = {1: (2,), 2: (0, 2), 3: (0, 1, 2)}
"""Which of depth, height and width the axes of an image are: planes roll along the first one."""


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
    places = PLACES[len(spatial)]
    sizes = _placed(spatial, places, 1)
    steps, pairs = [], []
    for p, q in pairs_of(len(spatial)):
        step = [b - a for a, b in zip(p, q)]
        if step < [0] * len(step):  # the same differences, seen from the other end
            p, step = q, [-by for by in step]
        if step not in steps:
            steps.append(step)
        pairs.append([steps.index(step), *_placed([by * args.dilation for by in p], places, 0)])
    reach = [
        value
        for there in _placed([1] * len(spatial), places, 0)
        for value in (args.radius * there, args.dilation * there)
    ]
    far = [by * args.dilation for step in steps for by in _placed(step, places, 0)]
    told = torch.tensor([*reach, *far, *(value for pair in pairs for value in pair)], dtype=torch.int64, device="cpu")
    return (x, y, mask, batch * channels, shared, *sizes, told, len(steps), len(pairs), int(args.penalty == "absolute"))


def _placed(values: list[int], places: tuple[int, ...], missing: int) -> list[int]:
    """Values of the axes as depth, height and width."""
    result = [missing] * 3
    for value, place in zip(values, places):
        result[place] = value
    return result
