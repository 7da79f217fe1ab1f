"""Similarities of images: values by hand or from the definition, and the limits that the docstrings state."""

from __future__ import annotations

import math

import pytest
import torch

import medloss

NARROW = {"num_bins": 2, "sigma_ratio": 0.1}  # windows that leave nothing in the other bin
X = torch.tensor([[[0.0, 0.0, 0.0, 1.0]]], dtype=torch.float64)
Y = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]], dtype=torch.float64)
# the pairs: (0, 0) half of the time, (0, 1) and (1, 1) a quarter each
H_X = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
H_Y = math.log(2)
H_XY = 0.5 * math.log(2) + 0.5 * math.log(4)
HISTOGRAM = [medloss.GlobalMutualInformationLoss, medloss.NormalizedMutualInformationLoss, medloss.CorrelationRatioLoss]


def lncc(**options: object) -> medloss.LocalNormalizedCrossCorrelationLoss:
    return medloss.LocalNormalizedCrossCorrelationLoss(**options)


def test_mutual_information_by_hand() -> None:
    loss = medloss.GlobalMutualInformationLoss(**NARROW)
    assert loss(X, Y).item() == pytest.approx(-(H_X + H_Y - H_XY), abs=1e-5)
    assert loss(X, X).item() == pytest.approx(-H_X, abs=1e-5)
    none = medloss.GlobalMutualInformationLoss(**NARROW, reduction="none")(torch.cat([X, X]), torch.cat([Y, X]))
    torch.testing.assert_close(none, torch.tensor([-(H_X + H_Y - H_XY), -H_X], dtype=none.dtype), rtol=0, atol=1e-5)
    # half of the third voxel: weights 1, 1, 1/2, 1
    pairs, mask = {(0, 0): 2 / 3.5, (0, 1): 0.5 / 3.5, (1, 1): 1 / 3.5}, torch.tensor([[[1, 1, 0.5, 1]]])
    of_x, of_y = {0: 2.5 / 3.5, 1: 1 / 3.5}, {0: 2 / 3.5, 1: 1.5 / 3.5}
    expected = sum(p * math.log(p / (of_x[a] * of_y[b])) for (a, b), p in pairs.items())
    assert loss(X, Y, mask).item() == pytest.approx(-expected, abs=1e-5)


def test_normalized_mutual_information_by_hand() -> None:
    loss = medloss.NormalizedMutualInformationLoss(**NARROW)
    assert loss(X, Y).item() == pytest.approx(2 - (H_X + H_Y) / H_XY, abs=1e-5)
    assert loss(Y, 1 - Y).item() == pytest.approx(0, abs=1e-5)
    assert loss(Y, torch.tensor([[[0.0, 1.0, 0.0, 1.0]]])).item() == pytest.approx(1, abs=1e-5)
    for kernel in ("gaussian", "b-spline"):
        flat = medloss.NormalizedMutualInformationLoss(kernel_type=kernel)(torch.full_like(X, 0.3), Y)
        assert flat.item() == pytest.approx(1, abs=1e-4)


def test_correlation_ratio_by_hand_and_its_limit() -> None:
    loss = medloss.CorrelationRatioLoss(**NARROW)
    # of x = 0 the mean of y is 1/3, of x = 1 it is 1; the mean is 1/2 and the variance 1/4
    between = 0.75 * (1 / 3 - 0.5) ** 2 + 0.25 * 0.25
    assert loss(X, Y).item() == pytest.approx(1 - between / 0.25, abs=1e-5)
    # of y = 0 the mean of x is 0, of y = 1 it is 1/2; the mean is 1/4 and the variance 3/16
    other = medloss.CorrelationRatioLoss(**NARROW, explained="input")
    assert other(X, Y).item() == pytest.approx(1 - 0.0625 / 0.1875, abs=1e-5)
    two, many = (torch.rand(1, 1, 500) > 0.4).double(), torch.randint(0, 10, (1, 1, 500)).double() / 9
    squared = torch.corrcoef(torch.stack([two.flatten(), many.flatten()]))[0, 1] ** 2
    narrow = medloss.CorrelationRatioLoss(num_bins=10, sigma_ratio=0.1)
    assert narrow(two, many).item() == pytest.approx(1 - squared.item(), abs=1e-5)
    # a function that is no line: the target of a parabola is explained, the input is not
    x = torch.linspace(0, 1, 401, dtype=torch.float64).view(1, 1, -1)
    y = (2 * x - 1) ** 2
    assert medloss.CorrelationRatioLoss(num_bins=64)(x, y) < 0.02
    assert medloss.CorrelationRatioLoss(num_bins=64, explained="input")(x, y) > 0.95


