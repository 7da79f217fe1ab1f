"""The Triton kernels of ``squared_errors``: sums of blocks of a volume, and the gradient of any of the three maps."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sums(input, target, cost, parts, voxels, blocks, BLOCK: tl.constexpr):
    """The sum of each block."""
    program = tl.program_id(0).to(tl.int64)
    inner = program % blocks * BLOCK + tl.arange(0, BLOCK)
    at, seen = program // blocks * voxels + inner, inner < voxels
    real: tl.constexpr = parts.dtype.element_ty
    error = tl.load(input + at, mask=seen, other=0).to(real) - tl.load(target + at, mask=seen, other=0).to(real)
    tl.store(parts + program, tl.sum(tl.load(cost + at, mask=seen, other=0).to(real) * (error * error)))


@triton.jit
def gradient(input, target, cost, upstream, result, voxels, blocks, INDEX: tl.constexpr, BLOCK: tl.constexpr):
    """The gradient of input (0), target (1) or cost (2)."""
    program = tl.program_id(0).to(tl.int64)
    inner = program % blocks * BLOCK + tl.arange(0, BLOCK)
    at, seen = program // blocks * voxels + inner, inner < voxels
    real: tl.constexpr = upstream.dtype.element_ty
    error = tl.load(input + at, mask=seen, other=0).to(real) - tl.load(target + at, mask=seen, other=0).to(real)
    rate = tl.load(upstream + program // blocks)
    if INDEX == 2:
        slope = rate * (error * error)
    else:
        slope = rate * (2 - 4 * INDEX) * (tl.load(cost + at, mask=seen, other=0).to(real) * error)
    tl.store(result + at, slope.to(result.dtype.element_ty), mask=seen)
