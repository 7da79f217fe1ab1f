"""``mind`` in plain torch: the specification of the operator, and what serves on every device."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from medloss.ops.local_moments.reference import smooth
from medloss.ops.masking import accumulation_dtype, added, blank, spatial_axes
from medloss.ops.misfits import axes_misfits
from medloss.ops.operator import transformed

CHUNK = 2**21
"""Patch distances that exist at a time: the volume is taken in slabs, and the backward pass computes a slab's again."""

NOISE_RANGE = (1e-3, 1e3)
"""Least and largest noise of a voxel, over the mean of all voxels."""

Offset = tuple[int, ...]


class Patches(NamedTuple):
    """Which patches are compared, in voxels."""

    pairs: list[tuple[Offset, Offset]]
    radius: int
    dilation: int

    @property
    def reach(self) -> int:
        """How far from a voxel its descriptor looks, at most."""
        return self.radius + 2 * self.dilation


class Arguments(NamedTuple):
    """What ``mind`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    radius: int
    dilation: int
    penalty: str
    reduce: bool

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        return axes_misfits(self.input) + ([] if self.input.numel() else ["there are no voxels"])


def mind(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.mind.mind`."""
    input = args.input
    dtype = accumulation_dtype(input)
    weight = torch.ones_like(input, dtype=dtype) if args.mask is None else args.mask.to(dtype).expand(input.shape)
    patches = Patches(pairs_of(input.ndim - 2), args.radius, args.dilation)
    # beyond the border nothing is there, as under a mask
    x, y, w = (
        torch.nn.functional.pad(tensor, [patches.reach] * (2 * (input.ndim - 2)))
        for tensor in (blank(input.to(dtype), weight), blank(args.target.to(dtype), weight), weight)
    )
    step = max(1, CHUNK // (len(patches.pairs) * max(1, input[:, :, :1].numel())))
    slabs = [(start, min(step, input.shape[2] - start)) for start in range(0, input.shape[2], step)]
    cuts = [[tensor.narrow(2, start, size + 2 * patches.reach) for tensor in (x, y, w)] for start, size in slabs]
    with torch.no_grad():
        noise = mean_noise(cuts, patches)
    parts = []
    for (start, size), cut in zip(slabs, cuts):
        arguments = (cut[0], cut[1], cut[2], noise[0], noise[1], patches, args.penalty)
        # functorch and forward mode do not know checkpoints
        if len(slabs) == 1 or transformed():
            part = differences(*arguments)
        else:
            part = checkpoint(differences, *arguments, use_reentrant=False, preserve_rng_state=False)
        part = part * weight.narrow(2, start, size)
        parts.append(part.sum(spatial_axes(part)) if args.reduce else part)
    return sum(parts[1:], start=parts[0]) if args.reduce else torch.cat(parts, 2)


def pairs_of(rank: int) -> list[tuple[Offset, Offset]]:
    """The pairs of neighbours that are compared: all but opposite ones; on a line the voxel with each neighbour."""
    steps = [tuple(sign * (axis == i) for i in range(rank)) for axis in range(rank) for sign in (-1, 1)]
    if rank == 1:
        return [((0,), step) for step in steps]
    return [(p, q) for p, q in combinations(steps, 2) if any(a + b for a, b in zip(p, q))]


def steps_of(rank: int) -> tuple[list[Offset], list[tuple[int, Offset]]]:
    """The steps from one neighbour of a pair to the other; and of each pair the number of its step and where it starts.

    Pairs of the same step see the same differences, from two places.
    """
    steps: list[Offset] = []
    pairs = []
    for p, q in pairs_of(rank):
        step = tuple(b - a for a, b in zip(p, q))
        if step < (0,) * rank:  # the same differences, seen from the other end
            p, step = q, tuple(-by for by in step)
        if step not in steps:
            steps.append(step)
        pairs.append((steps.index(step), p))
    return steps, pairs


def inner(tensor: Tensor, margin: int, offset: Offset | None = None, dilation: int = 0) -> Tensor:
    """A tensor B C [spatial] without its margin, seen from voxels some steps further."""
    for axis, by in enumerate(offset or [0] * (tensor.ndim - 2), start=2):
        tensor = tensor.narrow(axis, margin + by * dilation, tensor.shape[axis] - 2 * margin)
    return tensor


def distances(images: list[Tensor], weight: Tensor, patches: Patches) -> tuple[list[Tensor], Tensor]:
    """Mean squared difference of the two patches of each pair, pairs B C [spatial], and whether there is any voxel.

    Pairs with the same step from one to the other are one image of differences, seen from two places.
    """
    found: list[list[Tensor]] = [[] for _ in images]
    counted: list[Tensor] = []
    means: dict[Offset, list[Tensor]] = {}
    for p, q in patches.pairs:
        step = tuple(b - a for a, b in zip(p, q))
        if step < (0,) * len(step):  # the same differences, seen from the other end
            p, step = q, tuple(-by for by in step)
        if step not in means:
            means[step] = patch_means(images, weight, step, patches)
        valid, *values = (inner(map, patches.dilation, p, patches.dilation) for map in means[step])
        counted.append(valid)
        for maps, value in zip(found, values):
            maps.append(value)
    return [torch.stack(maps) for maps in found], torch.stack(counted)


def patch_means(images: list[Tensor], weight: Tensor, step: Offset, patches: Patches) -> list[Tensor]:
    """Where a patch and the one a step further have voxels in common, and the mean squared difference of each image."""
    _, radius, dilation = patches
    windows = [[1.0] * (2 * radius + 1)] * (weight.ndim - 2)
    both = inner(weight, dilation) * inner(weight, dilation, step, dilation)
    squares = [(inner(image, dilation) - inner(image, dilation, step, dilation)) ** 2 * both for image in images]
    mass, *totals = smooth(torch.stack([both, *squares]), windows, padded=True)
    valid = mass > 0
    some = torch.where(valid, mass, torch.ones_like(mass))
    return [valid, *(torch.where(valid, total, torch.zeros_like(total)) / some for total in totals)]


def excess(distance: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """What each distance has above the smallest of its voxel, and their mean over the pairs, which is the noise."""
    least = torch.where(valid, distance, torch.full_like(distance, torch.inf)).amin(0)
    least = torch.where(valid.any(0), least, torch.zeros_like(least))
    above = torch.where(valid, distance - least, torch.zeros_like(distance))
    return above, above.sum(0) / valid.sum(0).clamp_min(1)


def mean_noise(cuts: list[list[Tensor]], patches: Patches) -> list[Tensor]:
    """The noise of both images: its mean over the voxels of all slabs, B C [1 for each axis]."""
    sums: list[list[Tensor]] = [[], []]
    masses = []
    for x, y, weight in cuts:
        found, valid = distances([x, y], weight, patches)
        inside = inner(weight, patches.reach)
        axes = spatial_axes(inside)
        for parts, distance in zip(sums, found):
            parts.append((excess(distance, valid)[1] * inside).sum(axes, keepdim=True))
        masses.append(inside.sum(axes, keepdim=True))
    mass = added(masses)
    return [added(parts) / torch.where(mass > 0, mass, torch.ones_like(mass)) for parts in sums]


def differences(
    x: Tensor, y: Tensor, weight: Tensor, noise_x: Tensor, noise_y: Tensor, patches: Patches, penalty: str
) -> Tensor:
    """The mean penalty of the descriptors' differences at every voxel of a slab."""
    found, valid = distances([x, y], weight, patches)
    descriptors = []
    for distance, mean in zip(found, (noise_x, noise_y)):
        above, noise = excess(distance, valid)
        least, most = (factor * mean for factor in NOISE_RANGE)
        noise = torch.clamp(noise, least, most).clamp_min(torch.finfo(noise.dtype).tiny)
        descriptors.append(torch.exp(-above / noise))
    difference = descriptors[0] - descriptors[1]  # 0 of pairs that are not there
    cost = difference**2 if penalty == "squared" else difference.abs()
    return cost.sum(0) / valid.sum(0).clamp_min(1)
