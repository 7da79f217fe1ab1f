"""The loss of spectral amplitudes: by hand, by its definition, its limits, and beside MONAI's."""

from __future__ import annotations

import math

import monai.losses
import pytest
import torch

import medloss

SHAPES = [(7,), (8,), (5, 6), (6, 5), (3, 4, 5)]


def pair(*shape: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]


def value_and_gradient(loss, input: torch.Tensor, *others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    input = input.clone().requires_grad_()
    value = loss(input, *others)
    return value.detach(), torch.autograd.grad(value.sum(), input)[0]


def test_spectral_amplitude_by_hand() -> None:
    """F = (a + b, a - b) / sqrt 2 of (a, b). Of (3, 1) and (0, 2) amplitudes of 4, 2 and 2, 2: 2² / 2 in two voxels."""
    x, y = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[0.0, 2.0]]])
    value, gradient = value_and_gradient(medloss.SpectralAmplitudeLoss(), x, y)
    assert value.item() == pytest.approx(1)
    # ((a + b) / sqrt 2 - sqrt 2)² / 2 has the slope (a + b) / 2 - 1 in both; the other frequency is at its minimum
    torch.testing.assert_close(gradient, torch.ones(1, 1, 2))
    assert medloss.SpectralAmplitudeLoss(fft_norm="backward")(x, y).item() == pytest.approx(2)
    assert medloss.SpectralAmplitudeLoss(fft_norm="forward")(x, y).item() == pytest.approx(0.5)
    # filled up to three voxels 3, 1, 0 has amplitudes 4 and twice |3 + u| = sqrt 7, with u a third root of one, and
    # 0, 2, 0 has 2 in all: (2² + 2 (sqrt 7 - 2)²) / 3 in three frequencies
    filled = medloss.SpectralAmplitudeLoss(fft_signal_size=[3])(x, y)
    assert filled.item() == pytest.approx((4 + 2 * (math.sqrt(7) - 2) ** 2) / 9)
    assert medloss.SpectralAmplitudeLoss(fft_signal_size=[1])(x, y).item() == pytest.approx(9)
    # a mask of the first voxel: amplitudes of 3 / sqrt 2 and 0, twice, by one voxel
    for weight in (1.0, 0.25):
        mask = torch.tensor([[[weight, 0.0]]])
        assert medloss.SpectralAmplitudeLoss()(x, y, mask).item() == pytest.approx(9)
        assert medloss.SpectralAmplitudeLoss(fft_signal_size=(1,))(x, y, mask).item() == pytest.approx(9)


@pytest.mark.parametrize("shape", SHAPES)
def test_its_definition_and_its_bound(shape: tuple[int, ...]) -> None:
    """The whole spectrum, of each sample and channel; at most the mean square of the difference, by Parseval."""
    x, y = pair(2, 3, *shape)
    mask = torch.rand(2, 1, *shape, dtype=torch.float64)
    axes = tuple(range(2, x.ndim))
    for weight in (None, mask):
        factor = torch.ones_like(mask) if weight is None else weight
        one, other = (torch.fft.fftn(factor.sqrt() * image, dim=axes, norm="ortho").abs() for image in (x, y))
        expected = (one - other).square().sum(axes) / factor.sum(axes)
        found = medloss.SpectralAmplitudeLoss(reduction="none")(x, y, weight)
        torch.testing.assert_close(found, expected)
        plain = (factor * (x - y) ** 2).sum(axes) / factor.sum(axes)
        assert (found < plain).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_phases_do_not_count(shape: tuple[int, ...]) -> None:
    x, _ = pair(2, 2, *shape)
    axes = tuple(range(2, x.ndim))
    for other in (-x, x.flip(axes), x.roll([1] * len(axes), axes)):
        torch.testing.assert_close(medloss.SpectralAmplitudeLoss()(x, other), x.new_zeros(()))
    one, other = pair(2, 2, *[1] * len(axes))
    expected = (one.abs() - other.abs()).square().mean()
    torch.testing.assert_close(medloss.SpectralAmplitudeLoss()(one, other), expected)


@pytest.mark.parametrize("fft_norm", ["ortho", "forward", "backward"])
@pytest.mark.parametrize("shape", SHAPES)
def test_of_monai(shape: tuple[int, ...], fft_norm: str) -> None:
    x, y = pair(2, 1, *shape)
    for size in (None, [n + 2 for n in shape], [n - 1 for n in shape]):
        ours = medloss.SpectralAmplitudeLoss(fft_signal_size=size, fft_norm=fft_norm)
        with_channel = None if size is None else (1, *size)  # it transforms the channels too
        theirs = monai.losses.JukeboxLoss(len(shape), with_channel, fft_norm)
        torch.testing.assert_close(value_and_gradient(ours, x, y), value_and_gradient(theirs, x, y))


def test_monai_transforms_the_channels_too() -> None:
    """As if they were one more axis of space: two equal channels against their copies of opposite sign."""
    x = torch.tensor([[[3.0, 1.0], [3.0, 1.0]]])
    y = x * torch.tensor([[[1.0], [-1.0]]])
    assert medloss.SpectralAmplitudeLoss()(x, y) == 0  # each channel is that of y, or its negative
    # over the channels (2 a, 0) / sqrt 2 and (0, 2 a) / sqrt 2, with a = 4 / sqrt 2 and 2 / sqrt 2 along the image:
    # squares of 16, 4, 16, 4 in four numbers
    assert monai.losses.JukeboxLoss(1)(x, y).item() == pytest.approx(10)
    volume = [image.unsqueeze(1) for image in (x, y)]
    assert medloss.SpectralAmplitudeLoss()(*volume).item() == pytest.approx(10)


def test_at_amplitudes_of_zero_the_gradient_is_finite() -> None:
    zeros, ones = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    value, gradient = value_and_gradient(medloss.SpectralAmplitudeLoss(), zeros, ones)
    assert value.item() == pytest.approx(1)
    assert torch.equal(gradient, zeros)
    value, gradient = value_and_gradient(medloss.SpectralAmplitudeLoss(), ones, zeros)
    torch.testing.assert_close(gradient, ones / 2)
    tiny = torch.tensor([[[1e-30, 0.0, 0.0, 0.0], [1e-20, 0.0, 0.0, 0.0]]])  # their squares are 0, or nearly
    for image in (ones, tiny):  # of the ones all frequencies but the first are 0
        first = image.clone().requires_grad_()
        value = medloss.SpectralAmplitudeLoss()(first, torch.ones_like(image))
        (gradient,) = torch.autograd.grad(value, first, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), first)
        assert gradient.isfinite().all()
        assert second[:, 0].isfinite().all()


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="fft_norm='none' is unknown"):
        medloss.SpectralAmplitudeLoss(fft_norm="none")
    with pytest.raises(ValueError, match="fft_signal_size=0 is too small"):
        medloss.SpectralAmplitudeLoss(fft_signal_size=(4, 0))
    with pytest.raises(ValueError, match=r"fft_signal_size=\[4\] must have one length for each of 2 spatial axes"):
        medloss.SpectralAmplitudeLoss(fft_signal_size=(4,))(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
