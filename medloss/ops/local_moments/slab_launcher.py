"""How the Triton kernels of ``local_moments`` go through the volumes, and what that moves.

Volumes read and written for each pair of images, in their dtype the images and the gradient, in that of the sums the
rest, where windows over three axes are short enough for a sliding window:

==================  ================  ================================
forward             levels            2 images (the backward pass is given them)
                    ``plane_sums``    2 images + 5 sums
                    ``score``         5 sums
backward            ``plane_sums``    2 images + 5 sums
                    ``adjoint``       5 sums + 3 maps
                    ``slope``         3 maps + 2 images + the gradient
==================  ================  ================================

These are 35, where at least 5 have to be: the images once in either direction, and the gradient. An axis is cut into
parts, each of which looks at k - 1 planes of its neighbours again (the adjoint at twice as many): at 160 x 160 x 160
and k = 9 that makes 38. There a float32 volume is 16 MB, so that 4.3 TB/s would take 0.15 ms; the instructions of each
kernel (160 to 240 a voxel and step) take about as long. Both are arithmetic, not measurements.

The sums exist for a slab of planes at a time, of at most ``SCRATCH_BYTES``. That is more than a large GPU's cache on
purpose: a cache is hardly faster than its memory, and a slab that fits is done sooner than its launches are made.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops.local_moments.arguments import ERROR
from medloss.ops.local_moments.problem import Problem
from medloss.ops.local_moments.reference import ROUNDING
from medloss.ops.local_moments.sliding_window import HELD, SlidingWindow, multiprocessors, sliding_window
from medloss.ops.triton_numbers import tables

SCRATCH_BYTES = 2**28
"""What the sums of the windows may take. Less would cost launches, three for each slab."""
SMOOTHED = {torch.float32: 1024, torch.float64: 512}
"""Voxels of a program without a sliding window."""


class Slab(NamedTuple):
    """Planes of some volumes, and those of them and around them that scratch has."""

    start: int
    volumes: int
    first: int
    last: int
    low: int
    high: int

    @property
    def room(self) -> int:
        """Planes of each volume in scratch."""
        return self.high - self.low


class SlabLauncher:
    """The launches over one problem, and their scratch."""

    def __init__(self, problem: Problem, level: Tensor, gradient: bool) -> None:
        from medloss.ops.local_moments import triton_kernels as kernels

        self.kernels, self.problem, self.level = kernels, problem, level
        self.processors = multiprocessors(problem.input.device)
        self.rounding = ROUNDING * torch.finfo(problem.dtype).eps
        self.maps = (1 if problem.kind == ERROR else 5) + problem.weighed
        self.slopes = 1 if problem.kind == ERROR else 3
        self.filled = not (problem.weighed or problem.reflect)
        self.lengths = [len(window) for window in problem.windows]
        self.equal = [len(set(window)) == 1 for window in problem.windows]
        totals = [sum(window) for window in problem.windows]
        before = [[math.prod(totals[axis + 1 :])] for axis in range(3)]
        numbers = (*problem.windows, *before, [*problem.constants, math.prod(totals)], [1.0])
        *found, self.constants, self.one = tables(numbers, problem.dtype, problem.input.device)
        self.weights, self.before = found[:3], found[3:]
        most = HELD[problem.dtype]
        held = [self._kept(axis, length) for axis, length in enumerate(self.lengths)]
        self.slides = [self.maps * (length - 1) + kept <= most for length, kept in zip(self.lengths, held)]
        both = (self.maps + self.slopes) * (self.lengths[0] - 1) + held[0] <= most
        self.again = self.lengths[0] if both and not problem.reflect else 0
        self.down = self.lengths[1] if self.slides[1] and not problem.reflect else 1
        self._allot(gradient)

    def _allot(self, gradient: bool) -> None:
        """Scratch, and how much of the volumes it is for."""
        problem, (depth, height, width) = self.problem, self.problem.sizes
        counts = (self.maps, 0 if all(self.slides[:2]) else self.maps, self.slopes if gradient else 0)
        self.reach = self.lengths[0] // 2 * (2 if gradient else 1)
        room = SCRATCH_BYTES // (sum(counts) * height * width * torch.finfo(problem.dtype).bits // 8)  # planes
        self.volumes = min(problem.volumes, max(1, room // depth))
        self.planes = depth if room >= depth else min(depth, max(room - 2 * self.reach, self.reach, 4))
        self.stride = self.volumes * min(depth, self.planes + 2 * self.reach) * height * width
        empty = functools.partial(problem.input.new_empty, dtype=problem.dtype)
        # None where no step needs it
        self.scratch: list[Any] = [empty((count, self.stride)) if count else None for count in counts]

    def slabs(self) -> Iterator[Slab]:
        """The volumes, some at a time, and their planes, some at a time."""
        depth = self.problem.sizes[0]
        for start in range(0, self.problem.volumes, self.volumes):
            volumes = min(self.volumes, self.problem.volumes - start)
            for first in range(0, depth, self.planes):
                last = min(depth, first + self.planes)
                yield Slab(start, volumes, first, last, max(0, first - self.reach), min(depth, last + self.reach))

    def values(self, result: Tensor, wanted: int) -> None:
        """The result (or the factor of a product) at every voxel."""
        for slab in self.slabs():
            self._score(slab, self._moments(slab), result, wanted, 0, 0)

    def sums(self) -> Tensor:
        """The parts of the sum of each volume's results."""
        slabs = list(self.slabs())
        counts = [
            math.prod(self._planes(slab, slab.first, slab.last, 0, "score").grid) // slab.volumes for slab in slabs
        ]
        each = -(-self.problem.sizes[0] // self.planes)  # slabs of a volume
        partials = self.level.new_empty((self.problem.volumes, sum(counts[:each])))
        for at, slab in enumerate(slabs):
            part = sum(counts[at - at % each : at])
            self._score(slab, self._moments(slab), partials, self.kernels.SUMS, part, partials.shape[1])
        return partials

    def gradient(self, grad: Tensor, result: Tensor, plain: bool, add: bool) -> None:
        """The gradient of the input. ``plain``: ``grad`` is weighted already. ``add``: to what is there."""
        for slab in self.slabs():
            self._slope(slab, self._adjoint(slab, self._moments(slab), grad, plain), result, add)

    def _moments(self, slab: Slab) -> Tensor:
        """The sums of windows over all axes but those along which the next kernel slides its window."""
        problem, (maps, spare, _) = self.problem, self.scratch
        down = self.lengths[1] if self.slides[1] else 1
        launch = self._rows(slab, slab.low, slab.high, down, self.maps)
        self.kernels.plane_sums[launch.grid](
            *self.problem.images, self.level, self.weights[2], self._weights(1, down), maps, self.stride,
            slab.low, slab.room, slab.volumes * slab.room, slab.start, launch.chunk, *problem.sizes, problem.shared,
            MAPS=self.maps, **self._kinds(), REFLECT=problem.reflect, LENGTH_X=self.lengths[2], LENGTH_Y=down,
            EQUAL_X=self.equal[2], EQUAL_Y=self.equal[1], **launch.options,
        )  # fmt: skip
        for axis in (1, 0):
            if not self.slides[axis]:
                self._smooth(slab, maps, spare, axis, self.maps, adjoint=False)
                maps, spare = spare, maps
        return maps

    def _smooth(self, slab: Slab, maps: Tensor, result: Tensor, axis: int, count: int, adjoint: bool) -> None:
        """Sums of the maps along the planes (0), of those that what follows looks at, or along the rows (1)."""
        problem, spare = self.problem, 0 if adjoint else self.reach - self.lengths[0] // 2
        first, last = (slab.low, slab.high) if axis else self._around(slab, spare)
        if axis and adjoint:
            first, last = slab.first, slab.last
        lines = slab.volumes * (last - first)
        tile = SMOOTHED[problem.dtype]
        self.kernels.smooth[(-(-lines * math.prod(problem.sizes[1:]) // tile), count)](
            maps, result, self.level, self.weights[axis], self.before[axis], self.stride, first, last - first, lines,
            slab.start, slab.low, slab.room, *problem.sizes, FILLED=self.filled and not adjoint,
            REFLECT=problem.reflect and not adjoint, FOLD=problem.reflect and adjoint, LENGTH=self.lengths[axis],
            AXIS=axis, TILE=tile,
        )  # fmt: skip

    def _score(self, slab: Slab, maps: Tensor, result: Tensor, wanted: Any, part: int, parts: int) -> None:
        length = self.lengths[0] if self.slides[0] else 1
        launch = self._planes(slab, slab.first, slab.last, 0, "score")
        self.kernels.score[launch.grid](
            maps, self.level, self._weights(0, length), self.before[0], self.constants, self.problem.images[2], result,
            self.stride, slab.first, slab.last, slab.start, launch.chunk, slab.low, slab.room, part, parts,
            *self.problem.sizes, self.problem.shared, *self.problem.margins, MAPS=self.maps, **self._kinds(),
            REFLECT=self.problem.reflect, ROUNDING=self.rounding, WANTED=wanted, LENGTH=length, EQUAL=self.equal[0],
            **launch.options,
        )  # fmt: skip

    def _adjoint(self, slab: Slab, maps: Tensor, grad: Tensor, plain: bool) -> Tensor:
        """The maps of the adjoint, summed over all axes but those along which the next kernel slides its window."""
        length, slopes, problem = self.lengths[0] if self.slides[0] else 1, self.scratch[2], self.problem
        first, last = self._around(slab, 0 if self.again else self.lengths[0] // 2)
        launch = self._planes(slab, first, last, self.again, "adjoint" if self.again else "score")
        self.kernels.adjoint[launch.grid](
            maps, self.level, self._weights(0, length), self.before[0], self.constants, problem.images[2], grad, slopes,
            self.stride, first, last, slab.start, launch.chunk, slab.low, slab.room, *problem.sizes, problem.shared,
            *problem.margins, MAPS=self.maps, SLOPES=self.slopes, **self._kinds(), REFLECT=problem.reflect,
            ROUNDING=self.rounding, REDUCED=problem.reduce and not plain, PLAIN=plain, LENGTH=length,
            AGAIN=self.again, EQUAL=self.equal[0], **launch.options,
        )  # fmt: skip
        other = self.scratch[0]  # the sums have served
        for axis, done in ((0, self.again), (1, self.down == self.lengths[1])):
            if not done:
                self._smooth(slab, slopes, other, axis, self.slopes, adjoint=True)
                slopes, other = other, slopes
        return slopes

    def _slope(self, slab: Slab, slopes: Tensor, result: Tensor, add: bool) -> None:
        problem, launch = self.problem, self._rows(slab, slab.first, slab.last, self.down, self.slopes)
        planes = slab.last - slab.first
        self.kernels.slope[launch.grid](
            *self.problem.images, self.level, self.weights[2], self._weights(1, self.down), slopes, result, self.stride,
            slab.first, planes, slab.volumes * planes, slab.start, launch.chunk, slab.low, slab.room, *problem.sizes,
            problem.shared, SLOPES=self.slopes, KIND=problem.kind, MASKED=problem.mask is not None,
            FOLD=problem.reflect, ADD=add, LENGTH_X=self.lengths[2], LENGTH_Y=self.down, EQUAL_X=self.equal[2],
            EQUAL_Y=self.equal[1], **launch.options,
        )  # fmt: skip

    def _around(self, slab: Slab, by: int) -> tuple[int, int]:
        """The planes of a slab, and so many on both sides."""
        return max(0, slab.first - by), min(self.problem.sizes[0], slab.last + by)

    def _rows(self, slab: Slab, first: int, last: int, length: int, maps: int) -> SlidingWindow:
        """Programs that slide a window down the rows of some planes."""
        _, height, width = self.problem.sizes
        abreast = slab.volumes * (last - first) * width
        held = maps * (length - 1) + self._kept(1, length) + self._kept(2, self.lengths[2])
        return sliding_window(abreast, 1, height, length - 1, held, self.problem.dtype, self.processors, "rows")

    def _planes(self, slab: Slab, first: int, last: int, again: int, kind: str) -> SlidingWindow:
        """Programs that slide a window through planes; cut as if a slab had all the volumes that it may."""
        length = self.lengths[0] if self.slides[0] else 1
        held = self.maps * (length - 1) + self.slopes * max(0, again - 1) + self._kept(0, length)
        plane, repeated = math.prod(self.problem.sizes[1:]), length - 1 + max(0, again - 1)
        found = sliding_window(
            plane, self.volumes, last - first, repeated, held, self.problem.dtype, self.processors, kind
        )  # fmt: skip
        return found._replace(tiles=found.tiles // self.volumes * slab.volumes)

    def _kept(self, axis: int, length: int) -> int:
        """Weights that a thread keeps."""
        return 1 if self.equal[axis] else length // 2 + 1

    def _weights(self, axis: int, length: int) -> Tensor:
        """Those of an axis along which a window slides, else one weight."""
        return self.weights[axis] if length == self.lengths[axis] else self.one

    def _kinds(self) -> dict[str, int | bool]:
        problem = self.problem
        return {"KIND": problem.kind, "WEIGHED": problem.weighed, "MASKED": problem.mask is not None}
