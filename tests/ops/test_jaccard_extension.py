"""The Lovasz extension from logits and labels: by hand, as an operator, and the CPU kernel beside the reference."""

from __future__ import annotations

import itertools

import pytest
import torch

from medloss.ops import backend, jaccard_extension, native
from medloss.ops.dispatch import listen

needs_library = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")
ERRORS = ("softmax", "sigmoid", "none", "hinge")
SHAPES = [(1,), (63,), (17, 31), (11, 13, 17)]
MANY = (26, 27, 29)  # more than one block of the sweep
TIED = {"softmax": 1e-3, "sigmoid": 1e-3, "none": 1e-5, "hinge": 1e-5}  # of the gradient's norm
LABELS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64]


def ranked(name: str, input: torch.Tensor, target: torch.Tensor, **options: object) -> tuple[torch.Tensor, ...]:
    """Sums and gradient under a random cotangent, by one backend."""
    leaf = input.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with backend(name):
        sums = jaccard_extension(leaf, target, **options)
        cotangent = torch.rand(sums.shape, generator=torch.Generator().manual_seed(3)).to(sums.dtype)
        return sums.detach(), torch.autograd.grad(sums[..., 0], leaf, cotangent[..., 0])[0]


def close(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...], tolerance: float) -> None:
    """Sums entry by entry; gradients as a whole, where two voxels may change places whose errors round to one."""
    torch.testing.assert_close(found[0].double(), expected[0].double(), rtol=1e-5, atol=1e-5)
    difference, size = (found[1].double() - expected[1]).norm(), expected[1].double().norm()
    assert difference <= tolerance * size + 1e-7, f"{difference / size:.1e}"


def test_opcheck() -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    y, mask = torch.randint(0, 3, (2, 1, 4, 5)), torch.rand(2, 1, 4, 5)
    operator = torch.ops.medloss.jaccard_extension.default
    torch.library.opcheck(operator, (x, y, mask, "softmax", True, None, False, 1))


def test_by_hand() -> None:
    """Errors .9 (member), .5 (other), .2 (member): union 2, 3, 3 and intersection 1, 1, 0: J = 1/2, 2/3, 1."""
    for name in ("reference", None):
        with backend(name):
            p, t = torch.tensor([[[0.8, 0.1, 0.5]]]), torch.tensor([[[1, 1, 0]]])
            found = jaccard_extension(p, t)
            torch.testing.assert_close(found, torch.tensor([[[0.9 / 2 + 0.5 / 6 + 0.2 / 3, 2.0, 3.0]]]))
            # nobody is a member: the largest error alone counts; everybody: the errors' mean
            assert jaccard_extension(p, 0 * t)[0, 0, 0].item() == pytest.approx(0.8)
            assert jaccard_extension(p, 0 * t + 1)[0, 0, 0].item() == pytest.approx((0.2 + 0.9 + 0.5) / 3)
            # a voxel that weighs 3 is three voxels
            weight = torch.tensor([[[0.0, 3.0, 1.0]]])
            weighed = jaccard_extension(p, torch.tensor([[[1, 0, 1]]]), weight)
            torch.testing.assert_close(weighed, torch.tensor([[[0.5 * 1.0 + 0.1 * 0.0, 1.0, 4.0]]]))


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(("classes", "shape"), [*itertools.product((1, 2, 5), SHAPES), (3, MANY), (40, (17, 31))])
@pytest.mark.parametrize("errors", ERRORS)
def test_the_kernel_is_the_reference(errors: str, classes: int, shape: tuple[int, ...]) -> None:
    """Labels beyond the classes, weights of 0 and 1 and others, an ignored label, memberships, the batch as one."""
    logits = 3 * torch.randn(2, classes, *shape)
    labels = torch.randint(-1, classes + 2, (2, 1, *shape))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    for target, options in [
        (labels, {"indexed": True}),
        (labels.to(torch.int16), {"indexed": True, "ignore_index": -1, "mask": mask, "joined": True}),
        (labels, {"indexed": True, "mask": mask > 0, "first": int(classes > 1)}),
        (torch.rand(2, classes, *shape), {"mask": mask}),
        ((torch.rand(2, classes, *shape) > 0.9).float(), {"joined": True}),
    ]:
        expected = ranked("reference", logits.double(), target, errors=errors, **options)
        close(ranked("native", logits, target, errors=errors, **options), expected, TIED[errors])


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "batch sliced"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("errors", ["softmax", "hinge"])
def test_types_and_layouts(errors: str, dtype: torch.dtype, layout: str) -> None:
    logits = (4 * torch.randn(4, 3, 5, 6, 131)).to(dtype)
    if layout == "channels last":
        logits = logits.to(memory_format=torch.channels_last_3d)
    logits = logits[::2] if layout == "batch sliced" else logits[:2]
    labels = torch.randint(0, 3, (2, 1, 5, 6, 131))
    expected = ranked("native", logits.float().contiguous(), labels, errors=errors, indexed=True)
    found = ranked("native", logits, labels, errors=errors, indexed=True)
    assert found[1].dtype == dtype
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1].to(dtype), rtol=1e-5, atol=0)


