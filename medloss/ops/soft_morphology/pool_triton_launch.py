"""The GPU paths of ``max_pool`` and ``boundary_sums``: one launch for each axis, some volumes at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.masking import accumulation_dtype
from medloss.ops.soft_morphology.reference import BoundarySumsArguments, PoolArguments, maps_of
from medloss.ops.soft_morphology.triton_launch import AXES, CROSSED, SCRATCH_BYTES, WARPS, TritonMorphology
from medloss.ops.triton_tiles import readable, shared_weight, tiles

MOST = 255
"""Voxels of a window: who of them has won is a byte."""


def box_misfits(*sizes: int) -> list[str]:
    """Whether boxes are not too long."""
    return [f"a box is longer than {MOST} voxels"] if max(sizes) > MOST else []


class TritonMaxPool(TritonMorphology[PoolArguments]):
    """The largest value in boxes."""

    differentiable = ("map",)

    def unfit(self, args: PoolArguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        return super().unfit(args) + box_misfits(args.size)

    def forward(self, args: PoolArguments) -> Tensor:
        """B C [spatial]."""
        map = args.map
        with triton_path.on_device(map):
            launcher = PoolLauncher(map, args.mask, accumulation_dtype(map))
            result = torch.empty(map.shape, dtype=launcher.dtype, device=map.device)
            for group in launcher.groups(2, 0):
                group.pooled(launcher.map, args.size, 1, launcher.kernels.MAP, result=result)
        return result

    def backward_of(self, name: str, grad: Tensor, args: PoolArguments) -> Tensor:
        """The gradient of the map, in its dtype."""
        map, size = args.map, args.size
        with triton_path.on_device(map):
            launcher = PoolLauncher(map, args.mask, accumulation_dtype(map))
            result = torch.empty(map.shape, dtype=map.dtype, device=map.device)
            grad = grad.to(launcher.dtype).contiguous()
            for group in launcher.groups(3, 1):
                codes = group.codes()
                group.pooled(launcher.map, size, 1, launcher.kernels.SCRATCH, codes=codes)
                group.gathered(codes, grad, size, launcher.kernels.UPSTREAM, launcher.kernels.RESULT, result=result)
        return result


class TritonBoundarySums(TritonMorphology[BoundarySumsArguments]):
    """The sums of both boundaries."""

    differentiable = ("input", "target")

    def unfit(self, args: BoundarySumsArguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        return super().unfit(args) + box_misfits(args.inner, args.outer)

    def forward(self, args: BoundarySumsArguments) -> Tensor:
        """B C 4."""
        input, outer = args.input, args.outer
        with triton_path.on_device(input):
            launcher = PoolLauncher(input, args.mask, accumulation_dtype(input))
            sums = torch.empty((launcher.total, 4), dtype=torch.float64, device=input.device)
            for group in launcher.groups(4, 0):
                edges = [group.boundary(readable(map), args.inner) for map in maps_of(args)]
                of = slice(group.start, group.start + group.volumes)
                sums[of, :2] = group.sums(edges[1], outer, edges[0])
                sums[of, 2:] = group.sums(edges[0], outer, edges[1])
        return sums.to(launcher.dtype).view(*input.shape[:2], 4)

    def backward_of(self, name: str, grad: Tensor, args: BoundarySumsArguments) -> Tensor:
        """The gradient of prediction or target, in its dtype."""
        own, other = (args.input, args.target) if name == "input" else (args.target, args.input)
        grad = grad if name == "input" else grad[..., CROSSED]
        with triton_path.on_device(own):
            launcher = PoolLauncher(own, args.mask, accumulation_dtype(args.input))
            rates, other = grad.to(launcher.dtype).contiguous(), readable(other)
            result = torch.empty(own.shape, dtype=launcher.map.dtype, device=own.device)
            for group in launcher.groups(6, 2):
                group.boundary_gradient(other, args.inner, args.outer, rates, result)
        return result


class PoolLauncher:
    """The volumes of one call."""

    def __init__(self, map: Tensor, mask: Tensor | None, dtype: torch.dtype) -> None:
        from triton import language

        from medloss.ops.soft_morphology import pool_triton_kernels

        self.kernels, self.dtype, self.rank = pool_triton_kernels, dtype, map.ndim - 2
        self.map = readable(map)
        self.mask, self.shared = shared_weight(mask, self.map)
        self.total = map.shape[0] * map.shape[1]
        self.sizes = (1,) * (AXES + 2 - map.ndim) + tuple(map.shape[2:])
        self.options = {
            "MASKED": mask is not None, "ACC": language.float64 if dtype == torch.float64 else language.float32,
        }  # fmt: skip

    def groups(self, maps: int, chains: int) -> Iterator[PoolGroup]:
        """Volumes of which so many maps are kept, and who has won in so many pools."""
        entry = maps * self.dtype.itemsize + chains * self.rank
        room = max(SCRATCH_BYTES // (entry * self.map[0, 0].numel()), 1)
        for start in range(0, self.total, room):
            yield PoolGroup(self, start, min(room, self.total - start))


class PoolGroup:
    """The launches for some volumes of a call."""

    def __init__(self, launcher: PoolLauncher, start: int, volumes: int) -> None:
        self.launcher, self.start, self.volumes = launcher, start, volumes
        lines = volumes * launcher.sizes[0] * launcher.sizes[1]
        self.tile = tiles(lines, launcher.sizes[2], launcher.dtype)
        self.told = (start, lines, launcher.shared, *launcher.sizes)
        self.grid = (self.tile.programs(lines),)
        self.options = launcher.options | self.tile.options | {"num_warps": WARPS}

    def scratch(self, dtype: torch.dtype | None = None) -> Tensor:
        """A map of these volumes."""
        entries = self.volumes * self.launcher.map[0, 0].numel()
        return torch.empty(entries, dtype=dtype or self.launcher.dtype, device=self.launcher.map.device)

    def codes(self) -> list[Tensor]:
        """Who has won along each axis."""
        return [self.scratch(torch.uint8) for _ in range(self.launcher.rank)]

    def pooled(
        self, source: Tensor, size: int, sign: int, given: int, *, raw: bool = True, other: Tensor | None = None,
        result: Tensor | None = None, codes: list[Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """The largest (``sign`` 1) of boxes, or minus the least (-1): along z, y, then x."""
        kernels, rank = self.launcher.kernels, self.launcher.rank
        for axis in range(rank - 1, -1, -1):
            last = axis == 0
            to = self.scratch() if result is None or not last else result
            kernels.pool[self.grid](
                source, self.launcher.mask, to, to if codes is None else codes[axis], to if other is None else other,
                *self.told, AXIS=axis, SIZE=size, SIGN=sign, RAW=raw and axis == rank - 1, CODED=codes is not None,
                GIVEN=given if last else kernels.SCRATCH, **self.options,
            )  # fmt: skip
            source = to
        return source

    def gathered(
        self, codes: list[Tensor], source: Tensor, size: int, start_from: int, into: int, *,
        result: Tensor | None = None, rates: Tensor | None = None, dilated: Tensor | None = None,
        boundary: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """What is given to the largest, back to where they are from: along x, y, then z."""
        kernels, rank = self.launcher.kernels, self.launcher.rank
        for axis in range(rank):
            last = axis == rank - 1
            to = self.scratch() if result is None or not last else result
            spare = [to if tensor is None else tensor for tensor in (rates, dilated, boundary)]
            kernels.gather[self.grid](
                codes[axis], source, self.launcher.mask, *spare, to, *self.told, AXIS=axis, SIZE=size,
                FROM=start_from if axis == 0 else kernels.KEPT, INTO=into if last else kernels.PASSED, **self.options,
            )  # fmt: skip
            source = to
        return source

    def boundary(self, map: Tensor, size: int, codes: list[Tensor] | None = None) -> Tensor:
        """What erosion takes off a map; minus infinity where nothing counts."""
        return self.pooled(map, size, -1, self.launcher.kernels.BOUNDARY, other=map, codes=codes)

    def sums(self, source: Tensor, size: int, boundary: Tensor) -> Tensor:
        """Of each volume, the sums of a boundary within the other one, dilated, and of all of it, in double."""
        parts = self.scratch_of_rows()
        self.pooled(source, size, 1, self.launcher.kernels.SUMS, raw=False, other=boundary, result=parts)
        return parts.view(self.volumes, -1, 2).sum(1, dtype=torch.float64)

    def scratch_of_rows(self) -> Tensor:
        """Two numbers for each part of a row."""
        shape = (self.told[1] * self.tile.across, 2)
        return torch.empty(shape, dtype=self.launcher.dtype, device=self.launcher.map.device)

    def boundary_gradient(self, other: Tensor, inner: int, outer: int, rates: Tensor, result: Tensor) -> None:
        """The gradient of the map whose boundary lies beside that of ``other``, for the rates of the four sums."""
        kernels, eroded, opened = self.launcher.kernels, self.codes(), self.codes()
        edge = self.boundary(other, inner)
        wide = self.pooled(edge, outer, 1, kernels.SCRATCH, raw=False)
        own = self.boundary(self.launcher.map, inner, eroded)
        self.pooled(own, outer, 1, kernels.SCRATCH, raw=False, codes=opened)
        grad = self.gathered(opened, edge, outer, kernels.CROSSED, kernels.JOINED, rates=rates, dilated=wide)
        self.gathered(eroded, grad, inner, kernels.KEPT, kernels.TAKEN, boundary=grad, result=result)
