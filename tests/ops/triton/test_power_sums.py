"""``power_sums`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import itertools

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops import triton_volume
from medloss.ops.power_sums import OPERATOR

KINDS = [*itertools.product(["difference"], ["softmax", "sigmoid", "none"]), ("likelihood", "softmax"),
         ("likelihood", "sigmoid")]  # fmt: skip


@pytest.mark.parametrize(("classes", "shape"), [(1, (1,)), (5, (7, 9, 8)), (19, (5, 7))])
@pytest.mark.parametrize(("error", "activation"), KINDS)
def test_equals_the_reference(error: str, activation: str, classes: int, shape: tuple[int, ...]) -> None:
    """Labels beyond the classes, an ignored one, empty classes, weights of voxels and classes, memberships."""
    if classes == 1 and error == "likelihood" and activation == "softmax":
        pytest.skip("a softmax of one class has no likelihood of anything else")
    x, labels = 3 * torch.randn(2, classes, *shape), torch.randint(-1, classes + 2, (2, 1, *shape))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    each = torch.rand(2, classes, *shape) * (torch.rand(2, classes, *shape) > 0.3)
    cases = [
        (labels.to(torch.int16), mask, True, -1, 1.0, True, True),
        (labels, each, True, None, 1.5, False, True),
        (labels, None, True, None, 2.7, True, False),
        (torch.rand(2, classes, *shape), torch.rand(2, classes, *shape) > 0.3, False, None, 2.0, True, True),
    ]
    for target, weight, indexed, ignore, exponent, regions, both in cases:
        args = (x, target, weight, error, exponent, activation, indexed, ignore, regions, both)
        compare(OPERATOR, move(args), scale=5)


@pytest.mark.parametrize("error", ["difference", "likelihood"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_layouts_and_nan(dtype: torch.dtype, error: str) -> None:
    x, labels = (4 * torch.randn(2, 7, 11, 4)).to(dtype).movedim(-1, 1), torch.randint(0, 4, (2, 1, 7, 11))
    compare(OPERATOR, move((x, labels, None, error, 1.5, "softmax", True, None, True, True)))
    x[0, 1, 2, 3] = torch.nan
    compare(OPERATOR, move((x, labels, None, error, 1.5, "softmax", True, None, False, True)))


@pytest.mark.parametrize("exponent", [1.0, 1.5])
def test_a_sure_softmax_keeps_its_digits(exponent: float) -> None:
    """What the likeliest class leaves is far below what float32 has beside one."""
    x, target = 60 * torch.randn(1, 4, 200), torch.rand(1, 4, 200)
    compare(OPERATOR, move((x, target, None, "likelihood", exponent, "softmax", False, None, False, True)), scale=5)
    labels = torch.randint(0, 4, (1, 1, 200))
    compare(OPERATOR, move((x, labels, None, "likelihood", exponent, "softmax", True, None, False, True)), scale=5)


def test_there_is_no_slope_where_there_is_no_error() -> None:
    x, labels = torch.tensor([[[200.0, -200.0], [-200.0, 200.0]]]), torch.tensor([[[0, 1]]])
    for exponent, both in itertools.product((0.3, 0.5, 1.0, 1.5), (False, True)):
        args = move((x, labels, None, "likelihood", exponent, "softmax", True, None, False, both))
        assert not value_and_gradient(OPERATOR, "triton", args)[1].any()


def test_a_program_walks_over_many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_volume, "PROGRAMS", 1)
    x, labels = torch.randn(1, 3, 11, 16, 16), torch.randint(0, 3, (1, 1, 11, 16, 16))
    compare(OPERATOR, move((x, labels, None, "likelihood", 0.3, "softmax", True, None, True, True)))


def test_under_a_mask_nothing_is_looked_at() -> None:
    x, target, mask = torch.randn(2, 3, 9, 9), torch.rand(2, 3, 9, 9), torch.ones(2, 1, 9, 9)
    mask[:, :, 2:5] = 0
    for error in ("difference", "likelihood"):
        found, expected = (
            value_and_gradient(OPERATOR, "triton", move((*maps, mask, error, 1.5, "softmax", False, None, True, True)))
            for maps in ([torch.where(mask > 0, tensor, torch.nan) for tensor in (x, target)], (x, target))
        )
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(("classes", "edge"), [(2, 128), (14, 96), (105, 40)])
def test_large_volumes(classes: int, edge: int) -> None:
    """Many programs at once: the same bits twice, and no wait for the GPU."""
    x = 4 * torch.randn(2, classes, edge, edge, edge, device="cuda")
    labels = torch.randint(-1, classes + 1, (2, 1, edge, edge, edge), device="cuda")
    for error, exponent, both in (("difference", 1.5, True), ("likelihood", 1.3, True), ("likelihood", 1.0, False)):
        args = (x, labels, None, error, exponent, "softmax", True, -1, True, both)
        compare(OPERATOR, args, scale=5)
        torch.cuda.set_sync_debug_mode("error")
        try:
            first, second = (value_and_gradient(OPERATOR, "triton", args, -1) for _ in range(2))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert torch.equal(first[0], second[0])


def launch(direction: str, error: str, classes: int, dtype: torch.dtype, both: bool, edge: int = 64) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        shape = (edge, edge, edge)
        x, target = torch.empty(2, classes, *shape, dtype=dtype), torch.empty(2, 1, *shape, dtype=torch.uint8)
        path = OPERATOR.paths[-1]
        for exponent in (1.5,) if both else (0.3, 0.4):  # of which the last two share a kernel
            args = (x, target, None, error, exponent, "softmax", True, None, True, both)
            path.forward(OPERATOR.arguments(*args)) if direction == "sums" else path.backward(
                torch.empty(2, classes, 14), OPERATOR.arguments(*args)
            )

    return Launch(call, wide=0 if edge % 2 else 1)  # rows of an odd volume are not aligned


LAUNCHES = {
    f"{direction}, {error}, {classes} classes, both {both}": launch(direction, error, classes, dtype, both)
    for direction in ("sums", "gradient")
    for error, classes, dtype, both in (
        ("difference", 14, torch.float32, True),
        ("likelihood", 105, torch.bfloat16, True),
        ("likelihood", 14, torch.bfloat16, False),
    )
} | {
    "sums, odd edge, 3 classes": launch("sums", "difference", 3, torch.float32, True, 63),
    "sums, odd edge, 105 classes": launch("sums", "likelihood", 105, torch.float32, False, 31),
    "gradient, odd edge": launch("gradient", "likelihood", 14, torch.float32, True, 63),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))


def test_two_exponents_share_a_kernel(compile_ahead) -> None:
    """As a schedule of them would else compile one at every epoch."""
    found = compile_ahead(__file__, 90)
    assert [kernel.name for kernel in found["gradient, likelihood, 14 classes, both False"]] == ["backward"]
    names = [kernel.name for kernel in found["sums, likelihood, 14 classes, both False"]]
    assert names.count("forward") == 1
