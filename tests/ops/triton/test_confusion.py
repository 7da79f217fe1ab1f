"""``confusion`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops import triton_volume
from medloss.ops.confusion import OPERATOR


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize(("classes", "shape"), [(1, (1,)), (5, (7, 9, 8)), (37, (5, 7))])
def test_equals_the_reference(activation: str, classes: int, shape: tuple[int, ...]) -> None:
    """Labels beyond the classes, an ignored one, empty classes, weights of voxels and classes, memberships."""
    x, labels = 4 * torch.randn(2, classes, *shape), torch.randint(-1, classes + 2, (2, 1, *shape))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    cases = [
        (labels.to(torch.int16), mask, True, -1),
        (labels, torch.rand(2, classes, *shape) * (torch.rand(2, classes, *shape) > 0.3), True, None),
        (torch.rand(2, classes, *shape), torch.rand(2, classes, *shape) > 0.3, False, None),
    ]
    for target, weight, indexed, ignore in cases:
        compare(OPERATOR, move((x, target, weight, activation, indexed, ignore)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
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


def test_reasons() -> None:
    x, target = torch.zeros(1, 65, 4, dtype=torch.float64), torch.zeros(1, 65, 4)
    assert OPERATOR.paths[-1].reasons(
        OPERATOR.arguments(*move((x, target, None, "softmax", False, None))), ("input", "mask")
    )[-3:] == [
        "input is double, which the tensor cores do not multiply",
        "memberships of 65 classes are more than 64",
        "a gradient of mask is asked for",
    ]


def launch(direction: str, classes: int, dtype: torch.dtype, indexed: bool = True, edge: int = 64) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        x, shape = torch.empty(2, classes, edge, edge, edge, dtype=dtype), (edge, edge, edge)
        target = torch.empty(2, 1, *shape, dtype=torch.uint8) if indexed else torch.empty(2, classes, *shape)
        args, path = (x, target, None, "softmax", indexed, None), OPERATOR.paths[-1]
        path.forward(OPERATOR.arguments(*args)) if direction == "sums" else path.backward(
            torch.empty(2, classes, classes), OPERATOR.arguments(*args)
        )

    return Launch(call, wide=0 if edge == 1 else 1)


FLOAT, HALF = torch.float32, torch.bfloat16
LAUNCHES = {
    f"{direction}, {name}": launch(direction, *options)
    for direction in ("sums", "gradient")
    for name, options in {
        "14 classes": (14, FLOAT),
        "105 classes, bf16": (105, HALF),
        "64 classes, memberships": (64, FLOAT, False),
        "one voxel": (1, FLOAT, True, 1),
    }.items()
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
