"""The GPU path of ``mind``: walks its kernels through some volumes, or some planes of a large one, at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.axes import rows_last
from medloss.ops.dispatch import KeepingPath
from medloss.ops.masking import accumulation_dtype
from medloss.ops.mind.reference import Arguments, steps_of
from medloss.ops.misfits import REALS, dtype_misfits
from medloss.ops.triton_numbers import table
from medloss.ops.triton_tiles import padded, readable, shared_weight, tiles
from medloss.ops.triton_volume import LABELS, MOST_VOXELS

AXES = 3
SCRATCH_BYTES = 2**29
"""What maps of distances and of their slopes may take. Less would cost planes whose distances are found twice."""
LINE = 16
"""Entries that a row of a map is a multiple of, so that all rows begin where 16 bytes can be read at once."""
ENTRIES = {torch.float32: 1024, torch.float64: 512}
"""Entries of a tile of descriptors."""
WARPS = 8


class Slab(NamedTuple):
    """Volumes from ``start`` on, the planes wanted, those with descriptors, and those that these depend on."""

    start: int
    volumes: int
    low: int
    high: int
    from_plane: int
    to_plane: int
    first: int
    last: int


class TritonMind(KeepingPath[Arguments], triton_path.TritonPath[Arguments]):
    """Maps of patch distances, some volumes or planes at a time. A gradient starts from the forward's mean noise."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        found = args.misfits() + dtype_misfits(REALS, input=args.input)
        if args.input.numel() and args.input[0, 0].numel() > MOST_VOXELS:
            found.append(f"a channel has more than {MOST_VOXELS} voxels")
        if args.target.dtype not in LABELS:
            found.append(f"target is {args.target.dtype}")
        return found

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The result, and the mean noise of both images in each channel."""
        input = args.input
        with triton_path.on_device(input):
            launcher = _SlabLauncher(input, args.target, args, accumulation_dtype(input))
            means = launcher.new_means()
            if args.reduce:
                result = torch.zeros(launcher.total, dtype=torch.float64, device=input.device)
            else:
                result = torch.empty(input.shape, dtype=launcher.dtype, device=input.device)
            for slab, maps in launcher.measured(False, means, True):
                launcher.values(slab, maps, means, result)
        return (result.to(launcher.dtype).view(input.shape[:2]) if args.reduce else result), (means,)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype."""
        return self.backward_of("input", grad, args)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype."""
        return self._gradient("input", grad, args, kept[0])

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, or of target, which the difference sees as it sees input."""
        return self._gradient(name, grad, args, None)

    def _gradient(self, name: str, grad: Tensor, args: Arguments, means: Tensor | None) -> Tensor:
        own, other = (args.input, args.target) if name == "input" else (args.target, args.input)
        with triton_path.on_device(own):
            launcher = _SlabLauncher(own, other, args, accumulation_dtype(args.input))
            grad = grad.to(launcher.dtype).contiguous()
            result = torch.empty_like(own, memory_format=torch.contiguous_format)
            found = launcher.new_means() if means is None else means
            for slab, maps in launcher.measured(True, found, means is None):
                launcher.gradient(slab, maps, found, grad, result)
        return result


