"""The CPU paths of ``distance_map``, ``border_distance`` and ``nearest_source``: call ``cpu_kernel.cpp``.

Minima over sums, a block of voxels at once; lower envelopes of parabolas for the nearest source itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.distance_map.reference import BorderArguments, DistanceArguments, NearestArguments

AXES = 3
KINDS = {"distance": 0, "square": 1, "signed": 2}
LONGEST_SEARCH = 512
"""Voxels along an axis up to which the kernel searches for both sides of a border at once."""


class NativeDistanceMap(native.NativePath[DistanceArguments]):
    """The distance to the nearest source."""

    differentiable = ()
    wants_avx2 = False

    def unfit(self, args: DistanceArguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits()

    def forward(self, args: DistanceArguments) -> Tensor:
        """B C [spatial]."""
        result = torch.empty(args.sources.shape, dtype=args.dtype, device="cpu")
        return _called("distance_map", args.dtype, args.sources, args.spacing, result, 1, KINDS["distance"])


class NativeBorderDistance(native.NativePath[BorderArguments]):
    """The distance to the nearest voxel on the other side."""

    differentiable = ()
    wants_avx2 = False

    def unfit(self, args: BorderArguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        found = args.misfits()
        if max(args.inside.shape[-2:]) > LONGEST_SEARCH:
            found.append(f"an axis is longer than {LONGEST_SEARCH} voxels, for which two distance maps are faster")
        return found

    def forward(self, args: BorderArguments) -> Tensor:
        """B C [spatial]."""
        result = torch.empty(args.inside.shape, dtype=args.dtype, device="cpu")
        return _called("distance_map", args.dtype, args.inside, args.spacing, result, 0, KINDS[args.kind])


class NativeNearestSource(native.NativePath[NearestArguments]):
    """The nearest source."""

    differentiable = ()
    wants_avx2 = False

    def unfit(self, args: NearestArguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits()

    def forward(self, args: NearestArguments) -> Tensor:
        """B C [spatial]."""
        result = torch.empty(args.sources.shape, dtype=torch.int64, device="cpu")
        return _called("nearest_source", torch.float64, args.sources, args.spacing, result)


def _called(
    kernel: str, real: torch.dtype, sources: Tensor, spacing: list[float], result: Tensor, *wanted: int
) -> Tensor:
    """Fill the result."""
    unit, missing = min(spacing), AXES - len(spacing)
    sizes = [1] * missing + list(sources.shape[2:])
    steps = [1.0] * missing + [size / unit for size in spacing]
    volumes = sources.shape[0] * sources.shape[1]
    if result.numel():
        native.call(kernel, real, sources.contiguous(), volumes, *sizes, *steps, unit, *wanted, result)
    return result
