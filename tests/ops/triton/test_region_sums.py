"""``region_sums`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

import medloss
from medloss.ops import BackendError, Terms, region_sums, triton_volume
from medloss.ops.region_sums import COLUMNS, OPERATOR, Column, triton_launch

ALL = Terms.SQUARES | Terms.DIFFERENCE | Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL | Terms.ERRORS | Terms.NEGATIVES
PLAIN = Terms.SQUARES | Terms.DIFFERENCE | Terms.ERRORS | Terms.NEGATIVES


def logits(classes: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return (4 * torch.randn(2, classes, *shape)).to(dtype)


def weights(shape: tuple[int, ...], channels: int = 1) -> Tensor:
    return torch.rand(2, channels, *shape) * (torch.rand(2, channels, *shape) > 0.3)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize(("classes", "shape"), [(1, (1,)), (3, (11, 13, 7)), (105, (5, 7))])
def test_equals_the_reference(activation: str, classes: int, shape: tuple[int, ...]) -> None:
    """Labels beyond the classes, an ignored label, empty classes, weights, and memberships under a mask."""
    terms = int(PLAIN if activation == "none" else ALL)
    x, labels = logits(classes, shape), torch.randint(-1, classes + 2, (2, 1, *shape))
    cases = [
        (labels, None, True, None),
        (labels.to(torch.int16), weights(shape), True, -1),
        (torch.rand(2, classes, *shape), weights(shape) > 0, False, None),
    ]
    for target, mask, indexed, ignore in cases:
        compare(OPERATOR, move((x, target, mask, activation, indexed, ignore, terms, 2.0)))


def test_weights_of_each_class() -> None:
    x, mask = logits(3, (6, 7)), weights((6, 7), channels=3)
    for activation in ("softmax", "sigmoid"):
        compare(OPERATOR, move((x, torch.randint(0, 3, (2, 1, 6, 7)), mask, activation, True, None, int(ALL), 1.0)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "classes sliced", "rows sliced"])
def test_types_and_layouts(layout: str, dtype: torch.dtype) -> None:
    """The gradient lies and rounds as the input."""
    x, labels = logits(6, (5, 14), dtype), torch.randint(0, 3, (2, 1, 5, 14), dtype=torch.uint8)
    if layout == "channels last":
        x = x[:, :3].movedim(1, -1).contiguous().movedim(-1, 1)
    x = {"contiguous": x[:, :3].contiguous(), "classes sliced": x[:, ::2]}.get(layout, x[:, :3])
    if layout == "rows sliced":  # whose voxels follow unevenly: the reference serves
        x, labels = x[..., 1:], labels[..., 1:]
        with medloss.backend("triton"), pytest.raises(BackendError, match="do not run through the voxels evenly"):
            region_sums(*move((x, labels)), indexed=True)
        return
    args = move((x, labels, None, "softmax", True, None, int(Terms.LIKELIHOOD), 0.0))
    compare(OPERATOR, args)
    assert (
        OPERATOR.paths[-1].backward(torch.zeros(2, 3, 12).to(args[0]), OPERATOR.arguments(*args)).stride()
        == torch.empty_like(x).stride()
    )


@pytest.mark.parametrize("kind", [torch.bool, torch.int8, torch.int64, torch.float32, torch.float16])
def test_labels_of_every_type(kind: torch.dtype) -> None:
    """With labels beyond the classes and between them, and one that is ignored."""
    labels = torch.tensor([0, 1, 2, 3, 120, -100, -1, 1]).expand(2, 1, 8).to(kind)
    if kind.is_floating_point:
        labels = torch.where(labels == 3, 0.5, labels)
    if kind == torch.int64:
        labels = torch.where(labels == 3, 2**32 + 1, labels)  # class 1 to who reads 32 bits
    for ignore in (-100, 1):
        compare(OPERATOR, move((logits(3, (8,)), labels, None, "softmax", True, ignore, 0, 0.0)))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 3.3])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_focal_sums(activation: str, gamma: float) -> None:
    x = 8 * logits(3, (11,), torch.float64)
    for target in (torch.randint(0, 3, (2, 1, 11)), torch.rand(2, 3, 11, dtype=torch.float64)):
        indexed = target.shape[1] == 1
        compare(OPERATOR, move((x, target, None, activation, indexed, None, int(Terms.FOCAL), gamma)))


@pytest.mark.parametrize("odd", [torch.nan, torch.inf])
def test_under_a_mask_nothing_is_looked_at(odd: float) -> None:
    """Neither the logits nor the memberships, in value and gradient."""
    x, target, mask = logits(3, (9, 9)), torch.rand(2, 3, 9, 9), torch.rand(2, 1, 9, 9) > 0.5
    args = move((torch.where(mask, x, odd), torch.where(mask, target, odd), mask, "softmax", False, None, 31, 2.0))
    for found, clean in zip(
        value_and_gradient(OPERATOR, "triton", args),
        value_and_gradient(OPERATOR, "triton", move((x, target, mask, *args[3:]))),
        strict=True,
    ):
        assert torch.equal(found.nan_to_num(), clean.nan_to_num())
        assert found.isfinite().all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf])
def test_what_counts_keeps_nan_and_infinity(odd: float, activation: str) -> None:
    x, labels = torch.zeros(1, 2, 7), torch.zeros(1, 1, 7, dtype=torch.int64)
    x[0, 0, 5] = odd
    args = move((x, labels, None, activation, True, None, int(Terms.LIKELIHOOD), 0.0))
    found, expected = (value_and_gradient(OPERATOR, path, args, -1)[0] for path in ("triton", "reference"))
    columns = [Column.OVERLAP, Column.INPUT, Column.NLL_TRUE]
    torch.testing.assert_close(found[0, 0, columns], expected[0, 0, columns], equal_nan=True)


def test_a_program_walks_over_many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of them not whole; twice the same, bit for bit."""
    for name in ("PROGRAMS", "GRADIENT_PROGRAMS"):
        monkeypatch.setattr(triton_volume, name, 2)
    monkeypatch.setattr(triton_launch, "configuration", lambda *_: (64, 4))
    labels = torch.randint(0, 3, (2, 1, 7, 6, 5))
    args = move((logits(3, (7, 6, 5)), labels, None, "softmax", True, None, int(Terms.LIKELIHOOD), 0.0))
    first, second = (value_and_gradient(OPERATOR, "triton", args) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    for found, expected in zip(first, value_and_gradient(OPERATOR, "reference", args), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_reasons() -> None:
    x = torch.zeros(1, 257, 4, dtype=torch.int32)
    with (
        medloss.backend("triton"),
        pytest.raises(BackendError, match=r"is torch\.int32.*257 classes are more than 256"),
    ):
        region_sums(*move((x, torch.zeros(1, 1, 4))), indexed=True)
    args = (torch.zeros(1, 2, 4), torch.zeros(1, 1, 4), None, "none", True, None, 4, 0.0)
    assert OPERATOR.paths[-1].reasons(OPERATOR.arguments(*move(args)), ("input", "target"))[-2:] == [
        "likelihoods are computed from logits, not from probabilities",
        "a gradient of target is asked for",
    ]
    if args[0].device == move(args)[0].device:  # no GPU: never unless forced
        assert "the kernel runs on CUDA" in OPERATOR.paths[-1].reasons(OPERATOR.arguments(*args))[0]


def launch(
    direction: str, classes: int, dtype: torch.dtype, activation: str, terms: int, last: bool = False,
    target: torch.dtype = torch.uint8, mask: bool = False, gamma: float = 0.0, edge: int = 64,
) -> Launch:  # fmt: skip
    """A call on tensors that are never written."""

    def call() -> None:
        shape = (edge, edge, edge)
        size = (2, *shape, classes) if last else (2, classes, *shape)
        x = torch.empty(size, dtype=dtype)
        labels = torch.empty(2, 1 if target == torch.uint8 else classes, *shape, dtype=target)
        weight = torch.empty(2, 1, *shape) if mask else None
        args = (
            x.movedim(-1, 1) if last else x,
            labels,
            weight,
            activation,
            target == torch.uint8,
            255 if mask else None,
            terms,
        )
        path = OPERATOR.paths[-1]
        for power in (gamma, gamma + 0.1) if gamma == 1.5 else (gamma,):  # of which none has a kernel of its own
            call = (*args, power)
            path.forward(OPERATOR.arguments(*call)) if direction == "forward" else path.backward(
                torch.empty(2, classes, COLUMNS), OPERATOR.arguments(*call)
            )

    return Launch(call, wide=0 if edge % 2 else 1)  # rows of an odd volume are not aligned


DICE_CE = int(Terms.LIKELIHOOD)
FLOAT, HALF, DOUBLE = torch.float32, torch.bfloat16, torch.float64
LAUNCHES = {
    "sums, 14 classes": launch("forward", 14, FLOAT, "softmax", DICE_CE),
    "gradient, 14 classes": launch("backward", 14, FLOAT, "softmax", DICE_CE),
    "gradient, 14 classes, bf16": launch("backward", 14, HALF, "softmax", DICE_CE),
    "sums, 16 classes, bf16, channels last": launch("forward", 16, HALF, "softmax", DICE_CE, last=True),
    "sums, 105 classes": launch("forward", 105, FLOAT, "softmax", DICE_CE),
    "gradient, 105 classes": launch("backward", 105, FLOAT, "softmax", DICE_CE),
    "gradient, 256 classes": launch("backward", 256, FLOAT, "softmax", DICE_CE),
    "sums, memberships, all": launch("forward", 4, FLOAT, "sigmoid", int(ALL), target=FLOAT, mask=True, gamma=1.5),
    "sums, 14 classes, all": launch("forward", 14, FLOAT, "softmax", int(ALL), gamma=2.0),
    "gradient, 14 classes, all": launch("backward", 14, FLOAT, "softmax", int(ALL), gamma=1.5),
    "sums, double, all": launch("forward", 3, DOUBLE, "softmax", int(ALL), gamma=1.5),
    "sums, odd edge": launch("forward", 3, FLOAT, "softmax", DICE_CE, edge=63),
    "sums, 14 classes, odd edge, all": launch("forward", 14, HALF, "softmax", int(ALL), edge=63, gamma=1.5),
    "sums, 105 classes, odd edge": launch("forward", 105, FLOAT, "softmax", DICE_CE, edge=31),
    "gradient, 14 classes, odd edge": launch("backward", 14, FLOAT, "softmax", DICE_CE, edge=63),
    "sums, one voxel": launch("forward", 1, FLOAT, "softmax", int(ALL), edge=1, mask=True),  # ones become constants
    "gradient, one voxel": launch("backward", 1, FLOAT, "sigmoid", int(ALL), edge=1, mask=True),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))


def test_two_exponents_share_a_kernel(compile_ahead) -> None:
    """As a schedule of gamma would else compile one at every epoch."""
    found = compile_ahead(__file__, 90)
    assert [kernel.name for kernel in found["gradient, 14 classes, all"]] == ["backward"]
    assert [kernel.name for kernel in found["sums, 14 classes, odd edge, all"]] == ["forward", "add_rows"]
