"""How the Triton kernels of ``local_moments`` go through the volumes: in slabs, with scratch of a bounded size."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.local_moments.reference import ROUNDING
from medloss.ops.local_moments.triton import Problem
from medloss.ops.triton_tiles import padded, table, tiles

SCRATCH_BYTES = 2**28
"""What the sums of the windows may take. Less would cost launches, eight for each slab."""
SCRATCH_MAPS = 15
LEVEL_BLOCK = 4096


class Slab(NamedTuple):
    """Planes of some volumes."""

    start: int
    volumes: int
    first: int
    last: int


def forward(problem: Problem) -> Tensor:
    """The map, or the sums of the volumes."""
    input, (batch, channels) = problem.input, problem.input.shape[:2]
    with triton_path.on_device(input):
        walk = Walk(problem, gradient=False)
        if problem.reduce:
            result = input.new_zeros(problem.volumes, dtype=torch.float64)
            for slab in walk.slabs():
                result[slab.start : slab.start + slab.volumes] += walk.sums(slab)
            return result.to(problem.dtype).view(batch, channels)
        inner = [size - 2 * margin for size, margin in zip(problem.sizes, problem.margins)][5 - input.ndim :]
        result = input.new_empty((batch, channels, *inner), dtype=problem.dtype)
        for slab in walk.slabs():
            walk.values(slab, result)
    return result


def backward(problem: Problem, grad: Tensor) -> Tensor:
    """The gradient of input, in its dtype."""
    result = torch.empty_like(problem.input)
    with triton_path.on_device(result):
        walk = Walk(problem, gradient=True)
        grad = grad.to(problem.dtype).contiguous()
        for slab in walk.slabs():
            walk.gradient(slab, grad, result)
    return result


class Walk:
    """The launches over one problem, and their scratch."""

    def __init__(self, problem: Problem, gradient: bool) -> None:
        from medloss.ops.local_moments import kernel

        self.kernel, self.problem = kernel, problem
        depth, height, width = problem.sizes
        self.axis = 1 if problem.windows[0] == (1.0,) else 0
        self.middle = self.axis == 0 and problem.windows[1] != (1.0,)
        self.reach = len(problem.windows[0]) // 2 if self.axis == 0 else 0
        self.tiles = tiles(problem.volumes * depth * height, width, problem.dtype)
        plane, itemsize = height * width, torch.finfo(problem.dtype).bits // 8
        room = SCRATCH_BYTES // (SCRATCH_MAPS * itemsize * plane)  # planes
        self.volumes = min(problem.volumes, max(1, room // depth))
        self.planes = min(depth, max(room - 2 * self.reach, 4, 2 * self.reach))
        self.ring = min(depth, self.planes + 2 * self.reach)
        self.maps = 6 if problem.weighed else 5
        empty = functools.partial(problem.input.new_empty, dtype=problem.dtype)
        room = (self.volumes, self.ring, height, width)
        self.stride = self.volumes * self.ring * plane
        self.half = empty((6 if gradient else self.maps if self.middle else 0, *room))
        self.whole = empty((self.maps, *room))
        self.adjoints = empty((3 if gradient else 0, *room))
        self.weights = [self._numbers(1.0, *window) for window in problem.windows]
        before = [math.prod(sum(window) for window in problem.windows[axis + 1 :]) for axis in range(3)]
        self.padded = [self._numbers(total, *window) for total, window in zip(before, problem.windows)]
        mass = math.prod(sum(window) for window in problem.windows)
        self.constants = self._numbers(*problem.constants, mass)
        self.level = self._level(empty)

    def slabs(self) -> Iterator[Slab]:
        """The volumes, some at a time, and their planes, some at a time and in order."""
        depth = self.problem.sizes[0]
        for start in range(0, self.problem.volumes, self.volumes):
            for first in range(0, depth, self.planes):
                volumes = min(self.volumes, self.problem.volumes - start)
                yield Slab(start, volumes, first, min(depth, first + self.planes))

    def values(self, slab: Slab, result: Tensor) -> None:
        """The result at every voxel of the slab."""
        self._moments(slab, self._ahead(slab, 1))
        self._score(slab, None, result, self.kernel.VALUES)

    def sums(self, slab: Slab) -> Tensor:
        """The results of each volume, summed over the slab in a fixed order."""
        self._moments(slab, self._ahead(slab, 1))
        partials = self.whole.new_empty(
            slab.volumes, (slab.last - slab.first) * self.problem.sizes[1] * self.tiles.across
        )
        self._score(slab, None, partials, self.kernel.SUMS)
        return partials.sum(1, dtype=torch.float64)

    def gradient(self, slab: Slab, grad: Tensor, result: Tensor) -> None:
        """The gradient of the input in the slab. What the last slab has left in the rings is not computed again."""
        self._moments(slab, self._ahead(slab, 2))
        ahead = self._ahead(slab, 1)
        self._score(ahead, grad, self.half, self.kernel.ADJOINTS)
        self._smooth(ahead, self.half[:3], self.half[3:] if self.middle else self.adjoints, 2, filled=False)
        if self.middle:
            self._smooth(ahead, self.half[3:], self.adjoints, 1, filled=False)
        problem, axis = self.problem, self.axis
        self.kernel.slope[self._grid(slab)](
            *self._images(), self.level, self.weights[axis], self.adjoints, result, self.stride, *self._extent(slab),
            *problem.sizes, self.ring, problem.shared, KIND=problem.kind, MASKED=problem.mask is not None,
            LENGTH=len(problem.windows[axis]), AXIS=axis, **self.tiles.options,
        )  # fmt: skip

    def _ahead(self, slab: Slab, reaches: int) -> Slab:
        """The planes that a slab needs and the last one did not: those before ``reaches`` reaches from its end."""
        depth, reach = self.problem.sizes[0], reaches * self.reach
        first = min(depth, slab.first + reach) if slab.first else 0
        return slab._replace(first=first, last=min(depth, slab.last + reach))

    def _moments(self, slab: Slab, ahead: Slab) -> None:
        """All axes but the last."""
        if ahead.first == ahead.last:
            return
        problem, first = self.problem, self.half if self.middle else self.whole
        self.kernel.products[self._grid(ahead)](
            *self._images(), self.level, self.weights[2], first, self.stride, *self._extent(ahead),
            *problem.sizes, self.ring, problem.shared, **self._kinds(), LENGTH=len(problem.windows[2]),
            **self.tiles.options,
        )  # fmt: skip
        if self.middle:
            self._smooth(ahead, first, self.whole, 1, filled=not problem.weighed)

    def _smooth(self, slab: Slab, maps: Tensor, result: Tensor, axis: int, filled: bool) -> None:
        if slab.first == slab.last:
            return
        count = self.maps if filled or maps.shape[0] == self.maps else 3
        window = self.padded[axis] if filled else self.weights[axis]
        self.kernel.smooth[(*self._grid(slab), count)](
            maps, result, self.level, window, self.stride, *self._extent(slab),
            *self.problem.sizes[1:], self.ring, FILLED=filled, LENGTH=len(self.problem.windows[axis]), AXIS=axis,
            **self.tiles.options,
        )  # fmt: skip

    def _score(self, slab: Slab, grad: Tensor | None, result: Tensor, wanted: int) -> None:
        if slab.first == slab.last:
            return
        problem, axis = self.problem, self.axis
        self.kernel.score[self._grid(slab)](
            self.whole, self.level, self.padded[axis], self.constants, self._images()[2],
            self.level if grad is None else grad, result, self.stride, *self._extent(slab),
            *problem.sizes, self.ring, problem.shared, *problem.margins, **self._kinds(), LUMINANCE=problem.luminance,
            ROUNDING=ROUNDING * torch.finfo(problem.dtype).eps, WANTED=wanted, REDUCED=problem.reduce,
            LENGTH=len(problem.windows[axis]), AXIS=axis, **self.tiles.options,
        )  # fmt: skip

    def _level(self, empty: functools.partial) -> Tensor:
        """What is taken off the images of each volume."""
        problem, voxels = self.problem, math.prod(self.problem.sizes)
        block = LEVEL_BLOCK if voxels <= LEVEL_BLOCK**2 else 4 * LEVEL_BLOCK
        blocks = -(-voxels // block)
        partials, level = empty((problem.volumes, blocks, 3)), empty((problem.volumes, self.kernel.NUMBERS.value))
        masked = problem.mask is not None
        self.kernel.level_sums[(problem.volumes * blocks,)](
            *self._images(), partials, blocks, voxels, problem.shared, MASKED=masked, BLOCK=block
        )
        self.kernel.settle[(problem.volumes,)](
            partials, level, blocks, KIND=problem.kind, WEIGHED=problem.weighed, BLOCKS=padded(blocks)
        )
        return level

    def _numbers(self, *values: float) -> Tensor:
        return table(values, self.problem.dtype, self.problem.input.device)

    def _images(self) -> tuple[Tensor, Tensor, Tensor]:
        problem = self.problem
        return problem.input, problem.target, problem.input if problem.mask is None else problem.mask

    def _grid(self, slab: Slab) -> tuple[int]:
        return (self.tiles.programs(self._extent(slab)[2]),)

    def _extent(self, slab: Slab) -> tuple[int, int, int, int]:
        """The first plane, their number, that of all their rows, and the first volume."""
        planes = slab.last - slab.first
        return slab.first, planes, slab.volumes * planes * self.problem.sizes[1], slab.start

    def _kinds(self) -> dict[str, int | bool]:
        problem = self.problem
        return {"KIND": problem.kind, "WEIGHED": problem.weighed, "MASKED": problem.mask is not None}
