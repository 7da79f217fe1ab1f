"""``squared_errors`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops import triton_volume
from medloss.ops.squared_errors import OPERATOR


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize(("classes", "shape", "first"), [(1, (1,), 0), (5, (7, 9, 8), 1), (19, (5, 7), 0)])
def test_equals_the_reference(activation: str, classes: int, shape: tuple[int, ...], first: int) -> None:
    """Labels beyond the classes, an ignored one, empty classes, weights of voxels and classes, memberships."""
    x, labels = 4 * torch.randn(2, classes, *shape), torch.randint(-1, classes + 2, (2, 1, *shape))
    cost = torch.rand(2, classes - first, *shape)
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    each = torch.rand(2, classes, *shape) * (torch.rand(2, classes, *shape) > 0.3)
    cases = [
        (labels.to(torch.int16), mask, True, -1),
        (labels, each, True, None),
        (torch.rand(2, classes, *shape), torch.rand(2, classes, *shape) > 0.3, False, None),
    ]
    for target, weight, indexed, ignore in cases:
        compare(OPERATOR, move((x, target, cost, weight, activation, indexed, ignore, first)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_layouts_and_nan(dtype: torch.dtype) -> None:
    x, cost = (4 * torch.randn(2, 7, 11, 4)).to(dtype).movedim(-1, 1), torch.rand(2, 3, 11, 7).mT
    labels = torch.randint(0, 4, (2, 1, 7, 11))
    compare(OPERATOR, move((x, labels, cost, None, "softmax", True, None, 1)))
    x[0, 1, 2, 3] = torch.nan
    compare(OPERATOR, move((x, labels, cost, None, "softmax", True, None, 1)))


def test_a_program_walks_over_many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_volume, "PROGRAMS", 1)
    x, labels = torch.randn(1, 3, 16, 16, 16), torch.randint(0, 3, (1, 1, 16, 16, 16))
    compare(OPERATOR, move((x, labels, torch.rand(1, 3, 16, 16, 16), None, "softmax", True, None, 0)))


def test_under_a_mask_nothing_is_looked_at() -> None:
    x, target, cost, mask = (
        torch.randn(2, 3, 9, 9),
        torch.rand(2, 3, 9, 9),
        torch.rand(2, 3, 9, 9),
        torch.ones(2, 1, 9, 9),
    )
    mask[:, :, 2:5] = 0
    seen = mask > 0
    dirty = [torch.where(seen, tensor, torch.nan) for tensor in (x, target, cost)]
    found, expected = (
        value_and_gradient(OPERATOR, "triton", move((*maps, mask, "softmax", False, None, 0)))
        for maps in (dirty, (x, target, cost))
    )
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def launch(direction: str, classes: int, dtype: torch.dtype) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        x, shape = torch.empty(2, classes, 64, 64, 64, dtype=dtype), (64, 64, 64)
        target, cost = torch.empty(2, 1, *shape, dtype=torch.uint8), torch.empty(2, classes - 1, *shape)
        args, path = (x, target, cost, None, "softmax", True, None, 1), OPERATOR.paths[-1]
        path.forward(OPERATOR.arguments(*args)) if direction == "sums" else path.backward(
            torch.empty(2, classes - 1), OPERATOR.arguments(*args)
        )

    return Launch(call, wide=1)


LAUNCHES = {
    f"{direction}, {classes} classes": launch(direction, classes, dtype)
    for direction in ("sums", "gradient")
    for classes, dtype in ((4, torch.float32), (105, torch.bfloat16))
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