@pytest.mark.parametrize("cls", [medloss.GlobalMutualInformationLoss, medloss.CorrelationRatioLoss])
def test_the_gradient_of_the_target_of_a_histogram(cls: type) -> None:
    """The Gaussian windows give one to both images; as a quotient of differences."""
    x, y = torch.rand(1, 1, 6, 7, dtype=torch.float64), torch.rand(1, 1, 6, 7, dtype=torch.float64).requires_grad_()
    torch.autograd.gradcheck(lambda y: cls(num_bins=9)(x, y), y)


@pytest.mark.parametrize("cls", HISTOGRAM)
def test_ranges_of_intensity(cls: type) -> None:
    x, y = torch.rand(2, 1, 12, 13, dtype=torch.float64), torch.rand(2, 1, 12, 13, dtype=torch.float64)
    for image in (x, y):
        image[:, 0, 0, 0], image[:, 0, 0, 1] = 0, 1
    expected = cls()(x, y)
    hounsfield, counts = 2000 * x - 1000, 50 * y
    explicit = cls(intensity_range=(-1000, 1000), target_range=(0, 50))
    torch.testing.assert_close(explicit(hounsfield, counts), expected)
    for kind in ("image", "batch"):
        torch.testing.assert_close(cls(intensity_range=kind)(hounsfield, counts), expected)
    each = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(cls(intensity_range="image")(each * hounsfield, counts), expected)
    assert abs(cls(intensity_range="batch")(each * hounsfield, counts) - expected) > 1e-3
    # the range is that of what can be seen
    mask = torch.ones(2, 1, 12, 13)
    mask[:, :, 5:] = 0
    dirty = torch.where(mask > 0, hounsfield, torch.full_like(hounsfield, 1e6))
    torch.testing.assert_close(cls(intensity_range="image")(dirty, counts, mask), cls()(x, y, mask))


@pytest.mark.parametrize("cls", HISTOGRAM)
def test_what_lies_outside_the_range_counts_as_its_end_and_says_so_on_request(cls: type) -> None:
    x, y = (3 * torch.rand(1, 1, 30) - 1).requires_grad_(), torch.rand(1, 1, 30)
    torch.testing.assert_close(cls()(x, y), cls()(x.clamp(0, 1), y))
    (gradient,) = torch.autograd.grad(cls()(x, y), x)
    outside = (x < 0) | (x > 1)
    assert not gradient[outside].any()
    assert gradient[~outside].all()
    with medloss.check_values():
        cls()(x.clamp(0, 1), y)
        cls()(x, y, ~outside)
        cls(intensity_range="image")(x, y)
        with pytest.raises(ValueError, match=r"input holds \d+ intensities outside the range 0\.0\.\.1\.0, from -"):
            cls()(x, y)
        with pytest.raises(ValueError, match="target holds"):
            cls()(y, x)


@pytest.mark.parametrize("cls", HISTOGRAM)
def test_faults_of_histogram_losses(cls: type) -> None:
    for options, match in (
        ({"kernel_type": "box"}, "kernel_type='box' is unknown"),
        ({"num_bins": 1}, "num_bins=1 must be a whole number, at least 2"),
        ({"num_bins": 4, "kernel_type": "b-spline"}, "at least 5"),
        ({"sigma_ratio": 0.0}, "sigma_ratio=0.0 must be above 0"),
        ({"intensity_range": (1.0, 1.0)}, "intensity_range=.* must be the lowest and the highest"),
        ({"target_range": "whole"}, "target_range='whole' is unknown"),
        ({"smooth_dr": 0.0}, "smooth_dr=0.0 must be above 0"),
    ):
        with pytest.raises(ValueError, match=match):
            cls(**options)


def test_all_channels_are_counted_together() -> None:
    x, y = torch.rand(2, 3, 20), torch.rand(2, 3, 20)
    for cls in HISTOGRAM:
        torch.testing.assert_close(cls()(x, y), cls()(x.reshape(2, 1, 60), y.reshape(2, 1, 60)))


