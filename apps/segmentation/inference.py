"""Whole volumes through a network: overlapping windows, stitched on the CPU plane by plane.

Logits never exist for a whole volume: as many planes as a window is long are held, and each is handed on, and decided,
as soon as no later window reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from monai.data.utils import compute_importance_map
from torch.nn import functional as F

from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.grid import Grid
from medloss.apps.segmentation.resampling import nearest, thick_axis, weights

Score = Callable[[torch.Tensor], torch.Tensor]
SMALLEST_WEIGHT = 1e-3
"""Of a window's voxels, against that of its centre: the corners of a volume are seen by one window alone."""


def scorer(networks: Sequence[torch.nn.Module], mirror: Sequence[int] = ()) -> Score:
    """Logits of a batch of windows (B, C, i, j, k): the mean over networks and copies mirrored along ``mirror``."""

    def score(windows: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor | None = None
        for chosen in range(2 ** len(mirror)):
            dims = [2 + axis for bit, axis in enumerate(mirror) if chosen >> bit & 1]
            seen = windows.flip(dims) if dims else windows
            for network in networks:
                found = network(seen).float()
                found = found.flip(dims) if dims else found
                total = found if total is None else total.add_(found)
        assert total is not None
        return total.div_(len(networks) * 2 ** len(mirror))

    return score


@dataclass
class Windows:
    """Windows of ``patch`` voxels that overlap by a share, ``batch`` of them at once, blended by a Gaussian."""

    score: Score
    patch: tuple[int, int, int]
    overlap: float = 0.5
    batch: int = 1
    device: torch.device | str = "cpu"

    @torch.inference_mode()
    def planes(self, image: torch.Tensor, axis: int = 0) -> Iterator[torch.Tensor]:
        """The logits (N, ., .) of an image (C, i, j, k), plane by plane along an axis, on the CPU.

        An image smaller than a window is padded with zeros around it.
        """
        short = [max(size - own, 0) for size, own in zip(self.patch, image.shape[1:], strict=True)]
        before = [each // 2 for each in short]
        sides = [side for at, all_ in zip(before[::-1], short[::-1], strict=True) for side in (at, all_ - at)]
        padded = F.pad(image, sides) if any(short) else image
        kept = [slice(at, at + size) for at, size in zip(before, image.shape[1:], strict=True)]
        along = kept.pop(axis)
        for number, plane in enumerate(self._stitched(padded.movedim(1 + axis, 1), axis)):
            if along.start <= number < along.stop:
                yield plane[:, kept[0], kept[1]]

    def whole(self, image: torch.Tensor) -> torch.Tensor:
        """The logits (N, i, j, k) of an image (C, i, j, k): for small ones."""
        return torch.stack(list(self.planes(image)), 1)

    def indices(self, image: torch.Tensor, classes: Classes) -> torch.Tensor:
        """The classes (i, j, k) that are found in an image (C, i, j, k), on its grid."""
        axis = longest(image.shape[1:])
        return torch.stack([classes.decide(plane) for plane in self.planes(image, axis)], axis)

    def _stitched(self, image: torch.Tensor, axis: int) -> Iterator[torch.Tensor]:
        """All planes along the first axis of an image whose axis ``axis`` has been moved there."""
        patch = [self.patch[axis], *(size for other, size in enumerate(self.patch) if other != axis)]
        starts = [_starts(size, length, self.overlap) for size, length in zip(image.shape[1:], patch, strict=True)]
        importance = compute_importance_map(tuple(patch), mode="gaussian").as_subclass(torch.Tensor).cpu()
        importance = importance.clamp(min=max(float(importance.min()), SMALLEST_WEIGHT))
        ring = _Ring(patch[0], image.shape[2:])
        across = list(product(*starts[1:]))
        for number, start in enumerate(starts[0]):
            for first in range(0, len(across), self.batch):
                corners = across[first : first + self.batch]
                boxes = [(slice(y, y + patch[1]), slice(x, x + patch[2])) for y, x in corners]
                windows = torch.stack([image[:, start : start + patch[0], rows, columns] for rows, columns in boxes])
                found = self.score(windows.movedim(2, 2 + axis).to(self.device)).movedim(2 + axis, 2).cpu()
                for box, logits in zip(boxes, found, strict=True):
                    ring.add(start, box, logits, importance)
            end = starts[0][number + 1] if number + 1 < len(starts[0]) else start + patch[0]
            yield from ring.finished(start, end)


class _Ring:
    """As many planes of weighted logits as a window is long; a plane that is finished makes room for a later one."""

    def __init__(self, length: int, shape: Sequence[int]) -> None:
        self.length, self.shape = length, tuple(shape)
        self.sums: torch.Tensor | None = None  # N, length, ., .
        self.weights = torch.zeros(length, *self.shape)

    def add(self, start: int, box: tuple[slice, slice], logits: torch.Tensor, importance: torch.Tensor) -> None:
        if self.sums is None:
            self.sums = torch.zeros(len(logits), self.length, *self.shape)
        first = self.length - start % self.length  # planes up to the end of the ring; the others begin it again
        for planes, ring in ((slice(first), slice(start % self.length, None)), (slice(first, None), slice(-first))):
            if importance[planes].numel():
                self.sums[:, ring, box[0], box[1]].addcmul_(logits[:, planes], importance[planes])
                self.weights[ring, box[0], box[1]] += importance[planes]

    def finished(self, start: int, end: int) -> Iterator[torch.Tensor]:
        assert self.sums is not None
        for plane in range(start, end):
            place = plane % self.length
            yield self.sums[:, place] / self.weights[place]
            self.sums[:, place], self.weights[place] = 0, 0


def held_bytes(shape: Sequence[int], patch: Sequence[int], classes: int) -> int:
    """Bytes of logits that the stitching of a volume holds: a window's planes across it, never the volume."""
    axis = longest(shape)
    sizes = [max(size, length) for size, length in zip(shape, patch, strict=True)]
    return 4 * classes * patch[axis] * int(np.prod(sizes)) // sizes[axis]


def longest(shape: Sequence[int]) -> int:
    """The longest axis: across it the planes are smallest."""
    return int(np.argmax(np.asarray(shape)))


def segment(
    windows: Windows, image: torch.Tensor, grid: Grid, classes: Classes, probabilities: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Indices (i, j, k) on the grid of the file, and class probabilities (i, j, k, N) where they are asked for."""
    axis = longest(grid.shape)
    indices = torch.zeros(grid.turned, dtype=torch.uint8 if classes.indices <= 256 else torch.int32)
    soft = torch.zeros(*grid.turned, classes.count) if probabilities else None
    for number, scores in enumerate(_at_the_files_spacing(windows.planes(image, axis), grid, axis)):
        here: list[slice | int] = [slice(None)] * 3
        here[axis] = number
        indices[tuple(here)] = classes.decide(scores)
        if soft is not None:
            soft[tuple(here)] = classes.probabilities(scores).movedim(0, -1)
    return grid.back(indices.numpy()), None if soft is None else grid.back(soft.numpy())


def _at_the_files_spacing(planes: Iterator[torch.Tensor], grid: Grid, axis: int) -> Iterator[torch.Tensor]:
    """Logits plane by plane at the spacing of the file, from those at the network's; linear, as nnU-Net's."""
    if not grid.resamples:
        yield from planes
        return
    back = [size * new / old for size, new, old in zip(grid.spacing, grid.turned, grid.shape, strict=True)]
    thick = thick_axis(back, grid.spacing)
    old, new = grid.shape[axis], grid.turned[axis]
    mixing = torch.eye(old)[nearest(old, new)] if axis == thick else weights(old, new, 1)
    held: dict[int, torch.Tensor] = {}
    wanted = [torch.nonzero(row).flatten().tolist() for row in mixing]
    across = [size for other, size in enumerate(grid.turned) if other != axis]
    copied = None if thick is None or thick == axis else [other for other in range(3) if other != axis].index(thick)
    due = 0
    for number, plane in enumerate(planes):
        held[number] = plane.clone()
        while due < new and wanted[due][-1] <= number:
            mixed = sum(float(mixing[due, at]) * held[at] for at in wanted[due])
            assert isinstance(mixed, torch.Tensor)
            yield _resized(mixed, across, copied)
            due += 1
        held = {at: each for at, each in held.items() if due < new and at >= wanted[due][0]}


def _resized(plane: torch.Tensor, shape: Sequence[int], copied: int | None) -> torch.Tensor:
    """Logits (N, ., .) on a grid of another shape, linear, but along the axis ``copied`` by the nearest."""
    if copied is not None and plane.shape[1 + copied] != shape[copied]:
        plane = plane.index_select(1 + copied, nearest(plane.shape[1 + copied], shape[copied]))
    if tuple(plane.shape[1:]) == tuple(shape):
        return plane
    return F.interpolate(plane[None], size=tuple(shape), mode="bilinear", align_corners=False)[0]


def _starts(size: int, length: int, overlap: float) -> list[int]:
    """Where windows of a length begin along an axis; the last one ends with it."""
    step = length if size == length else max(int(length * (1 - overlap)), 1)
    count = 1 + max(0, -(-(size - length) // step))
    return [min(number * step, size - length) for number in range(count)]
