"""The soft skeleton in Triton: the reference's value and gradient, ties above all, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, compare, device, move

from medloss.ops import BackendError, backend, soft_skeleton
from medloss.ops.soft_morphology import triton_launch as path

OPERATORS = sys.modules["medloss.ops.soft_morphology"]
SKELETON, SUMS = OPERATORS.SOFT_SKELETON, OPERATORS.SKELETON_SUMS


def maps(shape: tuple[int, ...], levels: int, masked: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Values of a few levels, so that most windows hold several of the largest; NaN where nothing counts."""
    x, t = (torch.randint(0, levels, shape).double() / (levels - 1) for _ in range(2))
    if not masked:
        return x, t, None
    weight = (torch.rand(shape[0], 1, *shape[2:]) + 0.1) * (torch.rand(shape[0], 1, *shape[2:]) > 0.3)
    return x.masked_fill(weight == 0, torch.nan), t.masked_fill(weight == 0, torch.inf), weight.double()


SHAPES = [((1, 1, 17), 2), ((2, 1, 7, 9), 1), ((1, 2, 5, 4, 8), 1)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("shape", "iterations"), SHAPES, ids=str)
def test_skeletons_are_the_reference_s(shape, iterations, masked, poisoned) -> None:
    """Of several equal values the same one has the gradient: any other choice changes it."""
    x, _, mask = maps(shape, 3, masked)
    compare(SKELETON, move((x, mask, iterations)))


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("shape", [(2, 2, 7, 9), (1, 2, 5, 4, 8)], ids=str)
def test_sums_are_the_reference_s(shape, index, poisoned) -> None:
    """By prediction and by target, and their values with one more erosion."""
    x, t, mask = maps(shape, 4, bool(index))
    compare(SUMS, move((x, t, mask, 0)), index=index)
    compare(SUMS, move((x, t, mask, 1)), index=-1)


def test_a_mask_of_each_class() -> None:
    x, t, _ = maps((2, 2, 4, 5), 3, False)
    mask = torch.randint(0, 3, x.shape) / 2
    compare(SUMS, move((x.float().mT, t.bool().mT, mask.mT, 0)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_lower_precision(dtype) -> None:
    x, t, mask = maps((1, 2, 9), 1000, True)
    compare(SUMS, move((x.to(dtype), t.float(), mask.float(), 0)))


@pytest.mark.parametrize(("operator", "depth", "index"), [(SKELETON, 9, 0), (SUMS, 5, -1)])
def test_slabs_change_nothing(operator, depth, index, monkeypatch) -> None:
    monkeypatch.setattr(path, "SCRATCH_BYTES", 1)
    x, t, _ = maps((1, 1, depth, 2, 2), 3, False)
    assert len(list(path.SkeletonLauncher(x, None, None, 0, x.dtype).slabs(gradient=index == 0))) == 2
    compare(operator, move((x, None, 0) if operator is SKELETON else (x, t, None, 0)), index=index)


def test_nan_stays_one_and_an_infinity_becomes_one() -> None:
    x, _, _ = maps((1, 1, 15), 1000, False)
    x[0, 0, 7] = torch.nan
    compare(SKELETON, move((x, None, 0)), index=-1)
    expected = SKELETON.paths[-1].forward(SKELETON.arguments(*move((x, None, 0)))).isnan()
    x[0, 0, 7] = torch.inf
    assert torch.equal(SKELETON.paths[-1].forward(SKELETON.arguments(*move((x, None, 0)))).isnan(), expected)


def test_what_the_kernels_do_not_take() -> None:
    with backend("triton"):
        with pytest.raises(BackendError, match="4 spatial axes, the kernel takes 1 to 3"):
            soft_skeleton(torch.rand(1, 1, 2, 3, 4, 2, device=device()), iterations=1)
        with pytest.raises(BackendError, match=r"map is torch\.int64"):
            soft_skeleton(torch.ones(1, 1, 4, dtype=torch.int64, device=device()), iterations=1)


def launch(kind: str, direction: str, dtype: torch.dtype, masked: bool) -> Launch:
    """A call on tensors that are never written; neighbours along a row do not lie at multiples of 16 bytes."""

    def call() -> None:
        x, t = (torch.empty(1, 2, 128, 128, 128, dtype=dtype) for _ in range(2))
        mask = torch.empty(1, 1, 128, 128, 128) if masked else None
        operator, args = (SKELETON, (x, mask, 1)) if kind == "map" else (SUMS, (x, t, mask, 1))
        if direction == "forward":
            operator.paths[-1].forward(operator.arguments(*args))
        else:
            grad = torch.empty(1, 2, 4) if kind == "sums" else torch.empty(x.shape)
            operator.paths[-1].backward(grad, operator.arguments(*args))

    return Launch(call, wide=2)


LAUNCHES = {
    "map": launch("map", "forward", torch.float32, False),
    "sums, mask, gradient": launch("sums", "backward", torch.bfloat16, True),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
