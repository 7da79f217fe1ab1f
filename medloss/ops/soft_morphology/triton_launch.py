"""The GPU paths of ``soft_morphology``: one launch for each erosion, some volumes or planes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.masking import accumulation_dtype
from medloss.ops.misfits import REALS, dtype_misfits
from medloss.ops.soft_morphology.reference import (
    Arguments,
    SkeletonArguments,
    SkeletonSumsArguments,
    maps_of,
    misfits,
)
from medloss.ops.triton_tiles import readable, shared_weight, tiles
from medloss.ops.triton_volume import LABELS

AXES = 3
SCRATCH_BYTES = 2**29
"""What erosions, ridges and their winners may take. Less would cost planes that are made twice."""
WARPS = 8
CROSSED = [2, 3, 0, 1]
"""The sums with prediction and target changing places."""
M = TypeVar("M", bound=Arguments)


class Slab(NamedTuple):
    """Volumes from ``start`` on, their planes ``first`` to before ``last``, and those of them that are wanted."""

    start: int
    volumes: int
    first: int
    last: int
    low: int
    high: int


class TritonMorphology(triton_path.TritonPath[M], Generic[M]):
    """What the paths share: maps of 1 to 3 axes."""

    def unfit(self, args: M) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        map, *others = maps_of(args)
        found = misfits(args) + dtype_misfits(REALS, map=map)
        return found + [f"the other map is {other.dtype}" for other in others if other.dtype not in LABELS]

    def backward(self, grad: Tensor, args: M) -> Tensor:
        """The gradient of the first map, in its dtype."""
        return self.backward_of(args._fields[0], grad, args)


class TritonSkeleton(TritonMorphology[SkeletonArguments]):
    """The soft skeleton."""

    differentiable = ("map",)

    def forward(self, args: SkeletonArguments) -> Tensor:
        """B C [spatial]."""
        map = args.map
        with triton_path.on_device(map):
            launcher = SkeletonLauncher(map, None, args.mask, args.iterations, accumulation_dtype(map))
            result = torch.empty(map.shape, dtype=launcher.dtype, device=map.device)
            for slab in launcher.slabs(gradient=False):
                launcher.skeleton(slab, launcher.map, launcher.kernels.MAP, result)
        return result

    def backward_of(self, name: str, grad: Tensor, args: SkeletonArguments) -> Tensor:
        """The gradient of the map, in its dtype."""
        map = args.map
        with triton_path.on_device(map):
            launcher = SkeletonLauncher(map, None, args.mask, args.iterations, accumulation_dtype(map))
            return launcher.gradient(grad.to(launcher.dtype).contiguous())


class TritonSkeletonSums(TritonMorphology[SkeletonSumsArguments]):
    """The sums of both skeletons, neither of which is ever made whole."""

    differentiable = ("input", "target")

    def forward(self, args: SkeletonSumsArguments) -> Tensor:
        """B C 4."""
        input, target = args.input, args.target
        dtype = accumulation_dtype(input)
        with triton_path.on_device(input):
            pairs = ((input, target), (target, input))
            sums = [SkeletonLauncher(*pair, args.mask, args.iterations, dtype).sums() for pair in pairs]
        return torch.cat(sums, 1).to(dtype).view(*input.shape[:2], 4)

    def backward_of(self, name: str, grad: Tensor, args: SkeletonSumsArguments) -> Tensor:
        """The gradient of prediction or target, in its dtype."""
        dtype = accumulation_dtype(args.input)
        own, other = (args.input, args.target) if name == "input" else (args.target, args.input)
        grad = (grad if name == "input" else grad[..., CROSSED]).to(dtype).contiguous()
        with triton_path.on_device(own):
            return SkeletonLauncher(own, other, args.mask, args.iterations, dtype).gradient(grad)


class SkeletonLauncher:
    """The launches for one map, ``other`` being the one that its skeleton is looked at in."""

    def __init__(self, map: Tensor, other: Tensor | None, mask: Tensor | None, iterations: int, dtype: torch.dtype):
        from medloss.ops.soft_morphology import triton_kernels as kernels

        self.kernels, self.dtype, self.count = kernels, dtype, max(iterations, 0)
        self.map, self.other = readable(map), readable(map if other is None else other)
        self.mask, self.shared = shared_weight(mask, self.map)
        self.summed, self.masked = other is not None, mask is not None
        self.total = map.shape[0] * map.shape[1]
        self.depth, self.height, self.width = (1,) * (AXES + 2 - map.ndim) + tuple(map.shape[2:])

    def slabs(self, gradient: bool) -> Iterator[Slab]:
        """As many whole volumes as there is room for; of one that is too large, planes and what they depend on."""
        itemsize, reach = self.dtype.itemsize, (self.count + 2) * (2 if gradient else 1)
        entry = 3 * itemsize + (self.count + 1) * itemsize + self.count + 2 if gradient else 3 * itemsize
        planes = max(SCRATCH_BYTES // (entry * self.height * self.width), 1)
        if planes >= self.depth:
            volumes = planes // self.depth
            for start in range(0, self.total, volumes):
                yield Slab(start, min(volumes, self.total - start), 0, self.depth, 0, self.depth)
            return
        planes = max(planes - 2 * reach, 2 * reach)
        for start in range(self.total):
            for low in range(0, self.depth, planes):
                high = min(self.depth, low + planes)
                yield Slab(start, 1, max(0, low - reach), min(self.depth, high + reach), low, high)

    def skeleton(self, slab: Slab, map: Tensor, wanted: int, result: Tensor | None = None) -> Tensor:
        """The skeleton of planes: into ``result`` as it is ``wanted``, else returned."""
        older, newer, joined = self._scratch(slab, 3)
        self._begin(slab, map, older, newer, None)
        for number in range(self.count + 1):
            last = number == self.count
            self._advance(slab, older, newer, joined, None, wanted if last else self.kernels.JOINED, number, result)
            older, newer = newer, older
        return joined

    def sums(self) -> Tensor:
        """Of each volume, the sums of the skeleton within the other map, and of all of it, in double."""
        result = torch.zeros(self.total, 2, dtype=torch.float64, device=self.map.device)
        for slab in self.slabs(gradient=False):
            lines, tile = self._lines(slab)
            parts = torch.empty(lines * tile.across, 2, dtype=self.dtype, device=self.map.device)
            self.skeleton(slab, self.map, self.kernels.SUMS, parts)
            result[slab.start : slab.start + slab.volumes] += parts.view(slab.volumes, -1, 2).sum(
                1, dtype=torch.float64
            )
        return result

    def gradient(self, grad: Tensor) -> Tensor:
        """The gradient of the map, in its dtype."""
        result = torch.empty(self.map.shape, dtype=self.map.dtype, device=self.map.device)
        for slab in self.slabs(gradient=True):
            extra = self.skeleton(slab, self.other, self.kernels.JOINED) if self.summed else None
            older, newer, ridges, codes = (
                *self._scratch(slab, 2),
                self._scratch(slab, self.count + 1),
                self._codes(slab),
            )
            self._begin(slab, self.map, older, newer, codes[0])
            for number in range(self.count + 1):
                self._advance(slab, older, newer, ridges[number], codes[number + 1], self.kernels.RIDGE, number, None)
                older, newer = newer, older
            self._launch(
                self.kernels.part, slab, ridges, ridges[-1], grad, self.other, self.mask, ridges.stride(0), self.count,
                SUMMED=self.summed, bounds=self._reached(slab),
            )  # fmt: skip
            for number in range(self.count + 1, -1, -1):
                own, before = ridges[min(number, self.count)], ridges[max(number - 1, 0)]
                self._launch(
                    self.kernels.gather, slab, codes[number], before, own, newer, older if number else result,
                    older if extra is None else extra, grad, self.mask, bounds=(slab.low, slab.high),
                    OPENS=number > 0, OWN=number <= self.count, WHOLE=number == 0, SUMMED=self.summed,
                )  # fmt: skip
                older, newer = newer, older
        return result

    def _begin(self, slab: Slab, map: Tensor, older: Tensor, newer: Tensor, codes: Tensor | None) -> None:
        lines, tile = self._lines(slab)
        self.kernels.begin[(tile.programs(lines),)](
            map, self.mask, older, newer, older if codes is None else codes, slab.start, slab.first, lines, self.shared,
            *self._sizes(slab), MASKED=self.masked, CODED=codes is not None, **tile.options, num_warps=WARPS,
        )  # fmt: skip

    def _advance(
        self, slab: Slab, older: Tensor, newer: Tensor, joined: Tensor, codes: Tensor | None, wanted: int, number: int,
        result: Tensor | None,
    ) -> None:  # fmt: skip
        self._launch(
            self.kernels.advance, slab, older, newer, joined, older if codes is None else codes, self.other, self.mask,
            joined if result is None else result, FIRST=number == 0, LAST=number == self.count, WANTED=wanted,
            bounds=(slab.low, slab.high),
        )  # fmt: skip

    def _launch(self, kernel: Any, slab: Slab, *tensors: Any, bounds: tuple[int, int], **options: Any) -> None:
        """What ``advance``, ``part`` and ``gather`` have in common."""
        lines, tile = self._lines(slab)
        low, high = (plane - slab.first for plane in bounds)
        kernel[(tile.programs(lines),)](
            *tensors, slab.start, slab.first, lines, self.shared, low, high, *self._sizes(slab), **options,
            MASKED=self.masked, **tile.options, num_warps=WARPS,
        )  # fmt: skip

    def _reached(self, slab: Slab) -> tuple[int, int]:
        """The planes of the skeleton that the wanted planes of the gradient depend on."""
        reach = self.count + 2
        return max(slab.first, slab.low - reach), min(slab.last, slab.high + reach)

    def _lines(self, slab: Slab) -> tuple[int, Any]:
        lines = slab.volumes * (slab.last - slab.first) * self.height
        return lines, tiles(lines, self.width, self.dtype)

    def _sizes(self, slab: Slab) -> tuple[int, int, int, int]:
        return slab.last - slab.first, self.depth, self.height, self.width

    def _scratch(self, slab: Slab, maps: int) -> Tensor:
        shape = (maps, slab.volumes * (slab.last - slab.first) * self.height * self.width)
        return torch.empty(shape, dtype=self.dtype, device=self.map.device)

    def _codes(self, slab: Slab) -> Tensor:
        shape = (self.count + 2, slab.volumes * (slab.last - slab.first) * self.height * self.width)
        return torch.empty(shape, dtype=torch.uint8, device=self.map.device)
