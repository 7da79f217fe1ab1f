"""``resample`` in Triton: held to the reference in value and both gradients, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

RESAMPLE = sys.modules["medloss.ops.resample"]
OPERATOR, PATH = RESAMPLE.OPERATOR, sys.modules["medloss.ops.resample.triton_launch"]
SHAPES = [(1,), (30,), (7, 1), (4, 3, 5)]


def both(values: torch.Tensor, positions: torch.Tensor, spacing: list[float] | None) -> None:
    for index in (0, 1):
        compare(OPERATOR, move((values, positions, spacing)), index=index)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_field_displaces_its_voxels(shape, poisoned) -> None:
    """Inside, beyond each border, and exactly on voxels; on a grid of another size, too."""
    rank, spacing = len(shape), [0.7, 3.0, 1.0][: len(shape)]
    values = torch.randn(2, 3, *shape, dtype=torch.float64)
    both(values, 2 * torch.randn(2, rank, *shape, dtype=torch.float64), spacing)
    larger = 2 * torch.randn(2, rank, *[size + 2 for size in shape], dtype=torch.float64)
    compare(OPERATOR, move((values, larger.round(), [1.0] * rank)), index=1)


@pytest.mark.parametrize("points", [(1,), (40,), (2, 3, 2, 3)], ids=str)
def test_positions_anywhere(points, poisoned) -> None:
    sizes = torch.tensor([2, 1, 4], dtype=torch.float64).view(-1, *[1] * len(points))
    at = torch.rand(2, 3, *points, dtype=torch.float64) * (sizes + 2) - 1
    both(torch.randn(2, 1, 2, 1, 4, dtype=torch.float64), at, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_types_and_layouts(dtype) -> None:
    """Channels last, and a field in another precision than the image's, exactly representable."""
    values = torch.randn(2, 3, 9, 5).to(dtype).to(memory_format=torch.channels_last)
    field = (torch.randn(2, 2, 5, 9).mT * 8).round() / 8
    compare(OPERATOR, move((values, field, [1.0, 1.0])))
    compare(OPERATOR, move((values.float(), field.to(dtype), [1.0, 1.0])), index=1)


def test_what_is_no_number() -> None:
    """A position that is none reads NaN and nothing outside; a voxel or a cotangent stays with those it touches."""
    values = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    at = torch.tensor([[[torch.nan, torch.inf, -torch.inf, 1e30, 1.5], [0.0, 0.0, 3.0, 3.0, 1.0]]]).double()
    both(values, at, None)
    values[0, 0, 1, 1] = torch.nan
    both(values, at, None)
    values, field = torch.rand(1, 2, 4, 5), torch.zeros(1, 2, 4, 5) + 0.25
    args = move((values, field, [1.0, 1.0]))
    for odd in (torch.nan, torch.inf, -torch.inf):
        cotangent = torch.randn(values.shape)
        cotangent[0, 0, 1, 2] = odd
        cotangent[0, 0, 1, 3] = abs(odd)
        leaf = values.clone().requires_grad_()
        (expected,) = torch.autograd.grad(OPERATOR.reference(OPERATOR.arguments(leaf, *args[1:])), leaf, cotangent)
        found = OPERATOR.paths[-1].backward(cotangent.to(args[0]), OPERATOR.arguments(*args))
        torch.testing.assert_close(found.cpu(), expected, equal_nan=True)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_the_unit_follows_the_cotangents(size) -> None:
    """Neither too coarse for what is tiny, nor too fine for what is large and comes together in one voxel."""
    values, at = torch.rand(1, 2, 3, 4), torch.rand(1, 2, 500) * 0.01 + 1
    cotangent = size * torch.randn(1, 2, 500).abs()
    args = move((values, at, None))
    leaf = values.double().requires_grad_()
    (expected,) = torch.autograd.grad(
        OPERATOR.reference(OPERATOR.arguments(leaf, at.double(), None)), leaf, cotangent.double()
    )
    found = OPERATOR.paths[-1].backward(cotangent.to(args[0]), OPERATOR.arguments(*args)).cpu().double()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * size)
    assert not OPERATOR.paths[-1].backward(torch.zeros_like(cotangent).to(args[0]), OPERATOR.arguments(*args)).any()


@pytest.mark.parametrize("room", [1, 3, 6])
def test_groups_change_nothing(room, monkeypatch) -> None:
    """One channel at a time, channels of a sample, and samples."""
    values, field = torch.randn(3, 2, 4, 5), torch.randn(3, 2, 4, 5)
    args = move((values, field, [1.0, 1.0]))
    _, whole = value_and_gradient(OPERATOR, "triton", args)
    monkeypatch.setattr(PATH, "SCRATCH_BYTES", 8 * 20 * room)
    assert len(list(PATH._groups(values, False))) == {1: 6, 3: 3, 6: 1}[room]
    assert torch.equal(value_and_gradient(OPERATOR, "triton", args)[1], whole)


def test_what_the_kernels_do_not_take() -> None:
    values, field = torch.zeros(1, 1, 4, 5), torch.zeros(1, 2, 4, 5)
    for args, why in (
        ((values[..., None, None], field, None), "takes 1 to 3"),
        ((values.long(), field, None), r"values is torch.int64"),
        ((values, torch.zeros(1).expand(1, 2, 2**16, 2**15), None), "points"),
        ((torch.zeros(1).expand(1, 1, 2**16, 2**15), field, None), "voxels"),
    ):
        assert any(why in reason for reason in OPERATOR.paths[-1].reasons(OPERATOR.arguments(*args)))


def launch(direction: str, rank: int, dtype: torch.dtype) -> Launch:
    """A call on tensors that are never written; neighbours along a row do not lie at multiples of 16 bytes."""

    def call() -> None:
        shape = (64,) * rank
        values, field = torch.empty(2, 2, *shape, dtype=dtype), torch.empty(2, rank, *shape)
        args, grad, path = (values, field, [1.0] * rank), torch.empty(2, 2, *shape), OPERATOR.paths[-1]
        if direction == "read":
            path.forward(OPERATOR.arguments(*args))
        else:
            path.backward_of("positions", grad, OPERATOR.arguments(*args)) if direction == "move" else path.backward(
                grad, OPERATOR.arguments(*args)
            )

    return Launch(call, wide=2 if direction == "scatter" else 1)


LAUNCHES = {
    "values": launch("read", 3, torch.float32),
    "gradient of the field": launch("move", 3, torch.float32),
    "gradient of the values": launch("scatter", 3, torch.bfloat16),
    "gradient of the values, double": launch("scatter", 2, torch.float64),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
