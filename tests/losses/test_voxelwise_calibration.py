"""Calibration: NACL beside MONAI's, MbLS, SVLS and ACE, by hand and by independent code."""

from __future__ import annotations

import math

import monai.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from voxelwise import one_hot, value_and_gradient, volume

import medloss


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99),
    rank=st.integers(2, 3),
    kernel=st.sampled_from(["mean", "gaussian"]),
    distance=st.sampled_from(["l1", "l2"]),
    size=st.sampled_from([3, 5]),
)
def test_nacl_is_monais_with_a_border_of_zeros(seed: int, rank: int, kernel: str, distance: str, size: int) -> None:
    logits, target = volume(seed, shape=(6, 5, 7)[:rank])
    theirs = monai.losses.NACLLoss(
        classes=4, dim=rank, kernel_size=size, kernel_ops=kernel, distance_type=distance, alpha=0.3, sigma=0.8
    )
    ours = medloss.NACLLoss(
        to_onehot_y=True, kernel_size=size, kernel_type=kernel, distance=distance, alpha=0.3, sigma=0.8, border="zero"
    )
    expected = value_and_gradient(theirs, logits, target[:, 0])
    torch.testing.assert_close(value_and_gradient(ours, logits, target), expected, rtol=1e-6, atol=1e-8)


def test_nacl_by_hand() -> None:
    """Shares of class 0 in (0, 0, 1): 1, 2/3, 1/2 of the voxels there are; with zeros beyond 2/3, 2/3, 1/3."""
    logits, target = torch.zeros(1, 2, 3), torch.tensor([[[0, 0, 1]]])
    loss = {"to_onehot_y": True, "alpha": 3.0}
    value = medloss.NACLLoss(**loss, distance="l2")(logits, target).item()
    shares = [1, 2 / 3, 1 / 2, 0, 1 / 3, 1 / 2]
    assert value == pytest.approx(math.log(2) + 3 * sum(u * u for u in shares) / 6)
    value = medloss.NACLLoss(**loss, border="zero")(logits, target).item()
    assert value == pytest.approx(math.log(2) + 3 * (2 + 2 + 1 + 0 + 1 + 1) / 3 / 6)
    # without the middle voxel each of the others is alone with itself
    mask = torch.tensor([[[1.0, 0.0, 1.0]]])
    value = medloss.NACLLoss(**loss, distance="l2")(logits, target, mask).item()
    assert value == pytest.approx(math.log(2) + 3 / 2)


def test_nacl_masked_voxels_are_no_background() -> None:
    """Labels under the mask change no share: neither the value nor the gradient sees them."""
    logits, target = volume(shape=(8, 8))
    mask = torch.rand(2, 1, 8, 8) > 0.4
    loss = medloss.NACLLoss(to_onehot_y=True)
    expected = value_and_gradient(loss, logits, target, mask)
    other = torch.where(mask, target, (target + 1) % 4)
    torch.testing.assert_close(value_and_gradient(loss, logits, other, mask), expected)
    for labels in (target, other):
        marked = torch.where(mask, labels, torch.full_like(labels, 255))
        ignoring = medloss.NACLLoss(to_onehot_y=True, ignore_index=255)
        torch.testing.assert_close(value_and_gradient(ignoring, logits, marked), expected)


def test_mbls_by_hand_and_by_its_definition() -> None:
    logits, target = volume()
    gap = (logits.amax(1, keepdim=True) - logits - 1.5).clamp_min(0)
    entropy = F.cross_entropy(logits, target[:, 0])
    found = medloss.MbLSLoss(to_onehot_y=True, alpha=0.2, margin=1.5)(logits, target)
    torch.testing.assert_close(found, entropy + 0.2 * gap.mean())
    mask = torch.rand(2, 1, 5, 6, dtype=torch.float64)
    found = medloss.MbLSLoss(to_onehot_y=True, alpha=0.2, margin=1.5, include_background=False)(logits, target, mask)
    entropy = medloss.CrossEntropyLoss(to_onehot_y=True, include_background=False)(logits, target, mask)
    torch.testing.assert_close(found, entropy + 0.2 * (gap * mask)[:, 1:].sum() / mask.sum() / 3)


def test_limits_of_the_constraints() -> None:
    logits, target = volume()
    options = {"to_onehot_y": True, "weight": [1, 2, 0.5, 3], "label_smoothing": 0.1}
    entropy = value_and_gradient(medloss.CrossEntropyLoss(**options), logits, target)
    for loss in (
        medloss.NACLLoss(**options, alpha=0),
        medloss.MbLSLoss(**options, alpha=0),
        medloss.MbLSLoss(**options, alpha=1, margin=100),
    ):
        torch.testing.assert_close(value_and_gradient(loss, logits, target), entropy)