class _SlabLauncher:
    """The launches of one call; the gradient is that of ``own``."""

    def __init__(self, own: Tensor, other: Tensor, args: Arguments, dtype: torch.dtype) -> None:
        from triton import language

        from medloss.ops.mind import descriptor_triton_kernels
        from medloss.ops.mind import triton_kernels as kernels

        mask, self.reduce = args.mask, args.reduce
        self.kernels, self.descriptors, self.dtype, self.device = kernels, descriptor_triton_kernels, dtype, own.device
        self.images = [readable(own), readable(other)]
        self.mask, self.shared = shared_weight(mask, self.images[0])
        (batch, channels), rank = own.shape[:2], own.ndim - 2
        self.total, missing = batch * channels, [0] * (AXES - rank)
        self.sizes = [*(1 for _ in missing), *own.shape[2:]]
        self.radius, self.margin = [*missing, *[args.radius] * rank], [*missing, *[args.dilation] * rank]
        self.pitch = -(-(self.sizes[2] + 2 * self.margin[2]) // LINE) * LINE
        steps, pairs = _scheme(rank, args.dilation)
        self.steps, self.pairs = len(steps), len(pairs)
        self.step_table = table(tuple(by for step in steps for by in step), torch.int32, self.device)
        self.pair_table = table(tuple(number for pair in pairs for number in pair), torch.int32, self.device)
        self.masked = mask is not None
        self.acc = {"ACC": language.float64 if dtype == torch.float64 else language.float32, "MASKED": self.masked}
        self.asked = {
            "ABSOLUTE": args.penalty == "absolute", "COUNT": self.pairs, "PAIRS": padded(self.pairs),
            "SUMMED": self.reduce, "TINY": torch.finfo(dtype).tiny, "BLOCK": ENTRIES[dtype] // padded(self.pairs),
            "num_warps": WARPS,
        }  # fmt: skip
        self.radii: dict[str, Any] = dict(zip(("RADIUS_Z", "RADIUS_Y", "RADIUS_X"), self.radius))

    def new_means(self) -> Tensor:
        """The mean noise of both images in each volume, yet to be found."""
        return torch.empty((self.total, 2), dtype=self.dtype, device=self.device)

    def groups(self, gradient: bool) -> Iterator[list[Slab]]:
        """As many whole volumes as there is room for, or the slabs of one that is too large."""
        (depth, height, _), dilation, radius = self.sizes, self.margin[0], self.radius[0]
        plane = 2 * self.steps * (2 + self.masked) * self.dtype.itemsize * (height + 2 * self.margin[1]) * self.pitch
        room = max(SCRATCH_BYTES // plane, 1)
        if room >= depth + 2 * dilation:
            volumes = room // (depth + 2 * dilation)
            for start in range(0, self.total, volumes):
                yield [Slab(start, min(volumes, self.total - start), 0, depth, 0, depth, 0, depth)]
            return
        halo = 2 * dilation + radius if gradient else 0
        planes = max(room - 2 * (halo + radius + dilation), 2 * (halo + radius) + 1)
        for start in range(self.total):
            slabs = []
            for low in range(0, depth, planes):
                high = min(depth, low + planes)
                before, behind = max(0, low - halo), min(depth, high + halo)
                ends = max(0, before - radius), min(depth, behind + radius)
                slabs.append(Slab(start, 1, low, high, before, behind, *ends))
            yield slabs

    def measured(self, gradient: bool, means: Tensor, unknown: bool) -> Iterator[tuple[Slab, tuple[Tensor, Tensor]]]:
        """Slabs and their distances, after the mean noise of their volumes is found where it is ``unknown``."""
        for slabs in self.groups(gradient):
            maps = None
            if unknown:
                totals = torch.zeros((slabs[0].volumes, 3), dtype=torch.float64, device=self.device)
                for slab in slabs:
                    maps = None
                    maps = self.distances(slab)
                    totals += self._describe(
                        slab, maps, means, self.descriptors.NOISE, means, planes=slab[2:4], numbers=3
                    )
                mass = torch.where(totals[:, 2:] > 0, totals[:, 2:], torch.ones_like(totals[:, 2:]))
                means[slabs[0].start : slabs[0].start + slabs[0].volumes] = (totals[:, :2] / mass).to(self.dtype)
            for slab in slabs:
                if maps is None or len(slabs) > 1:
                    maps = None
                    maps = self.distances(slab)
                yield slab, maps

    def distances(self, slab: Slab) -> tuple[Tensor, Tensor]:
        """The maps of both images, and with a mask one over what patches weigh; and as many spare ones."""
        kernels, images = self.kernels, 2 + self.masked
        maps, spare = (self._maps(slab, images * self.steps) for _ in range(2))
        self._launch(
            kernels.squares, slab, self.steps, *self.images, self.mask, self.step_table, maps, slab.start, slab.first,
            RADIUS=self.radius[2], shared=True,
        )  # fmt: skip
        self._box(slab, maps, spare, 1, kernels.SUM, images)
        self._box(slab, spare, maps, 2, kernels.MEAN, 2)
        return maps, spare

    def values(self, slab: Slab, maps: tuple[Tensor, Tensor], means: Tensor, result: Tensor) -> None:
        """The values of the planes wanted, or their sums on top of those of the others."""
        if self.reduce:
            sums = self._describe(slab, maps, means, self.descriptors.TOTALS, means, planes=slab[2:4], numbers=1)
            result[slab.start : slab.start + slab.volumes] += sums[:, 0]
        else:
            self._describe(slab, maps, means, self.descriptors.VALUES, means, planes=slab[2:4], result=result)

    def gradient(self, slab: Slab, maps: tuple[Tensor, Tensor], means: Tensor, grad: Tensor, result: Tensor) -> None:
        """The gradient of the planes wanted."""
        kernels, (low, high) = self.kernels, slab[4:6]
        found, slopes = maps  # there are two pairs for each step: they take the place of the spare maps
        self._describe(slab, maps, means, self.descriptors.SLOPES, grad, planes=(low, high), result=slopes)
        one, other = found[: self.steps], slopes[: self.steps]
        self._launch(
            kernels.centres, slab, self.steps, slopes, found[-self.steps :], self.step_table, self.pair_table, one,
            slab.first, low, high, EACH=self.pairs // self.steps, **self.radii,
        )  # fmt: skip
        for axis in (2, 1, 0):
            self._box(slab, one, other, axis, kernels.SUM, 1)
            one, other = other, one
        self._launch(
            kernels.multiply, slab, 1, one, self.images[0], self.mask, self.step_table, result, slab.start, slab.first,
            slab.low, slab.high, STEPS=self.steps, shared=True,
        )  # fmt: skip

    def _box(self, slab: Slab, source: Tensor, to: Tensor, axis: int, given: int, images: int) -> None:
        """Sums along an axis: depth is the last one here."""
        self._launch(
            self.kernels.box, slab, self.steps, source, self.step_table, to, slab.first, AXIS=axis, GIVEN=given,
            IMAGES=images, RADIUS=self.radius[2 - axis], **self.radii,
        )  # fmt: skip

    def _describe(
        self, slab: Slab, maps: tuple[Tensor, Tensor], means: Tensor, asked: int, grad: Tensor, *,
        planes: tuple[int, int], result: Tensor | None = None, numbers: int = 0,
    ) -> Tensor:  # fmt: skip
        """Launches a computation on descriptors: into ``result``, or sums for each volume, in double."""
        low, high = planes
        blocks = -(-(high - low) * self.sizes[1] * self.sizes[2] // self.asked["BLOCK"])
        parts = torch.empty((slab.volumes, blocks, numbers), dtype=self.dtype, device=self.device)
        if result is not None:
            parts = result
        self.descriptors.describe[(slab.volumes * blocks,)](
            maps[0], maps[0][self.steps :], self.pair_table, self.mask, means, grad, parts, slab.start, slab.first,
            low, high, self.shared, blocks, *self._shape(slab), ASKED=asked, **self.asked, **self.acc,
        )  # fmt: skip
        return parts.sum(1, dtype=torch.float64) if numbers else parts

    def _launch(self, kernel: Any, slab: Slab, maps: int, *operands: Any, shared: bool = False, **options: Any) -> None:
        """A program for each part of a row of each map."""
        planes, rows = self._shape(slab)[3:5]
        lines = slab.volumes * planes * rows
        counts = (lines, self.shared) if shared else (lines,)
        tile = tiles(lines, self.pitch, self.dtype)
        kernel[(tile.programs(lines), maps)](
            *operands, *counts, *self._shape(slab), **options, **self.acc, **tile.options, num_warps=WARPS
        )

    def _shape(self, slab: Slab) -> tuple[int, ...]:
        """Sizes of the volumes; those of a map, its margins, and the entries to the next one."""
        planes, rows = slab.last - slab.first + 2 * self.margin[0], self.sizes[1] + 2 * self.margin[1]
        stride = slab.volumes * planes * rows * self.pitch
        return (*self.sizes, planes, rows, self.pitch, *self.margin, stride)

    def _maps(self, slab: Slab, count: int) -> Tensor:
        return torch.empty((count, self._shape(slab)[-1]), dtype=self.dtype, device=self.device)


def _scheme(rank: int, dilation: int) -> tuple[list[list[int]], list[list[int]]]:
    """Steps between patches; and of each pair, sorted by them, the step and where it starts from. In voxels."""
    steps, pairs = steps_of(rank)
    far = [[by * dilation for by in rows_last(step, 0)] for step in steps]
    starts = [[number, *(by * dilation for by in rows_last(start, 0))] for number, start in pairs]
    return far, sorted(starts, key=lambda pair: pair[0])
