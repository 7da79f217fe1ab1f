"""The CPU path of ``mind``: says what ``cpu_kernel.c`` can take, and passes volumes and pairs of neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.masking import accumulation_dtype
from medloss.ops.mind.reference import pairs_of

PLACES = {1: (2,), 2: (0, 2), 3: (0, 1, 2)}
"""Which of depth, height and width the axes of an image are: planes roll along the first one."""


class NativeMind(native.NativePath):
    """Rolling planes of patch distances: no map of the whole volume is made but the result."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input = args[0]
        found = []
        if not 3 <= input.ndim <= 5:
            found.append(f"input has {input.ndim - 2} spatial axes, the kernel takes 1 to 3")
        if input.numel() == 0:
            found.append("there are no voxels")
        if needs is not None and any(needs[2:]):
            found.append("a gradient of the mask is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, or B C with ``reduce``."""
        input, *_, reduce = args
        dtype = accumulation_dtype(input)
        shape, kind = (input.shape[:2], torch.float64) if reduce else (input.shape, dtype)
        result = torch.empty(shape, dtype=kind, device="cpu")
        results = (None, result) if reduce else (result, None)
        native.call("mind", dtype, *_operands(args), *results, None, None, None)
        return result.to(dtype)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype."""
        input, *_, reduce = args
        dtype = accumulation_dtype(input)
        grad = grad.to(dtype).contiguous()
        result = torch.empty(input.shape, dtype=dtype, device="cpu")
        upstream = (None, grad) if reduce else (grad, None)
        native.call("mind", dtype, *_operands(args), None, None, *upstream, result)
        return result.to(input.dtype)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of target, which the difference sees as it sees input."""
        assert index == 1, "only the images have a gradient"
        input, target, *options = args
        exchanged = (target.to(accumulation_dtype(input)), input, *options)
        return self.backward(grad, exchanged).to(target.dtype)


def _operands(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The kernel's first operands: images, mask, sizes, and what is compared."""
    input, target, mask, radius, dilation, penalty, _ = args
    dtype = accumulation_dtype(input)
    batch, channels, *spatial = input.shape
    x, y = (tensor.detach().to(dtype).contiguous() for tensor in (input, target))
    shared = 1
    if mask is not None:
        shared = channels if mask.shape[1] == 1 else 1
        mask = mask.to(dtype).expand(batch, mask.shape[1], *spatial).contiguous()
    places = PLACES[len(spatial)]
    sizes = _placed(spatial, places, 1)
    steps, pairs = [], []
    for p, q in pairs_of(len(spatial)):
        step = [b - a for a, b in zip(p, q)]
        if step < [0] * len(step):  # the same differences, seen from the other end
            p, step = q, [-by for by in step]
        if step not in steps:
            steps.append(step)
        pairs.append([steps.index(step), *_placed([by * dilation for by in p], places, 0)])
    reach = [value for there in _placed([1] * len(spatial), places, 0) for value in (radius * there, dilation * there)]
    far = [by * dilation for step in steps for by in _placed(step, places, 0)]
    told = torch.tensor([*reach, *far, *(value for pair in pairs for value in pair)], dtype=torch.int64, device="cpu")
    return (x, y, mask, batch * channels, shared, *sizes, told, len(steps), len(pairs), int(penalty == "absolute"))


def _placed(values: list[int], places: tuple[int, ...], missing: int) -> list[int]:
    """Values of the axes as depth, height and width."""
    result = [missing] * 3
    for value, place in zip(values, places):
        result[place] = value
    return result
