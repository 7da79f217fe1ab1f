"""Losses between images: values by hand, the limits that the docstrings state, and what a mask takes away."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import medloss

NAMED = {"CharbonnierLoss": 1.0, "CauchyLoss": 0.0, "GemanMcClureLoss": -2.0, "WelschLoss": -math.inf}
"""The named penalties, and Barron's alpha of each."""


def pair(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images in float64."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(*shape, generator=generator, dtype=torch.float64) for _ in range(2))


def image(*values: float) -> torch.Tensor:
    """A line of voxels."""
    return torch.tensor([[values]], dtype=torch.float64)


# r = 3 at scale 1: sqrt 10 - 1; log(11/2); 18/13; 1 - exp(-9/2); huber of 1: 3 - 1/2
PENALTIES = {
    "L1Loss": 3.0,
    "MSELoss": 9.0,
    "HuberLoss": 2.5,
    "CharbonnierLoss": math.sqrt(10) - 1,
    "CauchyLoss": math.log(5.5),
    "GemanMcClureLoss": 18 / 13,
    "WelschLoss": 1 - math.exp(-4.5),
    "TukeyLoss": 1 / 6,
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_by_hand(name: str) -> None:
    """Differences of 3, -3 and 0, and one of 100 under a weight of 0."""
    x, y = image(3, 0, 1, 100), image(0, 3, 1, 0)
    loss = getattr(medloss, name)
    assert loss()(x[..., :3], y[..., :3]).item() == pytest.approx(2 * PENALTIES[name] / 3)
    assert loss()(x, y, image(1, 3, 4, 0)).item() == pytest.approx(4 * PENALTIES[name] / 8)
    none = loss(reduction="none")(x, y, image(1, 3, 4, 0))
    torch.testing.assert_close(none, image(PENALTIES[name], 3 * PENALTIES[name], 0, 0))


def test_the_biweight_by_hand() -> None:
    """Differences of 1 and 3 at a scale of 2: (1 - (3/4)^3) / 6, and 1/6 without a slope; small ones as the others."""
    x = image(1, 3).requires_grad_()
    loss = medloss.TukeyLoss(scale=2, reduction="none")
    torch.testing.assert_close(loss(x, torch.zeros_like(x)), image(37 / 384, 1 / 6))
    (slope,) = torch.autograd.grad(medloss.TukeyLoss(scale=2, reduction="sum")(x, torch.zeros_like(x)), x)
    torch.testing.assert_close(slope, image(1 / 4 * (3 / 4) ** 2, 0))
    small = medloss.TukeyLoss(scale=2)(image(1e-9), image(0)).item()
    assert small == pytest.approx(1e-18 / 8, rel=1e-9)


@pytest.mark.parametrize("name", NAMED)
def test_named_penalties_are_members_of_the_family(name: str) -> None:
    x, y = pair(2, 1, 5, 6)
    for scale in (1.0, 0.2):
        named = getattr(medloss, name)(scale=scale)(x, y)
        torch.testing.assert_close(named, medloss.RobustLoss(alpha=NAMED[name], scale=scale)(x, y))
    torch.testing.assert_close(getattr(medloss, name)(scale=0.2)(x, y), getattr(medloss, name)()(x / 0.2, y / 0.2))


def test_the_family_of_barron() -> None:
    """The formula at r = 3, c = 2; the limits at 2, 0 and minus infinity from both sides; a bound below 0."""
    x, y = image(3), image(0)
    for alpha in (-5.0, -2.0, -0.5, 0.7, 1.0, 1.9, 3.0):
        width = abs(alpha - 2)
        expected = width / alpha * ((2.25 / width + 1) ** (alpha / 2) - 1)
        assert medloss.RobustLoss(alpha=alpha, scale=2.0)(x, y).item() == pytest.approx(expected)
    for limit, near in ((2.0, (2 - 1e-7, 2 + 1e-7)), (0.0, (-1e-9, 1e-9)), (-math.inf, (-1e9,))):
        expected = medloss.RobustLoss(alpha=limit)(x, y).item()
        for alpha in near:
            assert medloss.RobustLoss(alpha=alpha)(x, y).item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(medloss.RobustLoss(alpha=2.0)(x, y), medloss.MSELoss()(x, y) / 2)
    far = torch.full((1, 1, 1), 1e6, dtype=torch.float64)
    assert medloss.RobustLoss(alpha=-4.0)(far, 0 * far).item() == pytest.approx(6 / 4)


@pytest.mark.parametrize("alpha", [-math.inf, -3.0, -2.0, 0.0, 0.5, 1.0, 1.7, 2.0])
def test_small_differences_keep_their_digits(alpha: float) -> None:
    """All are r^2 / 2 for a small r; as a difference of two numbers near 1 nothing would be left of it in float32."""
    r = torch.full((1, 1, 1), 1e-5, requires_grad=True)
    for loss in (medloss.RobustLoss(alpha=alpha), *(getattr(medloss, n)() for n, a in NAMED.items() if a == alpha)):
        value = loss(r, torch.zeros_like(r))
        assert value.item() == pytest.approx(0.5e-10, rel=1e-4)
        assert torch.autograd.grad(value, r)[0].item() == pytest.approx(1e-5, rel=1e-4)


def test_charbonnier_of_a_huge_difference_is_its_size() -> None:
    x = torch.full((1, 1, 1), 1e25)
    torch.testing.assert_close(medloss.CharbonnierLoss()(x, 0 * x), x.mean())


def test_huber_between_its_neighbours() -> None:
    x, y = pair(2, 2, 6)
    torch.testing.assert_close(medloss.HuberLoss(delta=2.0)(x, y), medloss.MSELoss()(x, y) / 2)
    torch.testing.assert_close(medloss.HuberLoss(delta=1e-9)(x, y) / 1e-9, medloss.L1Loss()(x, y), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(medloss.HuberLoss(delta=0.3)(x, y), F.huber_loss(x, y, delta=0.3))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("HuberLoss", {"delta": 0.0}, "delta=0.0 must be a number above 0"),
        ("CauchyLoss", {"scale": -1.0}, "scale=-1.0 must be a number above 0"),
        ("RobustLoss", {"alpha": math.inf}, "alpha=inf must be a number or minus infinity"),
        ("RobustLoss", {"alpha": math.nan}, "alpha=nan"),
        ("PSNRLoss", {"data_range": 0.0}, "data_range=0.0 must be a number above 0"),
        ("PSNRLoss", {"eps": -1.0}, "eps=-1.0 is too small"),
        ("GradientDifferenceLoss", {"alpha": 0.5}, "alpha=0.5 is too small"),
        ("TotalVariationLoss", {"spacing": 0.0}, "spacing must be above 0"),
        ("InverseDepthSmoothnessLoss", {"sharpness": -1.0}, "sharpness=-1.0 is too small"),
        ("HeatmapKLDivLoss", {"eps": -1.0}, "eps=-1.0 is too small"),
        ("FocalFrequencyLoss", {"alpha": -1.0}, "alpha=-1.0 is too small"),
    ],
)
def test_options_out_of_range(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(medloss, name)(**options)


def test_psnr_by_hand() -> None:
    """Samples of mean squared errors 0.01 and 1: -20 and 0 decibels; of the joined batch 0.505."""
    x = torch.zeros(2, 1, 4, dtype=torch.float64)
    y = torch.tensor([0.1, 1.0], dtype=torch.float64).view(2, 1, 1).expand(2, 1, 4)
    exact = {"eps": 0.0}
    torch.testing.assert_close(medloss.PSNRLoss(reduction="none", **exact)(x, y), x.new_tensor([-20.0, 0.0]))
    assert medloss.PSNRLoss(**exact)(x, y).item() == pytest.approx(-10)
    assert medloss.PSNRLoss(batch=True, **exact)(x, y).item() == pytest.approx(10 * math.log10(0.505))
    assert medloss.PSNRLoss(batch=True, reduction="none")(x, y).shape == (1,)
    scaled = medloss.PSNRLoss(data_range=255.0)(255 * x, 255 * y)
    torch.testing.assert_close(scaled, medloss.PSNRLoss()(x, y))
    only = torch.tensor([1.0, 0.0], dtype=torch.float64).view(2, 1, 1).expand(2, 1, 4)
    assert medloss.PSNRLoss(**exact)(x, y, only).item() == pytest.approx(-20), "a sample without voxels has no mean"


def test_d11_psnr_of_equal_images_is_finite() -> None:
    x = torch.rand(2, 1, 5, requires_grad=True)
    value = medloss.PSNRLoss()(x, x.detach())
    assert value.item() == pytest.approx(-100)
    assert not torch.autograd.grad(value, x)[0].any()
    assert medloss.PSNRLoss(eps=0.0)(x, x.detach()) == -math.inf


def test_total_variation_by_hand() -> None:
    """Steps of 1 and 3 in a line of three; with voxels of 2 they are half as steep."""
    x = image(0, 1, 4)
    assert medloss.TotalVariationLoss()(x).item() == 2
    assert medloss.TotalVariationLoss(average=False)(x).item() == 4
    assert medloss.TotalVariationLoss(spacing=2.0)(x).item() == 1
    assert medloss.TotalVariationLoss(spacing=[2.0], average=False)(x).item() == 2
    assert medloss.TotalVariationLoss(isotropic=True, average=False)(x).item() == 4
    assert medloss.TotalVariationLoss()(x, mask=image(1, 1, 0)).item() == 1, "the step over the mask's edge is none"
    assert medloss.TotalVariationLoss()(x, mask=image(1, 0, 1)).item() == 0
    with pytest.raises(ValueError, match="spacing has 2 entries"):
        medloss.TotalVariationLoss(spacing=[1.0, 1.0])(x)


def test_total_variation_limits() -> None:
    stripes = torch.rand(1, 1, 7, 1, dtype=torch.float64).expand(1, 1, 7, 5)  # changes along one axis alone
    sums = [medloss.TotalVariationLoss(average=False, isotropic=isotropic)(stripes) for isotropic in (False, True)]
    torch.testing.assert_close(*sums)
    x, _ = pair(1, 1, 6, 7)
    whole = medloss.TotalVariationLoss(average=False)(x)
    assert whole / math.sqrt(2) < medloss.TotalVariationLoss(average=False, isotropic=True)(x) < whole


def test_total_variation_stands_in_a_sum_of_image_losses() -> None:
    x, y = pair(2, 1, 5, 6)
    total = medloss.WeightedSum({"l1": medloss.L1Loss(), "tv": medloss.TotalVariationLoss()}, weights={"tv": 0.1})
    torch.testing.assert_close(total(x, y), medloss.L1Loss()(x, y) + 0.1 * medloss.TotalVariationLoss()(x))


def test_gradient_difference_by_hand_and_its_limits() -> None:
    """Steps 1, 3 against -2, 0: differences of steepness 1 and 3."""
    x, y = image(0, 1, 4), image(2, 0, 0)
    assert medloss.GradientDifferenceLoss()(x, y).item() == 2
    assert medloss.GradientDifferenceLoss(alpha=2.0)(x, y).item() == 5
    assert medloss.GradientDifferenceLoss(alpha=2.0, spacing=2.0)(x, y).item() == 5 / 4
    x, y = pair(2, 2, 5, 6)
    torch.testing.assert_close(medloss.GradientDifferenceLoss()(x, 0 * y + 3), medloss.TotalVariationLoss()(x))
    assert medloss.GradientDifferenceLoss()(x, x + 5).item() == pytest.approx(0, abs=1e-12)
    assert medloss.GradientDifferenceLoss()(x, -x).item() == 0


def test_inverse_depth_by_hand_and_its_limits() -> None:
    """Steps of 2 and 1 of the map; the image steps by 1 and 3 in two channels at the first, mean 2."""
    depth = image(0, 2, 3)
    colour = torch.tensor([[[0.0, 1.0, 1.0], [0.0, -3.0, -3.0]]], dtype=torch.float64)
    loss = medloss.InverseDepthSmoothnessLoss
    assert loss()(depth, colour).item() == pytest.approx((2 * math.exp(-2) + 1) / 2)
    assert loss(sharpness=0.5)(depth, colour).item() == pytest.approx((2 * math.exp(-1) + 1) / 2)
    assert loss(spacing=2.0)(depth, colour).item() == pytest.approx((math.exp(-1) + 0.5) / 2)
    x, y = pair(2, 1, 5, 6)
    torch.testing.assert_close(loss(sharpness=0.0)(x, y), medloss.TotalVariationLoss()(x))
    torch.testing.assert_close(loss()(x, 0 * y), medloss.TotalVariationLoss()(x))
    assert loss()(0 * x + 4, y) == 0


def test_inverse_depth_errors() -> None:
    loss, depth = medloss.InverseDepthSmoothnessLoss(), torch.rand(2, 1, 4, 5)
    with pytest.raises(medloss.ShapeError, match="they may differ in channels only"):
        loss(depth, torch.rand(2, 3, 4, 6))
    with pytest.raises(medloss.ShapeError, match="mask has shape"):
        loss(depth, torch.rand(2, 3, 4, 5), mask=torch.ones(2, 1, 4))
    with pytest.raises(TypeError, match="positional"):
        medloss.InverseDepthSmoothnessLoss(True)
    with pytest.raises(ValueError, match="reduction='avg' is unknown"):
        medloss.InverseDepthSmoothnessLoss(reduction="avg")


@pytest.mark.parametrize("name", ["InverseDepthSmoothnessLoss", "HeatmapKLDivLoss"])
def test_the_target_has_a_gradient_where_the_two_are_unlike(name: str) -> None:
    x, y = pair(1, 1, 4, 5)
    mask = (torch.rand(1, 1, 4, 5) > 0.3).double()
    torch.autograd.gradcheck(lambda target: getattr(medloss, name)()(x, target, mask), y.requires_grad_())


def test_divergences_by_hand() -> None:
    """p = (1/4, 3/4), t = (1/2, 1/2), and 0 log 0 = 0. KL(t || p), not KL(p || t)."""
    p, t = image(0.25, 0.75), image(0.5, 0.5)
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert medloss.HeatmapKLDivLoss()(p, t).item() == pytest.approx(expected)
    m = (0.375, 0.625)
    of_p = 0.25 * math.log(0.25 / m[0]) + 0.75 * math.log(0.75 / m[1])
    of_t = 0.5 * math.log(0.5 / m[0]) + 0.5 * math.log(0.5 / m[1])
    assert medloss.HeatmapJSDivLoss()(p, t).item() == pytest.approx((of_p + of_t) / 2)
    assert medloss.HeatmapKLDivLoss(eps=0.0)(image(0.5, 0.5, 0), image(1, 0, 0)).item() == pytest.approx(math.log(2))
    assert medloss.HeatmapJSDivLoss(eps=0.0)(image(1, 0, 0), image(0, 1, 0)).item() == pytest.approx(math.log(2))


def test_a_prediction_of_zero() -> None:
    p = image(0.0, 1.0).requires_grad_()
    t = image(0.5, 0.5)
    assert medloss.HeatmapKLDivLoss(eps=0.0)(p, t) == math.inf
    value = medloss.HeatmapKLDivLoss()(p, t)
    assert value.item() == pytest.approx(math.log(0.5) - 0.5 * math.log(1e-12))
    assert torch.isfinite(torch.autograd.grad(value, p)[0]).all()
    for loss in (medloss.HeatmapKLDivLoss, medloss.HeatmapJSDivLoss):
        assert loss()(image(1, 0, 0), image(1, 0, 0)) == 0
        assert torch.isnan(loss()(image(0.5, torch.nan), image(0.5, 0.5))), "a fault is not hidden"
        assert torch.isnan(loss()(image(0.5, 0.5), image(0.5, torch.nan)))


def test_a_masked_heat_map_is_the_sum_over_its_voxels() -> None:
    """Weights count relative to their mean: 1 and 3 are 1/2 and 3/2."""
    p, t = image(0.25, 0.75, 0.1), image(0.5, 0.25, 0.9)
    terms = [0.5 * math.log(0.5 / 0.25), 0.25 * math.log(0.25 / 0.75)]
    loss = medloss.HeatmapKLDivLoss()
    assert loss(p, t, image(1, 1, 0)).item() == pytest.approx(sum(terms))
    assert loss(p, t, image(1, 3, 0)).item() == pytest.approx(terms[0] / 2 + terms[1] * 3 / 2)


def test_focal_frequency_by_hand_and_its_limit() -> None:
    """x - y = (3, 1): F = (4, 2) / sqrt 2, powers 8 and 2, weights 1 and 1/2."""
    x, y = image(3, 1), image(0, 0)
    assert medloss.FocalFrequencyLoss()(x, y).item() == pytest.approx((8 + 2 / 2) / 2)
    assert medloss.FocalFrequencyLoss(alpha=2.0)(x, y).item() == pytest.approx((8 + 2 / 4) / 2)
    for shape in ((2, 2, 7), (2, 1, 5, 6), (1, 2, 3, 4, 5)):
        x, y = pair(*shape)
        mask = torch.rand(shape[0], 1, *shape[2:], dtype=torch.float64)
        for weight in (None, mask):  # Parseval: of every sample and channel
            flat = medloss.FocalFrequencyLoss(alpha=0.0, reduction="none")(x, y, weight)
            assert flat.shape == shape[:2]
            one = medloss.MSELoss()(x[:1, :1], y[:1, :1], None if weight is None else weight[:1])
            torch.testing.assert_close(flat[0, 0], one)
        assert medloss.FocalFrequencyLoss()(x, y) < medloss.MSELoss()(x, y)
    whole = torch.fft.fftn(x - y, dim=(2, 3, 4), norm="ortho").abs()
    weights = whole / whole.amax((2, 3, 4), keepdim=True)
    torch.testing.assert_close(medloss.FocalFrequencyLoss()(x, y), (weights * whole**2).mean())