def test_global_correlation_is_pearsons() -> None:
    x, y = torch.rand(2, 2, 6, 7, dtype=torch.float64), torch.rand(2, 2, 6, 7, dtype=torch.float64)
    rho = torch.stack(
        [torch.corrcoef(torch.stack([a, b]))[0, 1] for a, b in zip(x.reshape(4, -1), y.reshape(4, -1))]
    ).view(2, 2)
    signed = medloss.NormalizedCrossCorrelationLoss(signed=True, reduction="none")(x, y)
    torch.testing.assert_close(signed, -rho)
    torch.testing.assert_close(medloss.NormalizedCrossCorrelationLoss(reduction="none")(x, y), -(rho**2))
    # by hand: (1, 2, 4) and (1, 3, 2) have covariance 1/3 and variances 14/9 and 2/3
    a, b = torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[1.0, 3.0, 2.0]]])
    value = medloss.NormalizedCrossCorrelationLoss(signed=True)(a, b).item()
    assert value == pytest.approx(-(1 / 3) / math.sqrt(14 / 9 * 2 / 3), rel=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e3, -3e4])
def test_global_correlation_keeps_its_digits_on_an_offset(offset: float) -> None:
    x = torch.rand(1, 1, 30, 31, 32)
    y = (x + torch.rand_like(x)).double() + offset
    exact = medloss.NormalizedCrossCorrelationLoss()((x.double() + offset).float().double(), y.float().double())
    assert medloss.NormalizedCrossCorrelationLoss()((x + offset).float(), y.float()).item() == pytest.approx(
        exact.item(), rel=1e-4
    )
    flat = torch.full_like(x, 0.1 + offset)
    assert medloss.NormalizedCrossCorrelationLoss()(flat, y.float()) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["rectangular", "triangular", "gaussian"])
def test_an_image_correlates_with_itself_in_every_precision(kind: str, dtype: torch.dtype) -> None:
    x = torch.rand(1, 1, 13, 12, 11).to(dtype)
    for size in (3, 9):
        for signed in (False, True):
            loss = lncc(kernel_size=size, kernel_type=kind, border="renormalise", signed=signed)
            assert loss(x, x).item() == pytest.approx(-1, abs=1e-4)


@pytest.mark.parametrize("kind", ["rectangular", "triangular", "gaussian"])
@pytest.mark.parametrize("signed", [False, True])
def test_d6_local_correlation_on_an_offset(kind: str, signed: bool) -> None:
    """Contrast 1 on an offset of 1000, as in CT: the value of double precision, where E[x^2] - E[x]^2 has none."""
    x, y = 1000 + torch.rand(1, 1, 20, 21, 22), 1000 + torch.rand(1, 1, 20, 21, 22)
    y = 0.5 * (x + y)
    for size in (3, 9):
        loss = lncc(kernel_size=size, kernel_type=kind, border="renormalise", signed=signed)
        assert loss(x, y).item() == pytest.approx(loss(x.double(), y.double()).item(), abs=2e-3)


def test_d6_the_triangle_of_three_by_hand() -> None:
    """Weights 1, 2, 1 of (1, 2, 4) and (1, 3, 2); MONAI's are 0, 1, 0."""
    x, y = torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[1.0, 3.0, 2.0]]])
    covariance, var_x, var_y = 21 - 9 * 9 / 4, 25 - 81 / 4, 23 - 81 / 4
    expected = covariance / math.sqrt(var_x * var_y)
    options = {"kernel_size": 3, "kernel_type": "triangular", "reduction": "none"}
    assert lncc(**options)(x, y)[0, 0, 1].item() == pytest.approx(-(expected**2), rel=1e-5)
    assert lncc(**options, signed=True)(x, y)[0, 0, 1].item() == pytest.approx(-expected, rel=1e-5)


@pytest.mark.parametrize("border", ["zero", "renormalise"])
def test_signed_local_correlation(border: str) -> None:
    """Its square is the other loss; ICON's is one more than it; it tells an inverted contrast."""
    x, y = torch.rand(2, 1, 9, 10, dtype=torch.float64), torch.rand(2, 1, 9, 10, dtype=torch.float64)
    for kind in ("rectangular", "gaussian"):
        options = {"kernel_size": 5, "kernel_type": kind, "border": border, "reduction": "none"}
        signed = lncc(**options, signed=True)(x, y)
        torch.testing.assert_close(-(signed**2), lncc(**options)(x, y))
        assert (signed > 0).any()
        assert (signed < 0).any()
    falling = lncc(kernel_size=5, border="renormalise", signed=True)(x, 3 - x)
    assert falling.item() == pytest.approx(1)
    with pytest.raises(ValueError, match="smooth_nr"):
        lncc(signed=True, smooth_nr=1e-5)


