"""``differences`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move

from medloss.ops.differences import triton_launch
from medloss.ops.differences.stencils import composed, terms_of

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


@pytest.mark.parametrize(
    ("energy", "stencil", "border", "shape"),
    [
        ("bending", "compact", "interior", (2, 3, 7, 9, 11)),
        ("bending", "wide", "replicate", (1, 2, 9, 10)),
        ("bending", "compact", "interior", (1, 3, 4, 9, 11)),
        ("diffusion", "forward", "interior", (1, 3, 5, 6, 35)),
        ("diffusion", "central", "interior", (1, 1, 13)),
        ("curvature", "compact", "replicate", (1, 2, 6, 7, 8)),
    ],
)
def test_the_inside_and_what_is_around_it(energy, stencil, border, shape, poisoned, monkeypatch) -> None:
    """One stencil inside of the volume, all others near its border; a depth of 4 has no inside of bending's."""
    monkeypatch.setattr(triton_launch, "LEAST_INTERIOR", 0)
    field, rank = torch.randn(shape, dtype=torch.float64), len(shape) - 2
    axes, components = [0.8, 1.3, 2.0][:rank], [1.5, 1.0, 0.5][: shape[1]]
    compare(OPERATOR, move((field, None, energy, stencil, axes, components, True, border, None)))
    field = (100 + torch.randn(shape)).float()  # large displacements that hardly differ keep their digits
    compare(OPERATOR, move((field, None, energy, stencil, axes, [1.0], True, border, None)), scale=2)
    at = tuple(size // 2 for size in shape)
    field[at] = torch.nan
    compare(OPERATOR, move((field.double(), None, energy, stencil, axes, [1.0], True, border, None)))


def test_a_composed_stencil_is_the_bilaplacian() -> None:
    """Of bending in one dimension: the square of a second derivative gives twice a fourth, 1 -4 6 -4 1."""
    (term,) = terms_of("bending", "compact", [1.0], [1.0], [1.0, 1.0])
    assert composed([term]) == {(-2,): 2.0, (-1,): -8.0, (0,): 12.0, (1,): -8.0, (2,): 2.0}


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
        path.forward(OPERATOR.arguments(*args)) if direction == "forward" else path.backward(
            torch.empty(1, 3), OPERATOR.arguments(*args)
        )

    return Launch(call, wide=0)  # neighbours along a row do not lie at multiples of 16 bytes


LAUNCHES = {
    "bending": launch("bending", "compact", "forward"),
    "bending, gradient": launch("bending", "compact", "backward"),
    "elasticity, gradient": launch("elasticity", "central", "backward", mask=True, dtype=torch.bfloat16),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
