"""``confusion`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops import triton_volume
from medloss.ops.confusion import OPERATOR


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize(("classes", "shape"), [(1, (1,)), (3, (7, 13)), (5, (7, 9, 8)), (37, (5, 7))])
def test_equals_the_reference(activation: str, classes: int, shape: tuple[int, ...]) -> None:
    """Labels beyond the classes, an ignored one, empty classes, weights of voxels and classes, memberships."""
    x, labels = 4 * torch.randn(2, classes, *shape), torch.randint(-1, classes + 2, (2, 1, *shape))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    cases = [
        (labels.to(torch.int16), mask, True, -1),
        (torch.rand(2, classes, *shape), torch.rand(2, classes, *shape) > 0.3, False, None),
    ]
    for target, weight, indexed, ignore in cases:
        compare(OPERATOR, move((x, target, weight, activation, indexed, ignore)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_and_layouts(dtype: torch.dtype) -> None:
    x = (4 * torch.randn(2, 7, 11, 4)).to(dtype).movedim(-1, 1)
    compare(OPERATOR, move((x, torch.randint(0, 4, (2, 1, 7, 11)), None, "softmax", True, None)))


def test_a_program_walks_over_many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_volume, "PROGRAMS", 2)
    compare(
        OPERATOR,
        move((torch.randn(1, 3, 10, 10, 10), torch.randint(0, 3, (1, 1, 10, 10, 10)), None, "softmax", True, None)),
    )


def test_under_a_mask_nothing_is_looked_at() -> None:
    x, target, mask = torch.randn(2, 3, 9, 9), torch.rand(2, 3, 9, 9), torch.rand(2, 1, 9, 9) > 0.5
    args = move((torch.where(mask, x, torch.nan), torch.where(mask, target, torch.inf), mask, "softmax", False, None))
    clean = move((x, target, mask, "softmax", False, None))
    for found, expected in zip(*(value_and_gradient(OPERATOR, "triton", each) for each in (args, clean)), strict=True):
        assert torch.equal(found, expected)


def launch(direction: str, classes: int, dtype: torch.dtype, edge: int = 64, **options) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        x = torch.empty(2, classes, edge, edge, edge, dtype=dtype)
        labels = torch.empty(2, 1, edge, edge, edge, dtype=torch.uint8)
        args, path = (x, labels, None, "softmax", True, None), OPERATOR.paths[-1]
        path.forward(args) if direction == "forward" else path.backward(torch.empty(2, classes, classes), args)

    return Launch(call, wide=0 if edge == 1 else 1)


LAUNCHES = {
    f"{direction}, {classes} classes, {str(dtype)[6:]}, edge {edge}": launch(direction, classes, dtype, edge)
    for direction in ("forward", "backward")
    for classes, dtype, edge in [
        (2, torch.float32, 1),
        (14, torch.float32, 64),
        (105, torch.bfloat16, 64),
        (5, torch.float64, 64),
    ]
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
