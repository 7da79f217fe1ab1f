"""Structural similarity in one window, at several scales, and mixed with L1: by hand, limits, and peers' faults."""

from __future__ import annotations

import monai.losses
import pytest
import torch

import medloss
from medloss.registry import losses

C1, C2 = 0.01**2, 0.03**2
MINE = ["SSIMLoss", "MultiScaleSSIMLoss", "MSSSIML1Loss"]


def line(*values: float) -> torch.Tensor:
    """A line of voxels."""
    return torch.tensor([[values]], dtype=torch.float64)


def pair(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images of noise."""
    return torch.rand(*shape, dtype=dtype), torch.rand(*shape, dtype=dtype)


def test_ssim_by_hand() -> None:
    """The window of three: means 2 and 3, variances 2/3 and 8/3, covariance -1/3."""
    x, y = line(1, 2, 3), line(2, 5, 2 - 0.0)
    mean_x, mean_y = 2, 3
    var_x, var_y, covariance = 2 / 3, (1 + 4 + 1) / 3, (-1 * -1 + 0 * 2 + 1 * -1) / 3
    similarity = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    similarity /= (mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2)
    options = {"window": "uniform", "window_size": 3}
    assert medloss.SSIMLoss(**options)(x, y).item() == pytest.approx(1 - similarity)
    assert medloss.SSIMLoss(**options, convention="half")(x, y).item() == pytest.approx((1 - similarity) / 2)
    none = medloss.SSIMLoss(**options, reduction="none")
    assert none(x, y).shape == (1, 1, 1)
    assert none(x, y, torch.ones_like(x)).shape == (1, 1, 3)
    # with ten times the range both constants are a hundred times as large
    scaled = medloss.SSIMLoss(**options, data_range=10.0)(10 * x, 10 * y)
    torch.testing.assert_close(scaled, medloss.SSIMLoss(**options)(x, y))


def test_a_window_counts_its_valid_voxels_by_hand() -> None:
    """The voxel in the middle is masked: both others see a window of (1, 3) and (2, 6), with means 2 and 4, variances
    1 and 4, and covariance 2. With weights 1 and 2 they are 7/3 and 14/3, 8/9 and 32/9, and 16/9."""
    x, y = line(1, torch.nan, 3), line(2, torch.inf, 6)
    loss = medloss.SSIMLoss(window="uniform", window_size=5, reduction="none")
    alike = 1 - (2 * 2 * 4 + C1) * (2 * 2 + C2) / ((4 + 16 + C1) * (1 + 4 + C2))
    torch.testing.assert_close(loss(x, y, line(1, 0, 1)), line(alike, 0, alike))
    weighted = 1 - (2 * 98 / 9 + C1) * (32 / 9 + C2) / ((245 / 9 + C1) * (40 / 9 + C2))
    torch.testing.assert_close(loss(x, y, line(1, 0, 2)), line(weighted, 0, 2 * weighted))
    assert medloss.SSIMLoss(window="uniform", window_size=5)(x, y, line(1, 0, 2)).item() == pytest.approx(weighted)


def test_one_voxel_has_no_structure() -> None:
    loss = medloss.SSIMLoss(border="renormalise")
    assert loss(line(0.5), line(0.3)).item() == pytest.approx(1 - (0.3 + C1) / (0.34 + C1))
    assert medloss.MSSSIML1Loss(alpha=0.0)(line(0.5), line(0.3), line(2)).item() == pytest.approx(200 * 0.2)


@pytest.mark.parametrize("shape", [(30,), (20, 22), (12, 13, 14)])
def test_equal_and_opposite_images(shape: tuple[int, ...]) -> None:
    """0 for equal ones, exactly; about 2 for opposite ones around a mean of 0."""
    x = torch.rand(2, 1, *shape) - 0.5
    for border in ("valid", "reflect", "renormalise"):
        loss = medloss.SSIMLoss(border=border)
        assert loss(x, x) == 0
        assert loss(x, x + 0.001) > 0
        assert medloss.SSIMLoss(border=border, window="uniform", k1=0.5)(x, -x) > 1.5


def test_each_axis_may_have_its_own_window() -> None:
    """A window of one voxel along an axis looks at each slice by itself."""
    x, y = pair(1, 1, 3, 12, 13)
    thin = medloss.SSIMLoss(window_size=(1, 7, 5), sigma=(1.0, 1.5, 0.8))(x, y)
    slices = [medloss.SSIMLoss(window_size=(7, 5), sigma=(1.5, 0.8))(x[:, :, i], y[:, :, i]) for i in range(3)]
    torch.testing.assert_close(thin, torch.stack(slices).mean())
    with pytest.raises(ValueError, match="window_size has 2 entries and the image 3 spatial axes"):
        medloss.SSIMLoss(window_size=(7, 5))(x, y)


def test_multi_scale_by_hand() -> None:
    """Ramps i and 2 i. Every window of three: variances 2/3 and 8/3, covariance 4/3. Averaged by two: 1/2, 5/2, 9/2,
    whose one window has mean 5/2 and variance 8/3."""
    x = line(*range(6))
    fine = (2 * 4 / 3 + C2) / (10 / 3 + C2)
    coarse = (2 * 2.5 * 5 + C1) / (2.5**2 + 25 + C1) * (2 * 16 / 3 + C2) / (8 / 3 + 32 / 3 + C2)
    loss = medloss.MultiScaleSSIMLoss(window="uniform", window_size=3, scale_weights=(0.4, 0.6))
    assert loss(x, 2 * x).item() == pytest.approx(1 - fine**0.4 * coarse**0.6)


def test_multi_scale_limits() -> None:
    x, y = pair(2, 3, 20, 21)
    y = 0.7 * x + 0.3 * y
    one = medloss.MultiScaleSSIMLoss(scale_weights=[1.0], reduction="none")(x, y)
    single = medloss.SSIMLoss(reduction="none")(x, y).mean((2, 3))
    torch.testing.assert_close(one, single)
    opposite = x.clone().requires_grad_()
    value = medloss.MultiScaleSSIMLoss(scale_weights=[0.5, 0.5], window_size=5)(opposite, 1 - x)
    assert value == 1
    assert not torch.autograd.grad(value, opposite)[0].any()


def test_multi_scale_under_a_mask_of_whole_pairs_is_that_of_the_box() -> None:
    x, y = pair(2, 2, 14, 16)
    y = 0.5 * x + 0.5 * y
    mask = torch.zeros(2, 1, 14, 16)
    box = (..., slice(4, 12), slice(8, 16))  # pairs of pairs
    mask[box] = 1
    options = {"window_size": 3, "scale_weights": (0.2, 0.3, 0.5)}
    dirty = torch.where(mask > 0, x, torch.full_like(x, torch.nan))
    expected = medloss.MultiScaleSSIMLoss(**options, border="renormalise")(x[box], y[box])
    torch.testing.assert_close(medloss.MultiScaleSSIMLoss(**options)(dirty, y, mask), expected)


def test_half_a_pair_by_hand() -> None:
    """The second voxel is masked: the first pair is the voxel 1 (or 2) alone, and counts half. A window of one voxel
    has no structure, so what is left is the luminance of (1, 4) against (2, 4)."""
    x, y, mask = line(1, torch.nan, 3, 5), line(2, 77, 5, 3), line(1, 0, 1, 1)
    luminance = (2 * 1 * 2 + C1) / (1 + 4 + C1)
    loss = medloss.MultiScaleSSIMLoss(window_size=1, scale_weights=(0.5, 1.0))
    assert loss(x, y, mask).item() == pytest.approx(1 - (0.5 * luminance + 1) / 1.5)


def test_the_mixture_by_hand_and_its_limits() -> None:
    """Constant images have structure 1 at every scale: what is left is luminance and difference."""
    x, y = torch.full((1, 2, 5, 6), 0.5), torch.full((1, 2, 5, 6), 0.3)
    luminance = (2 * 0.15 + C1) / (0.25 + 0.09 + C1)
    loss = medloss.MSSSIML1Loss(border="renormalise")
    assert loss(x, y).item() == pytest.approx(200 * (0.025 * (1 - luminance) + 0.975 * 0.2), rel=1e-5)
    assert medloss.MSSSIML1Loss(border="renormalise", reduction="none")(x, y).shape == (1, 5, 6)
    x, y = pair(2, 1, 9, 10)
    one = medloss.MSSSIML1Loss(sigmas=[1.5], alpha=1.0, compensation=1.0, border="renormalise")
    torch.testing.assert_close(one(x, y), medloss.SSIMLoss(window_size=7, border="renormalise")(x, y))
    flat = torch.full_like(x, 0.25)
    smooth = medloss.MSSSIML1Loss(alpha=0.0, compensation=1.0, border="renormalise", data_range=2.0)
    torch.testing.assert_close(smooth(x, x + flat), medloss.L1Loss()(x, x + flat) / 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SSIMLoss", {"window_size": 4}, "window_size=4 must be an odd number"),
        ("SSIMLoss", {"window_size": (3, 4)}, "must be an odd number"),
        ("SSIMLoss", {"sigma": 0.0}, "sigma=0.0 must be a number above 0"),
        ("SSIMLoss", {"window": "round"}, "window='round' is unknown"),
        ("SSIMLoss", {"border": "same"}, "border='same' is unknown"),
        ("SSIMLoss", {"convention": "dssim"}, "convention='dssim' is unknown"),
        ("SSIMLoss", {"k1": -0.1}, "k1=-0.1 is too small"),
        ("MultiScaleSSIMLoss", {"scale_weights": []}, "one or more numbers"),
        ("MultiScaleSSIMLoss", {"scale_weights": [0.5, -0.5]}, "one or more numbers"),
        ("MSSSIML1Loss", {"sigmas": [2.0, 1.0]}, "must grow from a number above 0"),
        ("MSSSIML1Loss", {"sigmas": []}, "must grow"),
        ("MSSSIML1Loss", {"alpha": 1.5}, "alpha=1.5 is too large"),
        ("MSSSIML1Loss", {"border": "valid"}, "border='valid' is unknown"),
    ],
)
def test_options_out_of_range(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(medloss, name)(**options)


def test_images_that_are_too_small_are_told_what_would_fit() -> None:
    x = torch.rand(1, 1, 10, 40)
    with pytest.raises(medloss.ShapeError, match=r"10x40: border='valid' with windows of 11x11 needs at least 11x11"):
        medloss.SSIMLoss()(x, x)
    with pytest.raises(medloss.ShapeError, match=r"needs at least 11x11 voxels.*border='renormalise'"):
        medloss.SSIMLoss(window_size=21, border="reflect")(x, x)
    with pytest.raises(medloss.ShapeError, match=r"5 scales and this window need at least 176x176"):
        medloss.MultiScaleSSIMLoss()(x, x)
    with pytest.raises(medloss.ShapeError, match="at least 16x16 voxels"):
        medloss.MultiScaleSSIMLoss(border="renormalise")(x, x)
    assert medloss.SSIMLoss(border="renormalise")(x, x) == 0
    assert medloss.SSIMLoss()(x, x, torch.ones_like(x)) == 0


@pytest.mark.parametrize("name", [cls.__name__ for cls in losses("image").values() if "image" in cls.__module__])
def test_nan_is_not_hidden(name: str) -> None:
    """A fault in an image is never taken for a good value."""
    x, y = torch.rand(1, 1, 20, 20), torch.rand(1, 1, 20, 20)
    x[..., 10, 10] = torch.nan
    options = {"scale_weights": (0.5, 0.5), "window_size": 3} if name == "MultiScaleSSIMLoss" else {}
    assert torch.isnan(getattr(medloss, name)(**options)(x, y))
    if name == "TotalVariationLoss":
        assert torch.isnan(medloss.TotalVariationLoss(isotropic=True)(x))


def test_d6_the_peers_ssim_explodes_on_an_offset() -> None:
    """CT numbers: E[x^2] - E[x]^2 in float32 has no digits left; what should lie in [0, 2] is -1 or 16 in the peer."""
    x, y = pair(1, 1, 20, 22, dtype=torch.float32)
    x, y = 1000 + x, 1000 + y
    exact = medloss.SSIMLoss()(x.double(), y.double()).item()
    assert medloss.SSIMLoss()(x, y).item() == pytest.approx(exact, abs=1e-5)
    theirs = monai.losses.SSIMLoss(2)(x, y).item()
    assert abs(theirs - exact) > 0.5  # the peer's fault
    kornia = pytest.importorskip("kornia")
    half = medloss.SSIMLoss(convention="half", border="reflect")
    theirs = kornia.losses.ssim_loss(x, y, 11).item()
    assert abs(theirs - half(x.double(), y.double()).item()) > 0.01  # the peer's fault
    assert half(x, y).item() == pytest.approx(half(x.double(), y.double()).item(), abs=1e-5)


def test_one_dimension() -> None:
    """A signal is an image of one row; MONAI's loss crashes on it."""
    x, y = pair(1, 1, 30)
    with pytest.raises(IndexError):
        monai.losses.SSIMLoss(1)(x, y)
    row = medloss.SSIMLoss(window_size=(1, 11))(x[:, :, None], y[:, :, None])
    torch.testing.assert_close(medloss.SSIMLoss()(x, y), row)


@pytest.mark.parametrize("border", ["zero", "reflect", "renormalise"])
def test_an_offset_costs_no_digits_at_any_border(border: str) -> None:
    """Contrast 1 at offset 1000: float32 is float64. Zeros around the image must not move the level taken off."""
    x, y = (torch.rand(1, 1, 40, 40, dtype=torch.float64) + 1000 for _ in range(2))
    loss = medloss.MSSSIML1Loss(sigmas=(1.0, 2.0), alpha=1.0, compensation=1.0, border=border)
    torch.testing.assert_close(loss(x.float(), y.float()).double(), loss(x, y), rtol=1e-4, atol=0)
