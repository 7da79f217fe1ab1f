"""The Jacobian and hyperelasticity in Triton: held to the references, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move

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


def test_a_spread_is_left_to_the_reference() -> None:
    args = (torch.zeros(1, 2, 8, 9), None, "sdlog", 0.1, "forward", [1.0, 1.0], "interior", True)
    assert "sdlog has no triton kernel" in JACOBIAN.PENALTY.paths[-1].reasons(args)


def launch(what: str, stencil: str, direction: str, mask: bool = False) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        field, weight = torch.empty(1, 3, 8, 8, 8), torch.empty(1, 1, 8, 8, 8) if mask else None
        operator, first = (JACOBIAN.PENALTY, what) if what != "hyperelastic" else (HYPERELASTIC, [1.0, 1.0, 1.0])
        args = (field, weight, first, 0.1, stencil, [1.0] * 3, "interior", True)
        path = operator.paths[-1]
        path.forward(args) if direction == "forward" else path.backward(torch.empty(1), args)

    return Launch(call, wide=0)  # neighbours along a row do not lie at multiples of 16 bytes


LAUNCHES = {
    "folding": launch("folding", "forward", "forward"),
    "log, all, gradient": launch("log", "all", "backward", mask=True),
    "hyperelastic, gradient": launch("hyperelastic", "forward", "backward"),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
