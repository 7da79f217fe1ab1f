"""``pointwise`` of two images in Triton: held to the reference in value and both gradients, and compiled ahead."""

from __future__ import annotations

import math

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops import triton_volume
from medloss.ops.pointwise import OPERATOR
from medloss.ops.pointwise.penalties import DIVERGENCE, RESIDUAL

RESIDUALS = [
    ("squared", 0.0), ("absolute", 0.0), ("huber", 0.7), ("charbonnier", 0.0), ("cauchy", 0.0), ("geman_mcclure", 0.0),
    ("welsch", 0.0), ("tukey", 0.0), ("general", 2.0), ("general", 0.0), ("general", -math.inf), ("general", 1.3),
    ("general", -2.5),
]  # fmt: skip
DIVERGENCES = [("kullback_leibler", 1e-6), ("jensen_shannon", 1e-6)]
GIVEN = [(False, False), (False, True), (True, False), (True, True)]
"""Whether the voxels, and whether the channels are summed over."""


def call(x, t, mask, penalty, gamma, given, scale=1.0) -> tuple[object, ...]:
    """All of the operator's arguments, on the kernels' device."""
    reduce, joined = given
    return move((x, t, mask, penalty, False, None, gamma, None, None, reduce, scale, joined))


def images(shape: tuple[int, ...], penalty: str, weight: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images, or distributions with entries of zero; NaN where nothing counts."""
    x, t = 3 * torch.randn(2, *shape, dtype=torch.float64)
    x[..., 0] = t[..., 0] = 0.5
    if penalty in dict(DIVERGENCES):
        x, t = ((z / 10).relu().softmax(2) if z is x else (z / 10).relu() for z in (x, t))
    if weight is None:
        return x, t
    return torch.where(weight > 0, x, torch.nan), torch.where(weight > 0, t, torch.inf)


@pytest.mark.parametrize(("penalty", "gamma"), RESIDUALS + DIVERGENCES)
def test_equals_the_reference(penalty, gamma, poisoned) -> None:
    """By both images; weights of voxels, of channels and of no sample's own; sums over voxels and channels."""
    shapes = [(2, 3, 17), (1, 2, 7, 5), (2, 2, 3, 2, 5)]
    for at, shape in enumerate(shapes):
        size = (1 if at == 0 else shape[0], shape[1] if at == 2 else 1, *shape[2:])
        weight = torch.rand(size, dtype=torch.float64) * (torch.rand(size) > 0.3)
        weight = None if at == 1 else weight
        x, t = images(shape, penalty, weight)
        given = GIVEN[(at + len(penalty)) % 4]
        compare(OPERATOR, call(x, t, weight, penalty, gamma, given, 0.7), index=at % 2)


def test_every_penalty_of_the_reference_is_tested() -> None:
    assert {name for name, _ in RESIDUALS} == set(RESIDUAL)
    assert {name for name, _ in DIVERGENCES} == set(DIVERGENCE)


@pytest.mark.parametrize(
    ("dtype", "given"), list(zip([torch.float32, torch.float16, torch.bfloat16, torch.bfloat16], GIVEN))
)
def test_types_and_layouts(dtype, given) -> None:
    """Channels last; an image of truth values, and one in half precision, whose own the gradient is."""
    x = torch.randn(2, 7, 11, 4).to(dtype).movedim(-1, 1)
    for target in (torch.rand(x.shape) > 0.5, torch.randn(2, 4, 11, 7).mT):
        compare(OPERATOR, call(x, target, None, "huber", 0.5, given))
    compare(OPERATOR, call(x.float(), torch.randn(2, 4, 7, 11).to(dtype), None, "charbonnier", 0.0, given), index=1)


@pytest.mark.parametrize(("penalty", "gamma"), RESIDUALS)
def test_a_small_residual_keeps_its_digits(penalty, gamma) -> None:
    """In single precision, relative to each value, down to a residual whose square is far below one's last digit."""
    r = torch.logspace(-5, 2, 50).view(1, 1, -1)
    args = call(r, torch.zeros_like(r), None, penalty, gamma, (False, False))
    found, slope = value_and_gradient(OPERATOR, "triton", args)
    expected, rise = value_and_gradient(OPERATOR, "reference", (args[0].double(), args[1].double(), *args[2:]))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-30)
    torch.testing.assert_close(slope.double(), rise, rtol=1e-5, atol=1e-14)


def test_a_program_walks_over_many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_volume, "PROGRAMS", 2)
    x, t = torch.randn(2, 1, 2, 13, 14, 15)
    for given in GIVEN:
        compare(OPERATOR, call(x, t, None, "squared", 0.0, given))


def test_a_nan_that_counts_stays_a_nan() -> None:
    x, t = torch.rand(2, 1, 1, 40)
    x[0, 0, 7] = torch.nan
    for penalty, gamma in RESIDUALS + DIVERGENCES:
        value, gradient = value_and_gradient(OPERATOR, "triton", call(x, t, None, penalty, gamma, (False, False)))
        assert value.isnan().nonzero().tolist() == [[0, 0, 7]]
        assert gradient.isnan().nonzero().tolist() == [[0, 0, 7]]


def test_reasons() -> None:
    x, path = torch.zeros(1, 3, 4), OPERATOR.paths[-1]
    needs = ("mask",)
    args = list(call(x, x[:, :1], torch.ones(1, 1, 2), "squared", 0.0, (False, False)))
    assert path.reasons(OPERATOR.arguments(*args), needs)[-3:] == [
        "the mask does not fit the input",
        "target is not an image of the input's shape",
        "a gradient of mask is asked for",
    ]
    args[4] = True
    assert "target is not an image of the input's shape" in path.reasons(OPERATOR.arguments(*args))


def launch(direction: str, penalty: str, dtype: torch.dtype, given: tuple[bool, bool], masked: bool = False) -> Launch:
    """A call on tensors that are never written."""

    def run() -> None:
        x, t = (torch.empty(2, 2, 64, 64, 64, dtype=dtype) for _ in range(2))
        args = call(x, t, torch.empty(2, 1, 64, 64, 64) if masked else None, penalty, 0.5, given)
        reduce, joined = given
        shape = (2, 1 if joined else 2, *(() if reduce else x.shape[2:]))
        OPERATOR.paths[-1].forward(OPERATOR.arguments(*args)) if direction == "value" else OPERATOR.paths[-1].backward(
            torch.empty(shape), OPERATOR.arguments(*args)
        )

    return Launch(run, wide=1)


FLOAT, HALF, DOUBLE = torch.float32, torch.bfloat16, torch.float64
LAUNCHES = {
    "squared, sums": launch("value", "squared", FLOAT, (True, False)),
    "general, joined, mask": launch("value", "general", FLOAT, (False, True), True),
    "squared, gradient, bf16": launch("gradient", "squared", HALF, (True, False)),
    "jensen_shannon, gradient, double, mask": launch("gradient", "jensen_shannon", DOUBLE, (False, False), True),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