@needs_library
@pytest.mark.parametrize("kind", LABELS, ids=str)
def test_labels_of_any_type_and_out_of_range(kind: torch.dtype) -> None:
    logits, labels = torch.randn(1, 4, 700), torch.randint(0, 4, (1, 1, 700)).to(kind)
    top = 1e30 if kind.is_floating_point else torch.iinfo(kind).max
    for at, odd in enumerate([-1, 4, top, -top]):
        if kind != torch.uint8 or odd >= 0:
            labels[0, 0, 3 * at] = odd
    expected = ranked("reference", logits.double(), labels, errors="softmax", indexed=True)
    close(ranked("native", logits, labels, errors="softmax", indexed=True), expected, 1e-3)


@needs_library
@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_nothing_under_a_mask_is_looked_at(errors: str, poison: float) -> None:
    logits, labels = torch.randn(1, 3, 600), torch.randint(0, 3, (1, 1, 600))
    keep = (torch.arange(600) % 5 > 0).view(1, 1, -1)
    inside = keep[0, 0]
    expected = ranked("native", logits[..., inside], labels[..., inside], errors=errors, indexed=True)
    logits[..., ~inside] = poison
    for options in ({"mask": keep}, {"mask": 2.0 * keep}, {"ignore_index": 9}):
        target = torch.where(keep, labels, 9) if "ignore_index" in options else labels
        sums, gradient = ranked("native", logits, target, errors=errors, indexed=True, **options)
        torch.testing.assert_close(sums[..., 0], expected[0][..., 0])
        torch.testing.assert_close(gradient[..., inside], expected[1])
        assert not gradient[..., ~inside].any()


@needs_library
@pytest.mark.parametrize("errors", ERRORS)
def test_a_nan_that_counts_stays_a_nan(errors: str) -> None:
    logits, labels = torch.rand(1, 3, 300), torch.randint(0, 3, (1, 1, 300))
    logits[0, 1, 7] = torch.nan
    sums, gradient = ranked("native", logits, labels, errors=errors, indexed=True)
    assert sums[0, 1, 0].isnan()
    assert gradient[0, 1, 7].isnan()
    assert gradient[0, :, torch.arange(300) != 7].isfinite().all()


@needs_library
@pytest.mark.parametrize("errors", ["softmax", "none", "hinge"])
def test_equal_and_extreme_errors(errors: str) -> None:
    """Errors of 0 and 1, ties by the hundred, logits too large for a float's square, empty and full classes."""
    labels = torch.randint(0, 2, (1, 1, 500))
    logits = torch.tensor([0.0, 1.0, -80.0, 3e30])[torch.randint(0, 4, (1, 4, 500))]
    logits = logits.clamp(-1, 1) if errors == "none" else logits
    found = ranked("native", logits, labels, errors=errors, indexed=True)
    expected = ranked("reference", logits.double(), labels, errors=errors, indexed=True)
    torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-4, atol=1e-6)


@needs_library
def test_the_gradient_has_the_digits_that_differences_of_losses_lose() -> None:
    """A rare class in a volume: beside float64, the kernel beats sorting and subtracting in float32 by far."""
    shape = (60, 60, 60)
    logits, labels = 3 * torch.randn(1, 2, *shape), torch.zeros(1, 1, *shape, dtype=torch.uint8)
    labels[..., :4, :4, :4] = 1
    _, exact = ranked("reference", logits.double(), labels, errors="softmax", indexed=True)
    _, ours = ranked("native", logits, labels, errors="softmax", indexed=True)
    leaf = logits.clone().requires_grad_()
    p, t = leaf.softmax(1).flatten(2), torch.stack([1 - labels, labels], 2).flatten(2).view(1, 2, -1).float()
    e, order = (t - p).abs().sort(-1, descending=True)
    inside = t.gather(-1, order)
    total = inside.sum(-1, keepdim=True)
    losses = 1 - (total - inside.cumsum(-1)) / (total + (1 - inside).cumsum(-1))
    cotangent = torch.rand(1, 2, 3, generator=torch.Generator().manual_seed(3))[..., 0]
    usual = (e * torch.diff(losses, prepend=torch.zeros_like(total))).sum(-1)
    (theirs,) = torch.autograd.grad(usual, leaf, cotangent)
    error = [float((g.double() - exact).norm() / exact.norm()) for g in (ours, theirs)]
    assert error[0] < 5e-4, error
    assert error[1] > 10 * error[0], error


@needs_library
@pytest.mark.parametrize("options", [{}, {"joined": True}], ids=str)
def test_the_number_of_threads_changes_nothing(options: dict[str, bool]) -> None:
    logits, labels = torch.randn(2, 4, 20, 41, 30), torch.randint(0, 4, (2, 1, 20, 41, 30))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(ranked("native", logits, labels, errors="softmax", indexed=True, **options))
    finally:
        torch.set_num_threads(before)
    for sums, gradient in results[1:]:
        assert torch.equal(sums, results[0][0])
        assert torch.equal(gradient, results[0][1])


def test_what_the_kernel_leaves_to_the_reference() -> None:
    logits, labels = torch.randn(1, 3, 20), torch.randint(0, 3, (1, 1, 20))
    with listen() as heard:
        jaccard_extension(logits.double(), labels, errors="softmax", indexed=True)
        jaccard_extension(logits, labels, torch.rand(1, 3, 20), errors="softmax", indexed=True)
    assert [decision.backend for decision in heard] == ["reference", "reference"]
    assert any("float64 is finer" in reason for reason in heard[0].reasons["native"])
    assert any("weight per class" in reason for reason in heard[1].reasons["native"])
