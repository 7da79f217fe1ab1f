"""The Jacobian and hyperelasticity in Triton: held to the references, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

JACOBIAN = sys.modules["medloss.ops.jacobian"]
HYPERELASTIC = sys.modules["medloss.ops.hyperelastic"].OPERATOR
SHAPES = {1: (2, 1, 17), 2: (2, 2, 7, 9), 3: (1, 3, 4, 5, 8)}
AXES = [0.8, 1.3, 2.0]


def masked(field: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A field with NaN under a mask of weights."""
    kept = torch.rand(field.shape[0], 1, *field.shape[2:]) > 0.1
    return field.masked_fill(~kept, torch.nan), kept * torch.rand(kept.shape)


@pytest.mark.parametrize(
    ("penalty", "stencil", "rank", "border"),
    [
        ("log", "all", 1, "interior"),
        ("volume", "backward", 2, "interior"),
        ("log", "central", 2, "replicate"),
        ("folding", "all", 2, "replicate"),
        ("hinge", "central", 3, "interior"),
        ("hinge", "forward", 2, "replicate"),
        ("log", "forward", 3, "interior"),
        ("volume", "all", 3, "replicate"),
    ],
)
def test_penalties(penalty, stencil, rank, border, poisoned) -> None:
    """The map under a mask with NaN beneath, and the sums without one, of a field that folds."""
    field, axes = 0.5 * torch.randn(SHAPES[rank], dtype=torch.float64), AXES[:rank]
    compare(JACOBIAN.PENALTY, move((field, None, penalty, 0.3, stencil, axes, border, True)))
    if (stencil, rank) != ("all", 3):  # whose sixty ends of edges the interpreter takes seconds for
        compare(JACOBIAN.PENALTY, move((*masked(field), penalty, 0.3, stencil, axes, border, False)))


@pytest.mark.parametrize(("stencil", "rank"), [("central", 1), ("all", 2), ("forward", 3)])
def test_determinants(stencil, rank, poisoned) -> None:
    field, axes = 0.5 * torch.randn(SHAPES[rank], dtype=torch.float64), AXES[:rank]
    compare(JACOBIAN.DETERMINANT, move((field, None, stencil, axes, "replicate")))
    compare(JACOBIAN.DETERMINANT, move((*masked(field), stencil, axes, "interior")))


@pytest.mark.parametrize(
    ("stencil", "rank", "border"), [("central", 1, "interior"), ("forward", 2, "replicate"), ("forward", 3, "interior")]
)
def test_hyperelasticity(stencil, rank, border, poisoned) -> None:
    field, axes = 0.5 * torch.randn(SHAPES[rank], dtype=torch.float64), AXES[:rank]
    compare(HYPERELASTIC, move((field, None, [1.0, 0.7, 0.2], 0.3, stencil, axes, border, True)))
    compare(HYPERELASTIC, move((*masked(field), [1.0, 0.7, 0.2], 0.3, stencil, axes, border, False)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision(dtype) -> None:
    field = (0.1 * torch.rand(1, 2, 8, 9)).to(dtype)
    compare(JACOBIAN.PENALTY, move((field, None, "log", 0.1, "forward", [1.0, 1.0], "interior", True)))


@pytest.mark.parametrize(
    ("stencil", "rank", "border"),
    [("all", 1, "interior"), ("central", 2, "replicate"), ("forward", 3, "interior")],
)
def test_spreads(stencil, rank, border, poisoned) -> None:
    """Of a field that folds, with and without weights."""
    field, axes = 0.5 * torch.randn(SHAPES[rank], dtype=torch.float64), AXES[:rank]
    if rank != 3:
        compare(JACOBIAN.PENALTY, move((field, None, "sdlog", 0.3, stencil, axes, border, False)))
    compare(JACOBIAN.PENALTY, move((*masked(field), "sdlog", 0.3, stencil, axes, border, True)))


def test_a_spread_far_from_its_mean() -> None:
    """In single precision: what doubles all volumes has logarithms much larger than their spread."""
    field = 0.01 * torch.randn(2, 2, 7, 9) + torch.arange(9.0)
    compare(JACOBIAN.PENALTY, move((field, None, "sdlog", 0.3, "all", [1.0, 1.0], "interior", False)), scale=3)


def test_a_spread_of_nothing() -> None:
    """Of a field that changes no volume, of one under a mask, of one that is no number; and the path's own backward."""
    field, path = torch.zeros(3, 2, 6, 7), JACOBIAN.PENALTY.paths[-1]
    mask = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 6, 7)
    field[1], field[2, 0, 3, 3] = torch.inf, torch.nan
    args = move((field, mask, "sdlog", 0.1, "forward", [1.0, 1.0], "interior", False))
    value, gradient = value_and_gradient(JACOBIAN.PENALTY, "triton", args)
    assert value[:2].tolist() == [0, 0]
    assert value[2].isnan()
    assert not gradient[:2].any()
    args = (torch.randn(3, 2, 6, 7).to(args[0]), *args[1:])
    cotangent = torch.randn(3).to(args[0])
    value, kept = path.forward_keeping(JACOBIAN.PENALTY.arguments(*args))
    assert torch.equal(value, path.forward(JACOBIAN.PENALTY.arguments(*args)))
    assert torch.equal(
        path.backward_from(kept, cotangent, JACOBIAN.PENALTY.arguments(*args)),
        path.backward(cotangent, JACOBIAN.PENALTY.arguments(*args)),
    )


def launch(what: str, stencil: str, direction: str, mask: bool = False) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        field, weight = torch.empty(1, 3, 8, 8, 8), torch.empty(1, 1, 8, 8, 8) if mask else None
        operator, first = (JACOBIAN.PENALTY, what) if what != "hyperelastic" else (HYPERELASTIC, [1.0, 1.0, 1.0])
        args = (field, weight, first, 0.1, stencil, [1.0] * 3, "interior", True)
        path = operator.paths[-1]
        path.forward(operator.arguments(*args)) if direction == "forward" else path.backward(
            torch.empty(1), operator.arguments(*args)
        )

    return Launch(call, wide=0)  # neighbours along a row do not lie at multiples of 16 bytes


LAUNCHES = {
    "folding": launch("folding", "forward", "forward"),
    "log, all, gradient": launch("log", "all", "backward", mask=True),
    "sdlog": launch("sdlog", "forward", "forward", mask=True),
    "sdlog, gradient": launch("sdlog", "forward", "backward"),
    "hyperelastic, gradient": launch("hyperelastic", "forward", "backward"),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
