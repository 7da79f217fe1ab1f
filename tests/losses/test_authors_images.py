"""Registration and image losses beside their authors' code: each difference by hand, or the formula again."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from voxelwise import value_and_gradient

import medloss


def images(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one, two = (torch.rand(2, 1, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return one, 0.5 * one + two


def windowed(image: Tensor, window: Tensor) -> Tensor:
    """Sums of a plane over a separable window, with zeros beyond the border."""
    tail = len(window) // 2
    for shape, padding in (((-1, 1), (tail, 0)), ((1, -1), (0, tail))):
        image = F.conv2d(image, window.view(1, 1, *shape), padding=padding)
    return image


def moments(x: Tensor, y: Tensor, size: int, sigma: float) -> tuple[Tensor, ...]:
    """Means, variances and covariance in Gaussian windows."""
    window = torch.exp(-((torch.arange(size, dtype=x.dtype) - size // 2) ** 2) / (2 * sigma**2))
    window = window / window.sum()
    m, n = windowed(x, window), windowed(y, window)
    return m, n, windowed(x * x, window) - m * m, windowed(y * y, window) - n * n, windowed(x * y, window) - m * n


# ---- similarities


def test_authors_lncc_sigma() -> None:
    """A Gaussian of sigma 2 that ends at 2 sigma; sigma = 9 / 3 gives another number."""
    x, y = images(20, 18)
    x, y = 100 * x, 100 * y  # far above the least variance

    def formula(x: Tensor) -> Tensor:
        *_, xx, yy, xy = moments(x, y, 9, 2.0)
        return -(xy / (xx * yy).sqrt()).mean()

    options = {"kernel_type": "gaussian", "kernel_size": 9, "signed": True}
    loss = medloss.LocalNormalizedCrossCorrelationLoss(**options, sigma=2.0)
    torch.testing.assert_close(value_and_gradient(loss, x, y), value_and_gradient(formula, x), rtol=1e-9, atol=1e-12)
    assert abs(medloss.LocalNormalizedCrossCorrelationLoss(**options)(x, y) - formula(x)) > 0.01
    for wrong in ({"sigma": 0.0, "kernel_type": "gaussian"}, {"sigma": 2.0}):
        with pytest.raises(ValueError, match="must be above 0 and is of kernel_type='gaussian' alone"):
            medloss.LocalNormalizedCrossCorrelationLoss(**wrong)


def test_authors_lncc_border() -> None:
    """Windows of 2, 3 and 2 voxels: two voxels always correlate, 1 2 4 and 1 3 2 by 1 / sqrt(14/3 * 2).

    And two volumes that have nothing to do with each other: zeros beyond the border make them alike.
    """
    x, y = torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[1.0, 3.0, 2.0]]])
    loss = medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=3, border="renormalise")
    assert loss(x, y).item() == pytest.approx(-(1 + 3 / 28 + 1) / 3)
    generator = torch.Generator().manual_seed(1)
    one, two = (1 + 0.2 * torch.rand(1, 1, 20, 20, 20, generator=generator) for _ in range(2))
    assert medloss.LocalNormalizedCrossCorrelationLoss(border="zero")(one, two) < -0.5
    assert medloss.LocalNormalizedCrossCorrelationLoss(border="renormalise")(one, two) > -0.02


@pytest.mark.parametrize("rank", [2, 3])
def test_authors_ssim_border(rank: int) -> None:
    """The formula on images with zeros around, means of whole windows of 11 with sigma 1.5."""
    x, y = images(*(15, 14, 13)[:rank])
    padded = (F.pad(image, [5, 5] * rank) for image in (x, y))
    expected = medloss.SSIMLoss()(*padded)  # every window is whole there
    torch.testing.assert_close(medloss.SSIMLoss(border="zero")(x, y), expected)
    if rank == 2:
        m, n, xx, yy, xy = moments(x, y, 11, 1.5)
        ssim = (2 * m * n + 1e-4) * (2 * xy + 9e-4) / ((m * m + n * n + 1e-4) * (xx + yy + 9e-4))
        torch.testing.assert_close(expected, 1 - ssim.mean())
    assert abs(medloss.SSIMLoss()(x, y) - expected) > 0.01


def test_authors_heatmap_kl() -> None:
    """p = 1/4, 3/4 and t = 1/2, 1/2: sums of p log(p / t) or of t log(t / p); slopes log(p / t) + 1 or -t / p."""
    p, t = torch.tensor([[[0.25, 0.75]]], dtype=torch.float64), torch.full((1, 1, 2), 0.5, dtype=torch.float64)
    value, slope = value_and_gradient(medloss.HeatmapKLDivLoss(direction="of_input", eps=0.0), p, t)
    assert value.item() == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert slope.flatten().tolist() == pytest.approx([math.log(0.5) + 1, math.log(1.5) + 1])
    value, slope = value_and_gradient(medloss.HeatmapKLDivLoss(eps=0.0), p, t)
    assert value.item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert slope.flatten().tolist() == pytest.approx([-2, -2 / 3])


def test_authors_mind_border() -> None:
    """Voxels 4 and more away from the border are as with the edge repeated beyond it, those at the border are not."""
    x, y = images(20, 21)
    loss = medloss.MINDSSCLoss(reduction="none")
    inside = (..., slice(4, -4), slice(4, -4))
    ours, theirs = loss(x, y), loss(*(F.pad(image, [4] * 4, mode="replicate") for image in (x, y)))[inside]
    torch.testing.assert_close(ours[inside], theirs[inside])
    assert (ours - theirs).abs().max() > 0.01


# ---- fields

FIELD = torch.randn(2, 3, 7, 6, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def slope(field: Tensor, axis: int) -> Tensor:
    """Central differences along an axis."""
    size = field.shape[2 + axis] - 2
    return (field.narrow(2 + axis, 2, size) - field.narrow(2 + axis, 0, size)) / 2


def interior(field: Tensor, by: dict[int, int]) -> Tensor:
    """Without so many voxels on either side of the axes."""
    for axis, lost in by.items():
        field = field.narrow(2 + axis, lost, field.shape[2 + axis] - 2 * lost)
    return field


def test_authors_diffusion() -> None:
    """Squares of differences from voxel to voxel, a mean for each axis, and the mean of these."""
    each = [FIELD.diff(dim=2 + axis).square().mean() for axis in range(3)]
    torch.testing.assert_close(medloss.FieldGradientLoss()(FIELD), sum(each) / 3)
    ramp = torch.arange(6.0).expand(1, 2, 6, 6)  # a slope of 1 along one of two axes, in both components
    assert medloss.FieldGradientLoss()(ramp).item() == pytest.approx(1 / 2)
    assert medloss.DiffusionLoss()(ramp).item() == pytest.approx(1)


def test_authors_field_factors() -> None:
    """Half of the sum over components, of which ours is the mean; over pairs of axes, and over axes."""
    slopes = [interior(slope(FIELD, a), {b: 1 for b in range(3) if b != a}) for a in range(3)]
    half = sum(each.square().sum(1).mean() for each in slopes) / 2
    torch.testing.assert_close(3 / 2 * medloss.DiffusionLoss()(FIELD), half)
    divergence = sum(slopes[a][:, a] for a in range(3))
    ours = medloss.DivergenceLoss(stencil="central")(FIELD)
    torch.testing.assert_close(ours / 2, divergence.square().mean() / 2)
    total = sum(each.abs().sum(1).mean() for each in slopes)
    torch.testing.assert_close(3 * medloss.FieldTotalVariationLoss(stencil="central")(FIELD), total)
    second = {}
    for a in range(3):
        for b in range(3):
            lost = {c: 2 - (c == a) - (c == b) for c in range(3)}
            second[a, b] = interior(slope(slope(FIELD, a), b), lost)
    bending = sum(each.square() for each in second.values())
    wide = medloss.BendingEnergyLoss(stencil="wide")(FIELD)
    torch.testing.assert_close(3 * wide, bending.sum(1).mean())  # deepali
    torch.testing.assert_close(wide / 9, bending.mean() / 9)  # ICON: a mean over the pairs of axes, too
    laplacian = sum(second[a, a] for a in range(3))
    curvature = medloss.CurvatureLoss(stencil="wide")(FIELD)
    torch.testing.assert_close(3 / 2 * curvature, laplacian.square().sum(1).mean() / 2)


def test_authors_pair_factors() -> None:
    """Of a zero inverse the field itself is left: a slope of 1/2 in one of two components, a length of 1.5 each."""
    i, j = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    field = torch.stack([0.5 * i, 0 * j])[None]
    averaged = (0.5**2 + 0) / 2
    assert medloss.GradICONLoss()(field, 0 * field).item() == pytest.approx(2 * averaged)
    field = torch.full((1, 2, 4, 4), 1.5)
    loss = medloss.InverseConsistencyLoss()
    assert loss(field, 0 * field).item() == pytest.approx(2 * 1.5**2)
    assert (loss(field, -field) + loss(-field, field)).item() == pytest.approx(0)


# ---- images


def test_authors_penalties() -> None:
    x, y = images(6, 7)
    c = 1e-3
    usual = torch.sqrt((x - y) ** 2 + c**2).mean()
    torch.testing.assert_close(c * medloss.CharbonnierLoss(scale=c)(x, y) + c, usual)
    c = 0.4
    peak = torch.where((x - y).abs() < c, 1 - (1 - ((x - y) / c) ** 2) ** 3, 1.0).mean() * c**2 / 2
    torch.testing.assert_close(3 * c**2 * medloss.TukeyLoss(scale=c)(x, y), peak)


def test_authors_ms_ssim_l1() -> None:
    """A difference of 0.1 all over: 1 - 0.025 of it, and nothing of the structure of what is constant but luminance."""
    x = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    options = {"border": "renormalise"}
    luminance = 1 - 1e-4 / (0.01 + 1e-4)
    expected = 0.025 * luminance + 0.975 * 0.1
    assert medloss.MSSSIML1Loss(**options, compensation=1.0)(x, x + 0.1).item() == pytest.approx(expected)
    assert medloss.MSSSIML1Loss(**options)(x, x + 0.1).item() == pytest.approx(200 * expected)
