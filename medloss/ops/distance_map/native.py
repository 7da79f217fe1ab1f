"""The CPU path of ``distance_map`` and ``nearest_source``: hands the volumes to ``kernel.c``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native

AXES = 3


class NativeDistanceMap:
    """Lower envelopes of parabolas, line by line."""

    name = "native"

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernel cannot serve; empty where it can."""
        sources = args[0]
        if sources.device.type != "cpu":
            return [f"sources are on {sources.device}, the kernel runs on the CPU"]
        found = []
        if native.unavailable():
            found.append(f"there is no native library: {native.unavailable()}")
        if not 1 <= sources.ndim - 2 <= AXES:
            found.append(f"sources have {sources.ndim - 2} spatial axes, the kernel takes 1 to {AXES}")
        if self.kernel == "distance_map" and args[2] not in native.REALS:
            found.append(f"the result is {args[2]}, the kernel gives float32 and float64")
        if needs is not None:
            found.append("a distance has no gradient")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C [spatial]."""
        sources, spacing = args[:2]
        dtype = args[2] if self.kernel == "distance_map" else torch.int64
        result = torch.empty(sources.shape, dtype=dtype)
        unit, missing = min(spacing), AXES - len(spacing)
        sizes = [1] * missing + list(sources.shape[2:])
        steps = [1.0] * missing + [size / unit for size in spacing]
        volumes = sources.shape[0] * sources.shape[1]
        real = dtype if self.kernel == "distance_map" else torch.float64
        native.call(self.kernel, real, sources.contiguous(), volumes, *sizes, *steps, unit, result)
        return result

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """There is none."""
        raise NotImplementedError(f"{self.kernel} has no gradient")
