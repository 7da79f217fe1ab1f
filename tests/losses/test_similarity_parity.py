"""Value and gradient of the histogram losses beside MONAI's and kornia's, and where a peer is wrong."""

from __future__ import annotations

import monai.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import medloss

SHAPES = st.sampled_from([(30,), (6, 7), (5, 4, 6)])


def compare(ours: torch.Tensor, theirs: torch.Tensor, *leaves: torch.Tensor) -> None:
    """Value, and the gradient of each leaf within a part of its largest entry."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    for leaf in leaves:
        found, expected = (torch.autograd.grad(value, leaf, retain_graph=True)[0] for value in (ours, theirs))
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * expected.abs().max().item())


def images(shape: tuple[int, ...], seed: int, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A little beyond the range from 0 to 1, and related."""
    generator = torch.Generator().manual_seed(seed)
    x, noise = (torch.rand(2, channels, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return (1.2 * x - 0.1).requires_grad_(), (0.5 * (1 - x) + 0.6 * noise - 0.05).requires_grad_()


@settings(max_examples=20, deadline=None)
@given(
    shape=SHAPES, seed=st.integers(0, 99), channels=st.integers(1, 2), bins=st.sampled_from([2, 9, 23, 40]),
    sigma=st.sampled_from([0.3, 0.5, 1.5]), reduction=st.sampled_from(["mean", "sum"]),
    smooth=st.sampled_from([1e-7, 1e-3]),
)  # fmt: skip
def test_gaussian(shape, seed, channels, bins, sigma, reduction, smooth) -> None:
    x, y = images(shape, seed, channels)
    shared = {"num_bins": bins, "sigma_ratio": sigma, "reduction": reduction, "smooth_nr": smooth, "smooth_dr": smooth}
    ours = medloss.GlobalMutualInformationLoss(**shared)(x, y)
    compare(ours, monai.losses.GlobalMutualInformationLoss(**shared)(x, y), x, y)


@settings(max_examples=20, deadline=None)
@given(
    shape=SHAPES, seed=st.integers(0, 99), channels=st.integers(1, 2), bins=st.sampled_from([8, 23, 40]),
    reduction=st.sampled_from(["mean", "sum"]),
)  # fmt: skip
def test_b_spline(shape, seed, channels, bins, reduction) -> None:
    """MONAI takes the range of the whole batch and differentiates it, too: so does ours on images scaled by it."""
    x, y = images(shape, seed, channels)
    shared = {"kernel_type": "b-spline", "num_bins": bins, "reduction": reduction}
    theirs = monai.losses.GlobalMutualInformationLoss(**shared)(x, y)
    scaled = [(image - image.min()) / (image.max() - image.min()) for image in (x, y)]
    compare(medloss.GlobalMutualInformationLoss(**shared)(*scaled), theirs, x)
    ours = medloss.GlobalMutualInformationLoss(**shared, intensity_range="batch")(x, y)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    found, expected = (torch.autograd.grad(value, x, retain_graph=True)[0] for value in (ours, theirs))
    inner = (x > x.min()) & (x < x.max())
    torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=2e-5 * expected[inner].abs().max().item())


def test_all_channels_are_in_one_histogram_of_monai_too() -> None:
    x, y = torch.rand(2, 3, 20), torch.rand(2, 3, 20)
    for kernel in ("gaussian", "b-spline"):
        theirs = monai.losses.GlobalMutualInformationLoss(kernel)
        torch.testing.assert_close(theirs(x, y), theirs(x.reshape(2, 1, 60), y.reshape(2, 1, 60)))


def test_d11_monai_b_spline_of_a_constant_image_is_nan() -> None:
    x, y = torch.full((1, 1, 9, 9), 0.4, requires_grad=True), torch.rand(1, 1, 9, 9)
    assert torch.isnan(monai.losses.GlobalMutualInformationLoss("b-spline")(x, y))  # the peer's fault
    for kind in ((0.0, 1.0), "image", "batch"):
        loss = medloss.GlobalMutualInformationLoss(kernel_type="b-spline", intensity_range=kind)
        for pair in ((x, y), (y, x), (x, x)):
            value = loss(*pair)
            assert value.item() == pytest.approx(0, abs=1e-4)
            assert torch.isfinite(torch.autograd.grad(value + 0 * x.sum(), x)[0]).all()


def test_monai_b_spline_mixes_the_samples_of_a_batch() -> None:
    """One bright sample takes the bins of the others; ours of "image" are each sample's own."""
    x, y = torch.rand(2, 1, 500), torch.rand(2, 1, 500)
    y[0] = x[0]
    bright = torch.stack([x[0], 100 * x[1]])
    theirs = monai.losses.GlobalMutualInformationLoss("b-spline", reduction="none")
    assert theirs(x, y)[0] < -1
    assert theirs(bright, y)[0] > -0.1  # the peer's fault: the first sample is what it was
    ours = medloss.GlobalMutualInformationLoss(kernel_type="b-spline", intensity_range="image", reduction="none")
    torch.testing.assert_close(ours(bright, y), ours(x, y))


def test_kornias_normalized_mutual_information_is_ours_minus_two() -> None:
    """Of one and the same histogram, and within the width of the windows with each its own."""
    losses = pytest.importorskip("kornia.losses")
    from kornia.losses.mutual_information import _joint_histogram_to_entropies

    counts = torch.rand(3, 12, 12, dtype=torch.float64) ** 4
    joint = counts / counts.sum((1, 2), keepdim=True)
    of_x, of_y, of_both = _joint_histogram_to_entropies(joint.clone(), eps=1e-12)
    ours = medloss.NormalizedMutualInformationLoss(smooth_dr=1e-12)
    torch.testing.assert_close(ours.compare(joint) - 2, -(of_x + of_y) / of_both)

    x = torch.rand(1, 1, 60, 60, dtype=torch.float64)
    smooth = torch.nn.functional.avg_pool2d(x, 5, 1, 2)
    ours = medloss.NormalizedMutualInformationLoss(num_bins=32, sigma_ratio=0.4, intensity_range="image")
    for y in (smooth**2, x, torch.rand_like(x)):
        theirs = losses.normalized_mutual_information_loss_2d(smooth[0], y[0], num_bins=32)
        assert (ours(smooth, y) - 2).item() == pytest.approx(theirs.item(), abs=0.05)
