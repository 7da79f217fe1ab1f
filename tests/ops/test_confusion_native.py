"""The CPU kernel of ``confusion`` beside its reference: value and gradient, labels and memberships, every layout."""

from __future__ import annotations

import itertools

import pytest
import torch
from by_backend import close, runner_of

from medloss.ops import confusion, native
from medloss.ops.dispatch import listen

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")
run = runner_of(confusion)

SHAPES = [(1,), (63,), (17, 31), (11, 13, 17)]
MANY = (26, 27, 29)  # more than one block of the kernel
LABELS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64]


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("classes", "shape"), [*itertools.product((2, 5, 15, 16), SHAPES), (3, MANY), (40, (17, 31)), (105, (41, 5))]
)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_the_kernel_is_the_reference(activation: str, classes: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Labels beyond the classes, masks and an ignored label, memberships; few and many classes in a tile."""
    logits = 4 * torch.randn(2, classes, *shape, dtype=dtype)
    labels = torch.randint(-1, classes + 2, (2, 1, *shape))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    targets = [
        (labels, {"indexed": True}),
        (labels.to(torch.int16), {"indexed": True, "ignore_index": -1, "mask": mask}),
        (torch.zeros_like(labels, dtype=torch.uint8), {"indexed": True}),
        (torch.full_like(labels, -1), {"indexed": True}),
        (torch.rand(2, classes, *shape, dtype=dtype), {"mask": mask > 0}),
    ]
    for target, options in targets:
        expected = run("reference", logits.double(), target, activation=activation, **options)
        found = run("native", logits, target, activation=activation, **options)
        close(found, expected, 1e-12 if dtype == torch.float64 else 1e-5)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "batch sliced"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_and_layouts(dtype: torch.dtype, layout: str) -> None:
    logits = (4 * torch.randn(4, 3, 5, 6, 131)).to(dtype)
    if layout == "channels last":
        logits = logits.to(memory_format=torch.channels_last_3d)
    logits = logits[::2] if layout == "batch sliced" else logits[:2]
    labels = torch.randint(0, 3, (2, 1, 5, 6, 131))
    expected = run("reference", logits.double(), labels, activation="softmax", indexed=True)
    matrix, gradient = run("native", logits, labels, activation="softmax", indexed=True)
    assert gradient.dtype == dtype
    close((matrix,), expected[:1], 1e-5)
    close((gradient,), expected[1:], {torch.float16: 1e-3, torch.bfloat16: 8e-3}.get(dtype, 1e-5))
    if layout == "channels last":
        assert gradient.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("kind", LABELS, ids=str)
@pytest.mark.parametrize("classes", [4, 70])
def test_labels_of_any_type_and_out_of_range(kind: torch.dtype, classes: int) -> None:
    logits, labels = torch.randn(1, classes, 700), torch.randint(0, classes, (1, 1, 700)).to(kind)
    top = 1e30 if kind.is_floating_point else torch.iinfo(kind).max
    for at, odd in enumerate([-1, classes, top, -top]):
        if kind != torch.uint8 or odd >= 0:
            labels[0, 0, 3 * at] = odd
    if kind.is_floating_point:
        labels[0, 0, 50], labels[0, 0, 51] = torch.nan, 1.5
    expected = run("reference", logits.double(), labels, activation="softmax", indexed=True)
    close(run("native", logits, labels, activation="softmax", indexed=True), expected, 1e-5)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_nothing_under_a_mask_is_looked_at(poison: float) -> None:
    logits, labels = torch.randn(1, 3, 600), torch.randint(0, 3, (1, 1, 600))
    mask = (torch.arange(600) < 500).view(1, 1, -1)
    expected = run("native", logits[..., :500], labels[..., :500], activation="softmax", indexed=True)
    logits[..., 500:] = poison
    for options in ({"mask": mask}, {"mask": mask.float().masked_fill(~mask, 0)}, {"ignore_index": 9}):
        target = torch.where(mask, labels, 9) if "ignore_index" in options else labels
        matrix, gradient = run("native", logits, target, activation="softmax", indexed=True, **options)
        close((matrix, gradient[..., :500]), expected, 1e-6)
        assert not gradient[..., 500:].any()


def test_a_nan_that_counts_stays_a_nan() -> None:
    for classes in (3, 40):
        logits, labels = torch.randn(1, classes, 300), torch.arange(300).view(1, 1, -1) % classes
        logits[0, 1, 7] = torch.nan
        matrix, gradient = run("native", logits, labels, activation="softmax", indexed=True)
        assert matrix[0, 7 % classes].isnan().all()
        assert gradient[0, :, 7].isnan().all()
        assert gradient[0, :, torch.arange(300) != 7].isfinite().all()


@pytest.mark.parametrize("classes", [4, 30])
def test_the_number_of_threads_changes_nothing(classes: int) -> None:
    logits, labels = torch.randn(1, classes, 40, 41, 30), torch.randint(0, classes, (1, 1, 40, 41, 30))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run("native", logits, labels, activation="softmax", indexed=True))
    finally:
        torch.set_num_threads(before)
    for matrix, gradient in results[1:]:
        assert torch.equal(matrix, results[0][0])
        assert torch.equal(gradient, results[0][1])


def test_what_the_kernel_leaves_to_the_reference() -> None:
    logits, labels = torch.randn(1, 3, 20), torch.randint(0, 3, (1, 1, 20))
    with listen() as heard:
        confusion(logits, labels, torch.rand(1, 3, 20), activation="softmax", indexed=True)
        confusion(logits.repeat_interleave(3, 2)[..., ::3], labels, activation="softmax", indexed=True)
        confusion(logits, labels, activation="softmax", indexed=True)
    assert [decision.backend for decision in heard] == ["reference", "reference", "native"]
    assert "weight per class" in heard[0].reasons["native"][0]


@pytest.mark.parametrize(("scale", "offset"), [(30, 0), (1, 60), (1, -60), (100, 0), (1, 1000), (1, -1000)])
@pytest.mark.parametrize("layout", ["rows", "channels last", "half"])
def test_logits_of_any_size(layout: str, scale: float, offset: float) -> None:
    """The largest logit is taken off only where it must be; logits that were staged are staged again."""
    logits = torch.randn(1, 3, 20, 30, 40)
    logits[..., 9:, 3, 5] = scale * logits[..., 9:, 3, 5] + offset  # the first tiles need no care, a later one does
    if layout == "channels last":
        logits = logits.to(memory_format=torch.channels_last_3d)
    if layout == "half":
        logits = logits.bfloat16()
    labels, mask = torch.randint(-1, 4, (1, 1, 20, 30, 40)), torch.rand(1, 1, 20, 30, 40) > 0.3
    for given in (None, mask):
        expected = run("reference", logits.double(), labels, activation="softmax", indexed=True, mask=given)
        found = run("native", logits, labels, activation="softmax", indexed=True, mask=given)
        close((found[0],), expected[:1], 1e-5)
        close((found[1],), expected[1:], 8e-3 if layout == "half" else 1e-5)
