"""The CPU path of ``local_moments``: says what ``kernel.c`` can take, and hands it volumes as depth, height, width."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.voxels import accumulation_dtype

ZERO, RENORMALISE, MASKED = range(3)
LONGEST_WINDOW = 255


class NativeLocalMoments:
    """Rolling planes: no map of the whole volume is made but the result."""

    name = "native"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernel cannot serve; empty where it can."""
        input, _, _, window, *_ = args
        if input.device.type != "cpu":
            return [f"input is on {input.device}, the kernel runs on the CPU"]
        found = []
        if native.unavailable():
            found.append(f"there is no native library: {native.unavailable()}")
        elif native.slow_machine():
            found.append("the processor has no AVX2, without which torch is faster")
        if not 3 <= input.ndim <= 5:
            found.append(f"input has {input.ndim - 2} spatial axes, the kernel takes 1 to 3")
        if input.numel() == 0:
            found.append("there are no voxels")
        if len(window) > LONGEST_WINDOW:
            found.append(f"the window's {len(window)} weights are more than {LONGEST_WINDOW}")
        if list(window) != list(window)[::-1]:
            found.append("the window is not symmetric, which the kernel's gradient takes for granted")
        if needs is not None and any(needs[1:]):
            found.append("a gradient of target or mask is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, or B C with ``reduce``."""
        input, *_, reduce = args
        dtype = accumulation_dtype(input)
        if not reduce:
            map = torch.empty(input.shape, dtype=dtype)
            native.call("local_moments_forward", dtype, *_operands(args), map, None)
            return map
        sums = torch.empty(input.shape[:2], dtype=torch.float64)
        native.call("local_moments_forward", dtype, *_operands(args), None, sums)
        return sums.to(dtype)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype."""
        input, *_, reduce = args
        dtype = accumulation_dtype(input)
        result = torch.empty(input.shape, dtype=dtype)
        grad = grad.to(dtype).contiguous()
        upstream = (None, grad) if reduce else (grad, None)
        native.call("local_moments_backward", dtype, *_operands(args), *upstream, result)
        return result.to(input.dtype)


def _operands(args: tuple[Any, ...]) -> tuple[Tensor | int | float | None, ...]:
    input, target, mask, window, renormalise, smooth_nr, smooth_dr, _ = args
    dtype = accumulation_dtype(input)
    batch, channels, *spatial = input.shape
    x, y = (tensor.detach().to(dtype).contiguous() for tensor in (input, target))
    shared = 1
    if mask is not None:
        shared = channels if mask.shape[1] == 1 else 1
        mask = mask.to(dtype).expand(batch, mask.shape[1], *spatial).contiguous()
    border = MASKED if mask is not None else RENORMALISE if renormalise else ZERO
    k, one = torch.tensor(window, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    # the planes that roll are the first axis that the images have; a missing axis is one voxel that no window widens
    sizes = {1: (1, 1, *spatial), 2: (spatial[0], 1, spatial[-1]), 3: tuple(spatial)}[len(spatial)]
    windows = {1: (one, one, k), 2: (k, one, k), 3: (k, k, k)}[len(spatial)]
    weights = [value for window in windows for value in (window, window.numel())]
    return (x, y, mask, batch * channels, shared, *sizes, *weights, border, smooth_nr, smooth_dr)
