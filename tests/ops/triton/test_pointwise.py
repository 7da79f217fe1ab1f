"""``pointwise`` of logits in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops import triton_volume
from medloss.ops.pointwise import ACTIVATIONS, LIKELIHOODS, OPERATOR
from medloss.ops.pointwise.penalties import LOGITS, SMOOTHED

PENALTIES = [
    ("softmax", 0.0), ("softmax", 2.0), ("softmax", 1.5), ("sigmoid", 0.0), ("sigmoid", 1.5), ("poly_softmax", 1.0),
    ("poly_sigmoid", 1.0), ("power_softmax", 0.7), ("power_sigmoid", 0.7), ("smoothed_sigmoid", 0.2), ("margin", 1.0),
    ("reverse_softmax", 4.0),
]  # fmt: skip
GIVEN = [(False, False), (False, True), (True, False), (True, True)]
"""Whether the voxels, and whether the classes are summed over."""


def arguments(
    x: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None, penalty: str, **options: object
) -> tuple[object, ...]:
    """All of the operator's, on the kernels' device."""
    named = {"indexed": True, "ignore": None, "gamma": 0.0, "yes": None, "no": None, "given": (False, False)} | options
    reduce, joined = named["given"]
    return move((x, target, mask, penalty, named["indexed"], named["ignore"], named["gamma"], named["yes"],
                 named["no"], reduce, 1.0, joined))  # fmt: skip


@pytest.mark.parametrize(("penalty", "gamma"), PENALTIES)
def test_equals_the_reference(penalty: str, gamma: float) -> None:
    """Labels beyond the classes, an ignored one, weights of voxels and of classes, memberships, factors."""
    for at, (classes, shape) in enumerate([(1, (1,)), (5, (7, 5, 4)), (37, (5, 7))]):
        x, labels = 4 * torch.randn(2, classes, *shape), torch.randint(-1, classes + 2, (2, 1, *shape))
        mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
        each = torch.rand(2, classes, *shape) * (torch.rand(2, classes, *shape) > 0.3)
        soft = (2 * torch.rand(2, classes, *shape) - 0.5).clamp(0, 1)
        options = {"gamma": gamma, "yes": torch.rand(classes), "no": torch.rand(classes)}
        cases = [
            (labels.to(torch.int16), mask, {"ignore": -1, **options}),
            (labels, each, {"gamma": gamma}),
            (soft, mask > 0, {"indexed": False, **options}),
            (labels.to(torch.uint8), None, {"gamma": gamma}),
        ]
        for index, (target, weight, rest) in enumerate(cases):
            compare(OPERATOR, arguments(x, target, weight, penalty, given=GIVEN[(index + at) % 4], **rest))


def test_every_penalty_of_the_reference_is_tested() -> None:
    assert {name for name, _ in PENALTIES} == {*ACTIVATIONS, *LIKELIHOODS, SMOOTHED, *LOGITS}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_and_layouts(dtype: torch.dtype) -> None:
    x = (4 * torch.randn(2, 7, 11, 4)).to(dtype).movedim(-1, 1)
    for given in GIVEN[:3]:
        compare(OPERATOR, arguments(x, torch.randint(0, 4, (2, 1, 7, 11)), None, "softmax", gamma=2.0, given=given))


def test_a_program_walks_over_many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_volume, "PROGRAMS", 2)
    x, labels = torch.randn(1, 3, 13, 14, 15), torch.randint(0, 3, (1, 1, 13, 14, 15))
    for given in GIVEN:
        compare(OPERATOR, arguments(x, labels, None, "softmax", given=given))


@pytest.mark.parametrize("penalty", ["softmax", "sigmoid", "margin", "reverse_softmax"])
def test_under_a_mask_nothing_is_looked_at(penalty: str) -> None:
    x, target, mask = torch.randn(2, 3, 9, 9), torch.rand(2, 3, 9, 9), torch.rand(2, 1, 9, 9) > 0.5
    options = {"indexed": False, "gamma": 1.5}
    poisoned = torch.where(mask, x, torch.nan), torch.where(mask, target, torch.inf)
    pair = (arguments(*both, mask, penalty, **options) for both in (poisoned, (x, target)))
    for found, expected in zip(*(value_and_gradient(OPERATOR, "triton", args) for args in pair), strict=True):
        assert torch.equal(found, expected)


def test_a_nan_that_counts_stays_a_nan() -> None:
    x, labels = torch.randn(1, 3, 40), torch.randint(0, 3, (1, 1, 40))
    x[0, :, 7] = torch.nan
    for penalty, gamma in PENALTIES:
        value, gradient = value_and_gradient(OPERATOR, "triton", arguments(x, labels, None, penalty, gamma=gamma))
        assert value[0, :, 7].isnan().any()
        assert gradient[0, :, 7].isnan().all()
        assert value.isnan().sum() <= 3
        assert gradient.isnan().sum() == 3


def test_reasons() -> None:
    x, path = torch.zeros(1, 3, 4), OPERATOR.paths[-1]
    needs = ("input", "target", "positive")
    found = path.reasons(
        OPERATOR.arguments(
            *arguments(x, x, torch.ones(1, 1, 2), "softmax", indexed=True, gamma=-1.0, yes=torch.ones(2))
        ),
        needs,
    )
    assert found[-5:] == [
        "target is no map of the input's shape, but [1, 3, 4]",
        "the mask does not fit the input",
        "the factors are not those of 3 classes",
        "the focal exponent is below 0",
        "a gradient of target and positive is asked for",
    ]


def launch(direction: str, classes: int, dtype: torch.dtype, penalty: str, given: tuple[bool, bool]) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        x, edge = torch.empty(2, classes, 64, 64, 64, dtype=dtype), (64, 64, 64)
        labels, path, (reduce, joined) = torch.empty(2, 1, *edge, dtype=torch.uint8), OPERATOR.paths[-1], given
        for gamma in (1.5, 1.6):  # which share a kernel
            args = arguments(x, labels, None, penalty, gamma=gamma, given=given)
            if direction == "value":
                path.forward(OPERATOR.arguments(*args))
            else:
                path.backward(
                    torch.empty(2, 1 if joined else classes, *(() if reduce else edge)), OPERATOR.arguments(*args)
                )

    return Launch(call, wide=1)


FLOAT, HALF = torch.float32, torch.bfloat16
LAUNCHES = {
    "value, 14 classes": launch("value", 14, FLOAT, "softmax", (False, True)),
    "value, power, sums": launch("value", 14, FLOAT, "power_sigmoid", (True, False)),
    "gradient, 14 classes": launch("gradient", 14, FLOAT, "softmax", (False, True)),
    "gradient, 105 classes, bf16": launch("gradient", 105, HALF, "softmax", (False, True)),
    "gradient, sigmoid, the map": launch("gradient", 4, FLOAT, "sigmoid", (False, False)),
    "gradient, margin": launch("gradient", 14, FLOAT, "margin", (True, False)),
    "gradient, reverse": launch("gradient", 14, FLOAT, "reverse_softmax", (False, True)),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))


def test_two_numbers_of_a_penalty_share_a_kernel(compile_ahead) -> None:
    """As a schedule would else compile one at every epoch."""
    for label, kernels in compile_ahead(__file__, 90).items():
        assert len(kernels) == 1 + ("sums" in label), label
