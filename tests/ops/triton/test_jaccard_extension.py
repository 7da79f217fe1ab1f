"""``jaccard_extension`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops.jaccard_extension import OPERATOR
from medloss.ops.jaccard_extension import triton_launch as path


def maps(errors: str, *shape: int) -> Tensor:
    """Of few levels: many errors are equal, and which of them comes first shows in the gradient. An activation's
    rounding would make equals of others than the reference's."""
    if errors in ("softmax", "sigmoid"):
        return 2 * torch.randn(shape, dtype=torch.float64)
    return torch.randint(-4, 5, shape).double() / (8 if errors == "none" else 2) + 0.5 * (errors == "none")


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("errors", ["softmax", "sigmoid", "none", "hinge"])
@pytest.mark.parametrize(("classes", "shape"), [(1, (1,)), (3, (23,)), (5, (5, 4, 6))], ids=str)
def test_equals_the_reference(classes, shape, errors, joined, poisoned) -> None:
    """Labels beyond the classes, an ignored one, an empty class, weights of voxels and classes, memberships."""
    x, labels = maps(errors, 2, classes, *shape), torch.randint(-1, classes + 1, (2, 1, *shape))
    labels[labels == classes - 1] = 0
    mask = torch.rand(2, 1, *shape).double() * (torch.rand(2, 1, *shape) > 0.3)
    each = (torch.rand(2, classes, *shape) > 0.3).double()
    cases = [
        (labels.to(torch.int16), None, True, None),
        (labels, mask, True, 0),
        (torch.rand(2, classes, *shape).double(), each, False, None),
    ]
    for target, weight, indexed, ignore in cases[joined:]:
        compare(OPERATOR, move((x, target, weight, errors, indexed, ignore, joined, min(classes - 1, int(joined)))))


@pytest.mark.parametrize("joined", [False, True])
def test_groups_of_rows_change_nothing(joined, monkeypatch) -> None:
    """And a row is longer than a block."""
    monkeypatch.setattr(path, "BLOCK", 16)
    x, labels = maps("softmax", 2, 3, 20), torch.randint(0, 3, (2, 1, 20))
    args = move((x, labels, None, "softmax", True, None, joined, 1))
    compare(OPERATOR, args)
    whole = value_and_gradient(OPERATOR, "triton", args)
    monkeypatch.setattr(path, "SCRATCH_BYTES", 1)
    parts = value_and_gradient(OPERATOR, "triton", args)
    assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_types_and_layouts(dtype) -> None:
    """Errors that float32 keeps apart: what it rounds to the same has another order."""
    x = torch.randperm(2 * 7 * 5 * 3).view(2, 7, 5, 3).to(dtype).movedim(-1, 1) / 32
    compare(OPERATOR, move((x, torch.randint(0, 3, (2, 1, 7, 5)), None, "hinge", True, None, False, 0)))


def test_under_a_mask_nothing_is_looked_at_and_nan_stays() -> None:
    x, target, mask = torch.randn(2, 3, 9, 5), torch.rand(2, 3, 9, 5), torch.rand(2, 1, 9, 5) > 0.5
    options = ("softmax", False, None, False, 0)
    args = move((torch.where(mask, x, torch.nan), torch.where(mask, target, torch.inf), mask, *options))
    clean = move((x, target, mask, *options))
    for found, expected in zip(*(value_and_gradient(OPERATOR, "triton", each) for each in (args, clean)), strict=True):
        assert torch.equal(found, expected)
    x[0, 1, 0, 0] = torch.nan
    value, gradient = value_and_gradient(OPERATOR, "triton", move((x, target, None, *options)))
    assert value[0, :, 0].isnan().all()
    assert not value[1].isnan().any()
    assert gradient[0, :, 0, 0].isnan().all()


def test_reasons() -> None:
    x, target = torch.zeros(1, 300, 4), torch.zeros(1, 300, 4)
    told = OPERATOR.paths[-1].reasons(
        OPERATOR.arguments(*move((x, target, None, "softmax", False, None, False, 0))), ("input", "target")
    )
    assert told[-2:] == ["300 classes are more than 256", "a gradient of target is asked for"]


def launch(direction: str, classes: int, dtype: torch.dtype, indexed: bool = True, edge: int = 64) -> Launch:
    """A call on tensors that are never written; what is sorted is read wherever it lies."""

    def call() -> None:
        x, shape = torch.empty(1, classes, edge, edge, edge, dtype=dtype), (edge, edge, edge)
        target = torch.empty(1, 1, *shape, dtype=torch.uint8) if indexed else torch.empty(1, classes, *shape)
        args, path = (x, target, None, "softmax", indexed, None, False, 0), OPERATOR.paths[-1]
        path.forward(OPERATOR.arguments(*args)) if direction == "forward" else path.backward(
            torch.empty(1, classes, 3), OPERATOR.arguments(*args)
        )

    return Launch(call, wide=2)


LAUNCHES = {
    "14 classes": launch("forward", 14, torch.float32, edge=16),
    "14 classes, memberships, gradient": launch("backward", 14, torch.float32, False, edge=16),
    "105 classes, bf16, gradient": launch("backward", 105, torch.bfloat16, edge=16),
    "4 classes, double, gradient": launch("backward", 4, torch.float64, edge=16),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
