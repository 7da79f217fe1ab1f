"""``max_pool`` and ``boundary_sums`` in Triton: the reference's value and gradient, ties above all; compiled ahead."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, compare, move

from medloss.ops.soft_morphology import pool_triton_launch

OPERATORS = sys.modules["medloss.ops.soft_morphology"]
POOL, SUMS = OPERATORS.MAX_POOL, OPERATORS.BOUNDARY_SUMS
SHAPES = [(2, 1, 17), (2, 2, 7, 9), (1, 2, 5, 4, 8)]


def maps(shape: tuple[int, ...], masked: bool, per_class: bool = False) -> tuple[Tensor, Tensor, Tensor | None]:
    """Values of a few levels, so that most windows hold several of the largest; NaN where nothing counts."""
    x, t = (torch.randint(0, 4, shape).double() / 3 for _ in range(2))
    if not masked:
        return x, t, None
    size = shape if per_class else (shape[0], 1, *shape[2:])
    weight = ((torch.rand(size) + 0.1) * (torch.rand(size) > 0.4)).double()
    return x.masked_fill(weight == 0, torch.nan), t.masked_fill(weight == 0, torch.inf), weight


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pools_are_the_reference_s(shape, poisoned) -> None:
    """Of several equal values the same one has the gradient; a box longer than the map, and one of a single voxel."""
    for masked, size in ((True, 3), (False, 11 if len(shape) < 5 else 5)):
        x, _, mask = maps(shape, masked)
        compare(POOL, move((x - 0.5, mask, size)))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_are_the_reference_s(shape, masked, poisoned) -> None:
    x, t, mask = maps(shape, masked, per_class=len(shape) == 4)
    compare(SUMS, move((x, t, mask, *((5, 1) if masked else (3, 5)))), index=int(masked))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_types_and_layouts(dtype) -> None:
    x, t, mask = maps((1, 2, 7, 6), True)
    compare(POOL, move((x.to(dtype).mT, mask.float().mT, 3)))
    compare(SUMS, move((x.to(dtype).mT, (t > 0.5).mT, mask.float().mT, 3, 3)))
    compare(SUMS, move((x.float(), t.to(dtype), mask.float(), 3, 3)), index=1)


def test_some_volumes_at_a_time_change_nothing(monkeypatch) -> None:
    monkeypatch.setattr(pool_triton_launch, "SCRATCH_BYTES", 1)
    x, t, mask = maps((2, 1, 9), True)
    compare(POOL, move((x, mask, 3)))
    compare(SUMS, move((x, t, mask, 3, 3)))


def test_nan_and_infinity_stay() -> None:
    x, t, _ = maps((1, 1, 15), False)
    x[0, 0, 7], x[0, 0, 2] = torch.nan, torch.inf
    compare(POOL, move((x, None, 3)), index=-1)
    compare(SUMS, move((x, t, None, 3, 3)), index=-1)


def test_under_a_mask_there_is_nothing() -> None:
    x, t, _ = maps((1, 1, 15), False)
    compare(POOL, move((x, torch.zeros(1, 1, 15), 3)))
    compare(SUMS, move((x, t, torch.zeros(1, 1, 15), 3, 5)))


def test_what_the_kernels_do_not_take() -> None:
    assert "a box is longer than 255 voxels" in POOL.paths[-1].reasons(POOL.arguments(torch.ones(1, 1, 4), None, 257))
    assert "a gradient of mask is asked for" in SUMS.paths[-1].reasons(
        SUMS.arguments(torch.ones(1, 1, 4), torch.ones(1, 1, 4), torch.ones(1, 1, 4), 3, 3),
        ("mask",),
    )


def launch(kind: str, direction: str, rank: int, dtype: torch.dtype, masked: bool) -> Launch:
    """A call on tensors that are never written; neighbours along a row do not lie at multiples of 16 bytes."""

    def call() -> None:
        shape = (64,) * rank
        x, t = (torch.empty(1, 2, *shape, dtype=dtype) for _ in range(2))
        mask = torch.empty(1, 1, *shape) if masked else None
        operator, args = (POOL, (x, mask, 5)) if kind == "map" else (SUMS, (x, t, mask, 3, 5))
        if direction == "forward":
            operator.paths[-1].forward(operator.arguments(*args))
        else:
            operator.paths[-1].backward(
                torch.empty(1, 2, 4) if kind == "sums" else torch.empty(x.shape), operator.arguments(*args)
            )

    return Launch(call, wide=min(rank - 1, 1))


LAUNCHES = {
    "largest, gradient": launch("map", "backward", 1, torch.float64, False),
    "sums": launch("sums", "forward", 3, torch.float32, False),
    "sums, mask, gradient": launch("sums", "backward", 2, torch.bfloat16, True),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