def test_mind_by_hand() -> None:
    """Three voxels in a row, patches of one. In the middle the distances to the neighbours are (1, 4) and (4, 1): less
    the smallest (0, 3), their mean 3/2, so entries 1 and e^-2, and the other way round. The ends have one pair."""
    x, y = torch.tensor([[[0.0, 1.0, 3.0]]]), torch.tensor([[[0.0, 2.0, 3.0]]])
    gap = 1 - math.exp(-2)
    for penalty, expected in (("squared", gap**2), ("absolute", gap)):
        none = medloss.MINDSSCLoss(radius=0, dilation=1, penalty=penalty, reduction="none")(x, y)
        torch.testing.assert_close(none, torch.tensor([[[0.0, expected, 0.0]]]))
        assert medloss.MINDSSCLoss(radius=0, dilation=1, penalty=penalty)(x, y).item() == pytest.approx(expected / 3)


@pytest.mark.parametrize("shape", [(30,), (14, 15), (11, 12, 10)])
def test_mind_knows_no_contrast(shape: tuple[int, ...]) -> None:
    x, y = torch.rand(1, 1, *shape, dtype=torch.float64), torch.rand(1, 1, *shape, dtype=torch.float64)
    loss = medloss.MINDSSCLoss()
    assert loss(x, 500 - 70 * x).item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(loss(3 * x + 5, -y), loss(x, y))
    assert 0.02 < loss(x, y) < 1
    for options in ({"radius": -1}, {"dilation": 0}, {"radius": 1.5}, {"penalty": "cubed"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            medloss.MINDSSCLoss(**options)


def test_gradient_fields_by_hand() -> None:
    i, j = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    slope, other = (3 * i)[None, None], (-2 * i + 2 * j)[None, None]
    loss = medloss.NormalizedGradientFieldLoss(eps=0)
    assert loss(slope, other).item() == pytest.approx(0.5)  # 45 degrees
    assert loss(slope, 7 - 5 * slope).item() == pytest.approx(0, abs=1e-6)
    # epsilon of the length of the gradient itself: 1 - 1/2 * 1/2
    assert medloss.NormalizedGradientFieldLoss(eps=1)(slope, slope).item() == pytest.approx(0.75)
    # gradients of 3 with epsilon 4: 1 - (9 / 25)^2
    absolute = medloss.NormalizedGradientFieldLoss(eps=4, relative=False)
    assert absolute(slope, slope).item() == pytest.approx(1 - (9 / 25) ** 2)
    # voxels of 3/4 along the first axis: gradients of 4
    assert absolute(slope, slope, spacing=(0.75, 1)).item() == pytest.approx(1 - (16 / 32) ** 2)
    spaced = medloss.NormalizedGradientFieldLoss(eps=4, relative=False, spacing=(0.75, 1))
    assert spaced(slope, slope).item() == pytest.approx(1 - (16 / 32) ** 2)
    # a spacing that makes 45 degrees of another angle: derivatives (3/2, 0) and (-1, 2)
    assert loss(slope, other, spacing=(2, 1)).item() == pytest.approx(1 - 1 / 5)
    assert loss(slope, torch.zeros_like(slope)) == 1
    with pytest.raises(ValueError, match="spacing has 3 entries"):
        loss(slope, other, spacing=(1, 1, 1))
    with pytest.raises(ValueError, match="eps=-1"):
        medloss.NormalizedGradientFieldLoss(eps=-1)


def test_gradients_at_the_edge_of_a_mask_by_hand() -> None:
    """Of 1, 3, 9, 4 without the last the derivatives are 2, 4 and 6; with eps 4 they count 4/20, 16/32 and 36/52."""
    x, mask = torch.tensor([[[1.0, 3.0, 9.0, 4.0]]]), torch.tensor([[[True, True, True, False]]])
    none = medloss.NormalizedGradientFieldLoss(eps=4, relative=False, reduction="none")(x, x, mask)
    torch.testing.assert_close(none, torch.tensor([[[1 - 0.2**2, 1 - 0.5**2, 1 - (36 / 52) ** 2, 0.0]]]))