def author_svls(target: torch.Tensor, rank: int, size: int, sigma: float) -> torch.Tensor:
    """Soft labels by one convolution: the centre weighs as much as all neighbours, and copies lie beyond the border."""
    line = torch.arange(size, dtype=torch.float64) - size // 2
    grid = torch.meshgrid(*[line] * rank, indexing="ij")
    kernel = torch.exp(-sum(x * x for x in grid) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    centre = (size // 2,) * rank
    kernel[centre] = 1 - kernel[centre]
    kernel = kernel / kernel.sum()
    labels = F.pad(one_hot(target), [size // 2] * 2 * rank, mode="replicate")
    convolve = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    return convolve(labels, kernel.expand(4, 1, *kernel.shape), groups=4)


@pytest.mark.parametrize(("rank", "size", "sigma"), [(1, 3, 1.0), (2, 3, 1.0), (2, 5, 0.7), (3, 3, 2.0)])
def test_svls_is_cross_entropy_with_the_authors_labels(rank: int, size: int, sigma: float) -> None:
    logits, target = volume(shape=(6, 5, 7)[:rank])
    loss = medloss.SpatiallyVaryingLabelSmoothingLoss(
        to_onehot_y=True, kernel_size=size, sigma=sigma, border="replicate"
    )
    expected = F.cross_entropy(logits, author_svls(target, rank, size, sigma))
    torch.testing.assert_close(loss(logits, target), expected)


def test_svls_by_hand() -> None:
    """Window (g, 1, g): at the ends one neighbour, in the middle two; a masked neighbour is none."""
    p = torch.tensor([[[0.5, 0.2, 0.1], [0.5, 0.8, 0.9]]], dtype=torch.float64)
    target = torch.tensor([[[0, 0, 1]]])
    loss = medloss.SpatiallyVaryingLabelSmoothingLoss(to_onehot_y=True, reduction="none")
    soft = torch.tensor([1, 0.75, 0.5], dtype=torch.float64)
    expected = -(soft * p[0, 0].log() + (1 - soft) * p[0, 1].log())
    torch.testing.assert_close(loss(p.log(), target)[0], expected)
    mask = torch.tensor([[[1, 1, 0]]])
    expected = torch.stack([-p[0, 0, 0].log(), -p[0, 0, 1].log(), p[0, 0, 2] * 0])
    torch.testing.assert_close(loss(p.log(), target, mask)[0], expected)
    alone = torch.tensor([[[0, 1, 0]]])
    torch.testing.assert_close(loss(p.log(), target, alone)[0], expected * alone[0, 0])


def test_svls_of_one_class_is_cross_entropy() -> None:
    logits, _ = volume()
    target = torch.full((2, 1, 5, 6), 2)
    for border in ("renormalise", "replicate"):
        loss = medloss.SpatiallyVaryingLabelSmoothingLoss(to_onehot_y=True, border=border)
        torch.testing.assert_close(loss(logits, target), F.cross_entropy(logits, target[:, 0]))


def ace_by_loops(p: list[float], t: list[float], w: list[float], bins: int) -> float:
    """Voxels are put into bins one by one."""
    sums: dict[int, list[float]] = {}
    for prediction, member, weight in zip(p, t, w, strict=True):
        if weight:
            held = sums.setdefault(max(1, math.ceil(prediction * bins)), [0.0, 0.0, 0.0])
            for i, term in enumerate((weight * prediction, weight * member, weight)):
                held[i] += term
    return sum(abs(confidence - accuracy) / mass for confidence, accuracy, mass in sums.values()) / len(sums)


@pytest.mark.parametrize("bins", [1, 3, 20])
def test_ace_by_loops(bins: int) -> None:
    logits, target = volume()
    mask = torch.rand(2, 1, 5, 6, dtype=torch.float64) * (torch.rand(2, 1, 5, 6) > 0.2)
    found = medloss.ACELoss(bins=bins, softmax=True, to_onehot_y=True, reduction="none")(logits, target, mask)
    p, t = logits.softmax(1).flatten(2), one_hot(target).flatten(2)
    for b in range(2):
        for c in range(4):
            expected = ace_by_loops(p[b, c].tolist(), t[b, c].tolist(), mask[b].flatten().tolist(), bins)
            assert found[b, c].item() == pytest.approx(expected)


def test_ace_by_hand() -> None:
    """Two bins: .1, .3 and .5 of one member; .8 alone, which is none. The gradient moves the mean of each bin."""
    p = torch.tensor([[[0.1, 0.3, 0.5, 0.8]]])
    target = torch.tensor([[[0.0, 1.0, 0.0, 0.0]]])
    value, gradient = value_and_gradient(medloss.ACELoss(bins=2), p, target)
    assert value.item() == pytest.approx((1 / 3 - 0.3 + 0.8) / 2)
    torch.testing.assert_close(gradient, torch.tensor([[[-1 / 6, -1 / 6, -1 / 6, 1 / 2]]]))
    # 0 and 1 lie in the first and the last bin
    assert medloss.ACELoss(bins=2)(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.0, 1.0]]])) == 0


def test_a_calibrated_network_costs_nothing() -> None:
    """Of the voxels that say 1/4 every fourth is a member: perfectly calibrated, and right in no single voxel."""
    p = torch.tensor([0.25, 0.75]).repeat_interleave(8).view(1, 1, 16)
    target = torch.tensor([0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0]).view(1, 1, 16)
    assert medloss.ACELoss(bins=10)(p, target).item() == pytest.approx(0, abs=1e-6)
    mean = medloss.ACELoss(bins=1)(p, 0 * target)  # limit: the mean prediction and the share of the class
    assert mean.item() == pytest.approx(0.5)


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match="alpha=-1 is too small"):
        medloss.NACLLoss(alpha=-1)
    with pytest.raises(ValueError, match="takes no sigmoid"):
        medloss.NACLLoss(sigmoid=True)
    with pytest.raises(ValueError, match="kernel_size=4 must be an odd number"):
        medloss.NACLLoss(kernel_size=4)
    with pytest.raises(ValueError, match="margin=-1 is too small"):
        medloss.MbLSLoss(margin=-1)
    with pytest.raises(ValueError, match="no label_smoothing"):
        medloss.SpatiallyVaryingLabelSmoothingLoss(label_smoothing=0.1)
    with pytest.raises(ValueError, match="border='zero' is unknown"):
        medloss.SpatiallyVaryingLabelSmoothingLoss(border="zero")
    with pytest.raises(ValueError, match="bins=0 must be a number of bins"):
        medloss.ACELoss(bins=0)
