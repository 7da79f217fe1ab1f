"""``region_loss`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move

from medloss.ops import COLUMNS, Column, Terms
from medloss.ops.region_loss import OPERATOR

ALL = int(
    Terms.SQUARES | Terms.DIFFERENCE | Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL | Terms.ERRORS | Terms.NEGATIVES
)


def columns(**coefficients: float) -> list[float]:
    """The entries of a linear form of the columns."""
    return [coefficients.get(column.name.lower(), 0.0) for column in map(Column, range(COLUMNS))]


ABOVE = columns(nll_true=0.9, nll_false=0.8, nll_all=0.05, focal_true=0.5, focal_false=0.25)
UNEVEN = columns(overlap=-2, input_squares=0.3, common=-0.1, false_positive=0.2)
QUOTIENT = [0.7, 1.0, 0.1, 0.2, *UNEVEN, *columns(input=1, target=1)]
BY_TARGET = [1.3, *ABOVE, *columns(target=1)]
BY_VOXELS = [0.6, *ABOVE, *columns(voxels=1)]


@pytest.mark.parametrize(
    ("quotient", "share", "first", "joined", "skip", "mean"),
    [
        (QUOTIENT, [], 1, False, False, True),
        ([], BY_TARGET, 0, False, False, True),
        (QUOTIENT, BY_TARGET, 1, True, True, True),
        (QUOTIENT, BY_VOXELS, 0, False, True, True),
        (QUOTIENT, BY_VOXELS, 0, False, False, False),
    ],
)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_equals_the_reference(
    activation: str, quotient: list[float], share: list[float], first: int, joined: bool, skip: bool, mean: bool
) -> None:
    """A class that no voxel has, an ignored label, and a sample without a voxel."""
    x, labels = 2 * torch.randn(3, 5, 7, 6), torch.randint(0, 4, (3, 1, 7, 6))
    mask = torch.rand(3, 1, 7, 6) * (torch.rand(3, 1, 7, 6) > 0.3)
    mask[2] = 0
    factors, positive, negative = torch.rand(3, 5)
    for weight, ignore, tensors in ((None, None, (None, None, None)), (mask, 1, (factors, positive, negative))):
        form = (quotient, tensors[0], first, joined, skip, share, *tensors[1:], first, mean)
        compare(OPERATOR, move((x, labels, weight, activation, True, ignore, ALL, 1.5, *form)))


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(("batch", "classes"), [(1, 1), (5, 3), (67, 2)])
def test_more_samples_than_are_looked_at_together(batch: int, classes: int, joined: bool) -> None:
    x, labels = torch.randn(batch, classes, 3, 2), torch.randint(0, classes, (batch, 1, 3, 2))
    form = (QUOTIENT, torch.rand(classes), 0, joined, True, BY_TARGET, None, None, 0, True)
    compare(OPERATOR, move((x, labels, None, "sigmoid", True, None, ALL, 1.5, *form)))


def test_nothing_counts() -> None:
    x, labels, mask = torch.randn(2, 3, 5, 4), torch.randint(0, 3, (2, 1, 5, 4)), torch.zeros(2, 1, 5, 4)
    form = (QUOTIENT, None, 0, False, False, BY_TARGET, None, None, 0, True)
    compare(OPERATOR, move((x, labels, mask, "softmax", True, None, ALL, 1.5, *form)))


def launch(direction: str, classes: int, dtype: torch.dtype) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        x, target = torch.empty(2, classes, 64, 64, 64, dtype=dtype), torch.empty(2, 1, 64, 64, 64, dtype=torch.uint8)
        path, volume = OPERATOR.paths[-1], (x, target, None, "softmax", True, None, int(Terms.LIKELIHOOD), 0.0)
        for weight in (1.0, 0.5):  # which share a kernel
            quotient, share = ([weight * number for number in numbers] for numbers in (QUOTIENT, BY_TARGET))
            args = (*volume, quotient, torch.empty(classes), 1, False, False, share, None, None, 0, True)
            path.forward(OPERATOR.arguments(*args)) if direction == "value" else path.backward(
                torch.empty(()), OPERATOR.arguments(*args)
            )

    return Launch(call, wide=1)


LAUNCHES = {
    f"value, {classes} classes": launch("value", classes, dtype)
    for classes, dtype in ((4, torch.float32), (105, torch.bfloat16))
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))


def test_two_weights_share_a_kernel(compile_ahead) -> None:
    """As a schedule of them would else compile one at every epoch."""
    for kernels in compile_ahead(__file__, 90).values():
        assert [kernel.name for kernel in kernels] == ["forward", "add_rows", "region_loss"]
