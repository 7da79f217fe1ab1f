"""The soft confusion matrix: by hand, by its margins, and as an operator."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medloss.ops import confusion, region_sums

SHAPES = [(1,), (7,), (5, 6), (3, 4, 5)]


def test_by_hand() -> None:
    """Three voxels of classes 0, 1, 1."""
    p = torch.tensor([[[0.75, 0.5, 0.25], [0.25, 0.5, 0.75]]])
    matrix = confusion(p, torch.tensor([[[0, 1, 1]]]), indexed=True)
    torch.testing.assert_close(matrix, torch.tensor([[[0.75, 0.25], [0.75, 1.25]]]))
    weighted = confusion(p, torch.tensor([[[0, 1, 1]]]), torch.tensor([[[1.0, 2.0, 0.0]]]), indexed=True)
    torch.testing.assert_close(weighted, torch.tensor([[[0.75, 0.25], [1.0, 1.0]]]))
    ignored = confusion(p, torch.tensor([[[0, 1, 1]]]), indexed=True, ignore_index=1)
    torch.testing.assert_close(ignored, torch.tensor([[[0.75, 0.25], [0.0, 0.0]]]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_margins_and_diagonal_are_the_sums_of_the_regions(activation: str, shape: tuple[int, ...]) -> None:
    """With labels beyond the classes, weights, memberships, and every rank, in value and gradient."""
    logits = torch.randn(2, 4, *shape, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(-1, 4, (2, 1, *shape))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    options = {"activation": activation, "indexed": True, "ignore_index": -1}
    matrix, sums = confusion(logits, labels, mask, **options), region_sums(logits, labels, mask, **options)
    found = torch.stack([matrix.diagonal(dim1=1, dim2=2), matrix.sum(1)], -1)
    torch.testing.assert_close(found, sums[..., :2])
    if activation == "softmax":
        torch.testing.assert_close(matrix.sum(2), sums[..., 2])
    cotangent = torch.randn(found.shape, dtype=found.dtype)
    gradients = [torch.autograd.grad(x, logits, cotangent)[0] for x in (found, sums[..., :2])]
    torch.testing.assert_close(*gradients)


def test_indices_and_memberships_agree_and_samples_do_not_mix() -> None:
    logits, labels = torch.randn(3, 3, 4, 5), torch.randint(0, 3, (3, 1, 4, 5), dtype=torch.uint8)
    dense = F.one_hot(labels[:, 0].long(), 3).movedim(-1, 1)
    matrix = confusion(logits, labels, activation="softmax", indexed=True)
    torch.testing.assert_close(confusion(logits, dense, activation="softmax"), matrix)
    each = [confusion(x[None], y[None], activation="softmax", indexed=True) for x, y in zip(logits, labels)]
    torch.testing.assert_close(torch.cat(each), matrix)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_nothing_under_a_mask_is_looked_at(poison: float) -> None:
    logits, target = torch.randn(1, 3, 6), torch.rand(1, 3, 6)
    mask = torch.tensor([[[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]]])
    expected = confusion(logits[..., :4], target[..., :4], activation="softmax")
    logits[..., 4:], target[..., 4:] = poison, poison
    logits.requires_grad_()
    matrix = confusion(logits, target, mask, activation="softmax")
    torch.testing.assert_close(matrix, expected)
    (gradient,) = torch.autograd.grad(matrix[0, 0, 1], logits)
    assert torch.isfinite(gradient).all()
    assert not gradient[..., 4:].any()


def test_half_precision_adds_up_in_single() -> None:
    logits = torch.randn(1, 3, 70000).to(torch.bfloat16)
    labels = torch.zeros(1, 1, 70000, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16):
        matrix = confusion(logits, labels, activation="softmax", indexed=True)
    assert matrix.dtype == torch.float32
    torch.testing.assert_close(matrix[0, 0], logits.float().softmax(1).sum(2)[0], rtol=1e-4, atol=0)


@pytest.mark.parametrize(("indexed", "masked"), [(True, False), (False, True)])
def test_opcheck(indexed: bool, masked: bool) -> None:
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 1, 4, 5)) if indexed else torch.rand(2, 3, 4, 5)
    mask = torch.rand(2, 1, 4, 5) if masked else None
    torch.library.opcheck(torch.ops.medloss.confusion.default, (logits, target, mask, "softmax", indexed, None))
