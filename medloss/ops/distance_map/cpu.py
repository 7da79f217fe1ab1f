"""The CPU paths of ``distance_map``, ``border_distance`` and ``nearest_source``: call ``cpu_kernel.c``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native

AXES = 3
KINDS = {"distance": 0, "square": 1, "signed": 2}
LONGEST_SEARCH = 512
"""Voxels along an axis up to which the kernel searches for both sides of a border at once."""


class NativeDistanceMap(native.NativePath):
    """Minima over sums, a block of voxels at once; lower envelopes of parabolas for the nearest source itself."""

    told = "sources are"
    wants_avx2 = False

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        sources = args[0]
        found = []
        if not 1 <= sources.ndim - 2 <= AXES:
            found.append(f"sources have {sources.ndim - 2} spatial axes, the kernel takes 1 to {AXES}")
        if self.kernel == "border_distance" and max(sources.shape[-2:]) > LONGEST_SEARCH:
            found.append(f"an axis is longer than {LONGEST_SEARCH} voxels, for which two distance maps are faster")
        if self.kernel != "nearest_source" and args[2] not in native.REALS:
            found.append(f"the result is {args[2]}, the kernel gives float32 and float64")
        if needs is not None:
            found.append("a distance has no gradient")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C [spatial]."""
        sources, spacing = args[:2]
        maps = self.kernel != "nearest_source"
        dtype = args[2] if maps else torch.int64
        result = torch.empty(sources.shape, dtype=dtype, device="cpu")
        unit, missing = min(spacing), AXES - len(spacing)
        sizes = [1] * missing + list(sources.shape[2:])
        steps = [1.0] * missing + [size / unit for size in spacing]
        volumes = sources.shape[0] * sources.shape[1]
        wanted: tuple[int, ...] = ()
        if maps:
            wanted = (0, KINDS[args[3]]) if self.kernel == "border_distance" else (1, KINDS["distance"])
        if result.numel():
            kernel, real = ("distance_map", dtype) if maps else ("nearest_source", torch.float64)
            native.call(kernel, real, sources.contiguous(), volumes, *sizes, *steps, unit, *wanted, result)
        return result

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """There is none."""
        raise NotImplementedError(f"{self.kernel} has no gradient")
