"""The Lovasz extension of large volumes from counts in bins, beside the reference in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from medloss.ops import backend, jaccard_extension, native
from medloss.ops.jaccard_extension.cpu import NativeJaccardExtension
from medloss.ops.jaccard_extension.reference import Arguments

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")
SHAPE = (33, 34, 35)  # from 2^15 voxels on there are bins, and no whole number of blocks


def found(name: str, input: torch.Tensor, target: torch.Tensor, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums and gradient under a random cotangent, by one backend."""
    leaf = input.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with backend(name):
        sums = jaccard_extension(leaf, target, **{"errors": "softmax", "indexed": True, **options})
        cotangent = torch.rand(sums.shape[:2], generator=torch.Generator().manual_seed(3)).to(sums.dtype)
        return sums.detach(), torch.autograd.grad(sums[..., 0], leaf, cotangent)[0]


def check(
    input: torch.Tensor, target: torch.Tensor, value: float = 1e-5, largest: float = 3e-4, **options: object
) -> None:
    """The value, masses exactly, the gradient by its norm and by its largest entry."""
    sums, gradient = found("native", input, target, **options)
    exact, slope = found("reference", input.double(), target, **options)
    torch.testing.assert_close(sums[..., 0].double(), exact[..., 0], rtol=0, atol=value)
    assert torch.equal(sums[..., 1:].double(), exact[..., 1:])
    difference = gradient.double() - slope
    assert difference.norm() <= 2e-4 * slope.norm(), float(difference.norm() / slope.norm())
    assert difference.abs().max() <= largest * slope.abs().max(), float(difference.abs().max() / slope.abs().max())


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("errors", ["softmax", "sigmoid"])
def test_masks_labels_and_joined_batches(errors: str) -> None:
    logits, labels = 2 * torch.randn(2, 3, *SHAPE), torch.randint(-1, 5, (2, 1, *SHAPE))
    mask = torch.rand(2, 1, *SHAPE) > 0.3
    check(logits, labels, errors=errors)
    check(logits, labels.short(), errors=errors, mask=mask, joined=True, ignore_index=-1)
    check(logits, labels, errors=errors, mask=mask, first=1)


@pytest.mark.parametrize("scale", [0.0, 0.3, 6.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_untrained_and_trained_networks(classes: int, scale: float) -> None:
    labels = torch.randint(0, classes, (1, 1, *SHAPE))
    logits = scale * one_hot(labels[:, 0], classes).movedim(-1, 1) + torch.randn(1, classes, *SHAPE)
    check(logits, labels)


@pytest.mark.parametrize("edge", [1, 2, 4, 9])
def test_rare_classes_are_ranked_exactly(edge: int) -> None:
    """A class of 1 to 729 voxels, well seen, and one of none: lines through bins alone would be far off."""
    labels = torch.zeros(1, 1, *SHAPE, dtype=torch.uint8)
    labels[..., :edge, :edge, :edge] = 1
    logits = 6.0 * one_hot(labels[:, 0].long(), 3).movedim(-1, 1) + 2 * torch.randn(1, 3, *SHAPE)
    check(logits, labels, value=3e-5, largest=5e-4)


def test_errors_of_0_and_1_and_ties() -> None:
    """Saturated and equal probabilities: the value has a formula."""
    labels = torch.randint(0, 2, (1, 1, *SHAPE))
    wrong = torch.rand(labels.shape) < 0.1
    side = torch.where(wrong, 1 - labels, labels).float()
    sums, _ = found("native", torch.cat([1 - side, side], 1) * 1e4, labels)
    for c in range(2):
        t, p = labels == c, side == c
        jaccard = 1 - (t & p).sum() / (t | p).sum()
        torch.testing.assert_close(sums[0, c, 0], jaccard, rtol=1e-6, atol=1e-7)
    sums, _ = found("native", torch.zeros(1, 2, *SHAPE), labels)
    torch.testing.assert_close(sums[0, :, 0], torch.full((2,), 0.5), rtol=0, atol=1e-5)


def test_nan_and_what_lies_under_a_mask() -> None:
    logits, labels = torch.randn(1, 3, *SHAPE), torch.randint(0, 3, (1, 1, *SHAPE))
    keep = torch.ones(1, 1, *SHAPE, dtype=torch.bool)
    keep[0, 0, 3] = False
    expected = found("native", logits, labels, mask=keep)
    hidden = torch.where(keep, logits, torch.nan)
    sums, gradient = found("native", hidden, labels, mask=keep)
    assert torch.equal(sums, expected[0])
    assert torch.equal(gradient, expected[1])
    assert not gradient[0, :, 3].any()
    logits[0, 1, 7, 7, 7] = torch.nan
    sums, gradient = found("native", logits, labels)
    assert sums[0, :, 0].isnan().all()
    assert gradient.isnan().nonzero().tolist() == [[0, c, 7, 7, 7] for c in range(3)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types_and_layouts(dtype: torch.dtype) -> None:
    logits, labels = (4 * torch.randn(2, 3, *SHAPE)).to(dtype), torch.randint(0, 3, (2, 1, *SHAPE))
    expected = found("native", logits.float(), labels)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        sums, gradient = found("native", logits.to(memory_format=layout), labels)
        assert torch.equal(sums, expected[0])
        torch.testing.assert_close(gradient, expected[1].to(dtype), rtol=1e-5, atol=0)


def test_the_number_of_threads_changes_nothing() -> None:
    labels = torch.zeros(1, 1, 40, 51, 60, dtype=torch.uint8)
    labels[..., :5, :5, :5] = 1  # some are collected
    logits = 4.0 * one_hot(labels[:, 0].long(), 2).movedim(-1, 1) + 2 * torch.randn(1, 2, 40, 51, 60)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(found("native", logits, labels))
    finally:
        torch.set_num_threads(before)
    for sums, gradient in results[1:]:
        assert torch.equal(sums, results[0][0])
        assert torch.equal(gradient, results[0][1])


@pytest.mark.parametrize("joined", [False, True])
def test_what_is_kept_from_forward_to_backward_is_what_backward_finds(joined: bool) -> None:
    """Bit for bit, with a class of few voxels, whose steps are ranks; and small volumes keep nothing."""
    path = NativeJaccardExtension()
    labels = torch.zeros(2, 1, 64, 64, 65, dtype=torch.uint8)
    labels[..., :5, :5, :5] = 1
    logits = 4.0 * one_hot(labels[:, 0].long(), 2).movedim(-1, 1) + 2 * torch.randn(2, 2, 64, 64, 65)
    args = Arguments(logits, labels, None, "softmax", True, None, joined, 0)
    sums, kept = path.forward_keeping(args)
    assert 0 < sum(tensor.nbytes for tensor in kept) <= logits.nbytes / 14
    assert torch.equal(sums, path.forward(args))
    grad = torch.rand(sums.shape)
    assert torch.equal(path.backward_from(kept, grad, args), path.backward(grad, args))
    small = args._replace(input=logits[..., :8, :8, :8].contiguous(), target=labels[..., :8, :8, :8])
    for given in (small, args._replace(target=labels.float(), errors="hinge")):
        assert path.forward_keeping(given)[1] == ()


def test_a_voxel_has_one_bin_in_all_sweeps() -> None:
    """One counted in a bin of lines and looked up in one of ranks would have no step at all."""
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(0, 5, (1, 1, *SHAPE), generator=generator)
        logits = 0.3 * one_hot(labels[:, 0], 5).movedim(-1, 1) + torch.randn(1, 5, *SHAPE, generator=generator)
        check(logits, labels)
