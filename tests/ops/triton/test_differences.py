"""``differences`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move

OPERATOR = sys.modules["medloss.ops.differences"].OPERATOR
SHAPES = {1: (2, 1, 17), 2: (2, 2, 7, 9), 3: (1, 3, 6, 5, 8)}


@pytest.mark.parametrize(
    ("energy", "stencil", "rank", "border"),
    [
        ("diffusion", "central", 1, "interior"),
        ("diffusion", "forward", 3, "interior"),
        ("variation", "forward", 2, "replicate"),
        ("bending", "compact", 3, "interior"),
        ("bending", "wide", 2, "replicate"),
        ("curvature", "compact", 2, "interior"),
        ("elasticity", "central", 3, "interior"),
        ("elasticity", "forward", 2, "replicate"),
    ],
)
def test_equals_the_reference(energy, stencil, rank, border, poisoned) -> None:
    """The map under a mask with NaN beneath, and the sums without one; all axes and components differ in scale."""
    field = torch.randn(SHAPES[rank], dtype=torch.float64)
    axes, components = [0.8, 1.3, 2.0][:rank], [1.5, 1.0, 0.5][:rank]
    lame = [2.0, 0.7] if energy == "elasticity" else None
    if rank < 3 or energy == "bending":
        compare(OPERATOR, move((field, None, energy, stencil, axes, components, True, border, lame)))
    kept = torch.rand(field.shape[0], 1, *field.shape[2:]) > 0.1
    field.masked_fill_(~kept, torch.nan)
    mask = kept * torch.rand(kept.shape)
    compare(OPERATOR, move((field, mask, energy, stencil, axes, components, False, border, lame)))


def test_an_axis_that_is_not_differentiated() -> None:
    field = torch.randn(1, 2, 5, 2, 6, dtype=torch.float64)
    compare(OPERATOR, move((field, None, "bending", "compact", [1.0, 0.0, 2.0], [1.0, 1.0], False, "interior", None)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision(dtype) -> None:
    """Large displacements that hardly differ keep their digits, as differences come first."""
    field = (100 + torch.randn(1, 2, 8, 9)).to(dtype)
    compare(OPERATOR, move((field, None, "curvature", "compact", [0.7, 1.1], [1.0], True, "interior", None)))


def launch(energy: str, stencil: str, direction: str, mask: bool = False, dtype: torch.dtype = torch.float32) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        field = torch.empty(1, 3, 128, 128, 128, dtype=dtype)
        weight = torch.empty(1, 1, 8, 8, 8).expand(1, 1, 8, 8, 8) if mask else None
        field = field[..., :8, :8, :8] if mask else field
        args = (field, weight, energy, stencil, [1.0] * 3, [1.0] * 3, True, "interior", None)
        path = OPERATOR.paths[-1]
        path.forward(args) if direction == "forward" else path.backward(torch.empty(1, 3), args)

    return Launch(call, wide=0)  # neighbours along a row do not lie at multiples of 16 bytes


LAUNCHES = {
    "bending": launch("bending", "compact", "forward"),
    "bending, gradient": launch("bending", "compact", "backward"),
    "elasticity, gradient": launch("elasticity", "central", "backward", mask=True, dtype=torch.bfloat16),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
