"""What the Triton path of the windows does with whole volumes: levels, walks, sums, products over windows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.local_moments.arguments import ERROR
from medloss.ops.local_moments.problem import Problem
from medloss.ops.local_moments.slab_launcher import SlabLauncher
from medloss.ops.triton_tiles import padded

BLOCK = 4096
"""Voxels of a program that adds some up."""
AT_ONCE = 8
"""Blocks of a volume up to which one program takes them all: a launch more costs as much."""
PRODUCTS = 1024


def forward(problem: Problem) -> tuple[Tensor, Tensor]:
    """The map, or the sums of the volumes; and the levels, for the backward pass."""
    with triton_path.on_device(problem.input):
        level = levels(problem)
        if len(problem.scales) > 1:
            return _product(problem, level), level
        launcher = SlabLauncher(problem, level, gradient=False)
        if problem.reduce:
            return _finished(problem, launcher.sums()), level
        result = problem.input.new_empty(problem.inner, dtype=problem.dtype)
        launcher.values(result, launcher.kernels.VALUES)
    return result, level


def backward(problem: Problem, grad: Tensor, level: Tensor | None = None) -> Tensor:
    """The gradient of input, in its dtype."""
    with triton_path.on_device(problem.input):
        level = levels(problem) if level is None else level
        grad = grad.to(problem.dtype).contiguous()
        if len(problem.scales) == 1:
            result = torch.empty_like(problem.input)
            SlabLauncher(problem, level, gradient=True).gradient(grad, result, plain=False, add=False)
            return result
        result = torch.empty_like(problem.input, dtype=problem.dtype)  # which several windows add to
        shares = _shares(problem, level, grad)
        for at in range(len(problem.scales)):
            SlabLauncher(problem.scale(at), level, gradient=True).gradient(shares[at], result, plain=True, add=at > 0)
    return result.to(problem.input.dtype)


def levels(problem: Problem) -> Tensor:
    """What is taken off the images of each volume, and what is beyond its border."""
    from medloss.ops.local_moments import volumes_triton_kernels as kernels

    voxels, masked = math.prod(problem.sizes), problem.mask is not None
    room, numbers = problem.volumes, kernels.NUMBERS.value
    if problem.kind == ERROR:  # which no level changes
        return problem.input.new_zeros((room, numbers), dtype=problem.dtype)
    level = problem.input.new_empty((room, numbers), dtype=problem.dtype)
    blocks = -(-voxels // BLOCK)
    kinds = {"KIND": problem.kind, "WEIGHED": problem.weighed}
    if blocks <= AT_ONCE:
        block = min(BLOCK, padded(voxels))
        kernels.level_of[(room,)](
            *problem.images, level, voxels, problem.shared, **kinds, MASKED=masked, BLOCK=block, num_warps=8
        )
        return level
    if voxels > BLOCK**2:
        blocks = -(-voxels // (4 * BLOCK))
    partials = level.new_empty((room, blocks, 3))
    kernels.level_sums[(room * blocks,)](
        *problem.images, partials, blocks, voxels, problem.shared, MASKED=masked,
        BLOCK=4 * BLOCK if voxels > BLOCK**2 else BLOCK,
    )  # fmt: skip
    kernels.settle[(room,)](partials, level, blocks, **kinds, BLOCKS=padded(blocks))
    return level


def _finished(problem: Problem, partials: Tensor) -> Tensor:
    """The sums of the volumes from their parts."""
    from medloss.ops.local_moments import volumes_triton_kernels as kernels

    result = problem.input.new_empty(problem.input.shape[:2], dtype=problem.dtype)
    parts = partials.shape[1]
    kernels.finish[(problem.volumes,)](partials, result, parts, BLOCK=min(1024, padded(parts)))
    return result


def _factors(problem: Problem, level: Tensor) -> Tensor:
    """One minus the factor of each window at every voxel."""
    factors = problem.input.new_empty((len(problem.scales), *problem.inner), dtype=problem.dtype)
    for at in range(len(problem.scales)):
        launcher = SlabLauncher(problem.scale(at), level, gradient=False)
        launcher.values(factors[at], launcher.kernels.FACTORS)
    return factors


def _product(problem: Problem, level: Tensor) -> Tensor:
    """The values of several windows, or their sums."""
    from medloss.ops.local_moments import volumes_triton_kernels as kernels

    factors = _factors(problem, level)
    voxels = math.prod(problem.inner[2:])
    tiles = -(-voxels // PRODUCTS)
    shape = (problem.volumes, tiles) if problem.reduce else problem.inner
    result = problem.input.new_empty(shape, dtype=problem.dtype)
    kernels.product[(problem.volumes * tiles,)](
        factors, problem.images[2], result, factors.stride(0), voxels, problem.shared, COUNT=len(problem.scales),
        MASKED=problem.mask is not None, SUMS=problem.reduce, TILE=PRODUCTS,
    )  # fmt: skip
    return _finished(problem, result) if problem.reduce else result


def _shares(problem: Problem, level: Tensor, grad: Tensor) -> Tensor:
    """The gradient of each window's factor at every voxel."""
    from medloss.ops.local_moments import volumes_triton_kernels as kernels

    factors = _factors(problem, level)
    voxels = math.prod(problem.inner[2:])
    kernels.shares[(problem.volumes * -(-voxels // PRODUCTS),)](
        factors, problem.images[2], grad, factors.stride(0), voxels, problem.shared, COUNT=len(problem.scales),
        MASKED=problem.mask is not None, REDUCED=problem.reduce, TILE=PRODUCTS,
    )  # fmt: skip
    return factors
