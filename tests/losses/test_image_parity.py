"""Image losses beside MONAI's and kornia's, in value and gradient, and where a peer is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import monai.losses
import monai.metrics
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import medloss

kornia = pytest.importorskip("kornia")

SEED = st.integers(0, 99)
PLANES = st.sampled_from([(13, 12), (16, 21)])
VOLUMES = st.sampled_from([(7, 9, 8)])
REDUCTION = st.sampled_from(["mean", "sum"])


def images(shape: tuple[int, ...], seed: int, channels: int = 2, closeness: float = 0.5) -> list[torch.Tensor]:
    """Two images in float64, that are somewhat alike."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.rand(2, channels, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return [x, closeness * x + (1 - closeness) * y]


def compare(ours: Callable[..., torch.Tensor], theirs: Callable[..., torch.Tensor], *tensors: torch.Tensor) -> None:
    """Value and gradient of the first tensor, whose entries are sums that may cancel: measured by the largest one."""
    results = []
    for loss in (ours, theirs):
        first = tensors[0].clone().requires_grad_()
        value = loss(first, *tensors[1:])
        results.append((value.detach(), torch.autograd.grad(value, first)[0]))
    for found, expected in zip(*results):  # the peers' SSIM rounds to float32 whatever comes in
        largest = expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * largest, check_dtype=False)


@settings(max_examples=15, deadline=None)
@given(
    shape=st.one_of(PLANES, VOLUMES), seed=SEED, kind=st.sampled_from(["gaussian", "uniform"]),
    size=st.sampled_from([3, 7]), sigma=st.sampled_from([0.8, 1.5]), scale=st.sampled_from([1.0, 255.0]),
)  # fmt: skip
def test_ssim_of_monai(shape, seed, kind, size, sigma, scale) -> None:
    ours = medloss.SSIMLoss(window=kind, window_size=size, sigma=sigma, data_range=scale)
    theirs = monai.losses.SSIMLoss(len(shape), scale, kind, size, sigma)
    compare(ours, theirs, *(scale * image for image in images(shape, seed)))


@settings(max_examples=15, deadline=None)
@given(
    shape=st.one_of(PLANES, VOLUMES), seed=SEED, size=st.sampled_from([3, 7]), reduction=REDUCTION,
    border=st.sampled_from([("same", "reflect"), ("valid", "valid")]), scale=st.sampled_from([1.0, 255.0]),
)  # fmt: skip
def test_ssim_of_kornia(shape, seed, size, reduction, border, scale) -> None:
    peer = kornia.losses.SSIMLoss if len(shape) == 2 else kornia.losses.SSIM3DLoss
    theirs = peer(size, scale, eps=0.0, reduction=reduction, padding=border[0])
    ours = medloss.SSIMLoss(
        window_size=size, data_range=scale, border=border[1], convention="half", reduction=reduction
    )
    compare(ours, theirs, *(scale * image for image in images(shape, seed)))


@settings(max_examples=8, deadline=None)
@given(
    seed=SEED, channels=st.sampled_from([1, 2, 3]), sigmas=st.sampled_from([(0.5, 1.0, 2.0, 4.0, 8.0), (1.0, 3.3)]),
    alpha=st.sampled_from([0.025, 0.6]), scale=st.sampled_from([1.0, 255.0]), reduction=REDUCTION,
)  # fmt: skip
def test_ms_ssim_l1_of_kornia(seed, channels, sigmas, alpha, scale, reduction) -> None:
    ours = medloss.MSSSIML1Loss(sigmas=sigmas, alpha=alpha, data_range=scale, reduction=reduction)
    theirs = kornia.losses.MS_SSIMLoss(list(sigmas), scale, alpha=alpha, reduction=reduction)
    compare(ours, theirs, *(scale * image for image in images((13, 12), seed, channels)))


def test_ms_ssim_l1_map_of_kornia() -> None:
    x, y = images((13, 12), 0)
    ours = medloss.MSSSIML1Loss(reduction="none")(x, y)
    torch.testing.assert_close(ours, kornia.losses.MS_SSIMLoss(reduction="none")(x, y), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_multi_scale_ssim_of_monai(kind: str) -> None:
    """MONAI has it as a metric; of one channel, since it averages over channels before it multiplies."""
    x, y = (image.float() for image in images((50, 49), 0, 1, 0.8))
    theirs = monai.metrics.MultiScaleSSIMMetric(2, kernel_type=kind, kernel_size=3)(x, y)
    ours = medloss.MultiScaleSSIMLoss(window=kind, window_size=3, reduction="none")(x, y)
    torch.testing.assert_close(1 - ours, theirs, rtol=1e-5, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(
    names=st.sampled_from(
        [
            ("CharbonnierLoss", "CharbonnierLoss"), ("WelschLoss", "WelschLoss"), ("CauchyLoss", "CauchyLoss"),
            ("GemanMcClureLoss", "GemanMcclureLoss"),
        ]
    ),
    seed=SEED, scale=st.sampled_from([1e-4, 1.0, 100.0]), reduction=REDUCTION,
)  # fmt: skip
def test_robust_penalties_of_kornia(names, seed, scale, reduction) -> None:
    ours, theirs = getattr(medloss, names[0]), getattr(kornia.losses, names[1])
    compare(ours(reduction=reduction), theirs(reduction), *(scale * image for image in images((5, 6), seed)))
    x, y = images((5, 6), seed)
    torch.testing.assert_close(ours(reduction="none")(x, y), theirs("none")(x, y))


def test_torchs_losses() -> None:
    for shape in ((9,), (5, 6), (3, 4, 5)):
        x, y = images(shape, 1)
        for reduction in ("mean", "sum", "none"):
            for ours, theirs in (
                (medloss.L1Loss, torch.nn.L1Loss),
                (medloss.MSELoss, torch.nn.MSELoss),
                (medloss.HuberLoss, torch.nn.HuberLoss),
            ):
                torch.testing.assert_close(ours(reduction=reduction)(x, y), theirs(reduction=reduction)(x, y))


@settings(max_examples=5, deadline=None)
@given(seed=SEED, scale=st.sampled_from([1.0, 255.0]))
def test_psnr_of_kornia(seed, scale) -> None:
    ours = medloss.PSNRLoss(data_range=scale, eps=0.0, batch=True)
    compare(ours, kornia.losses.PSNRLoss(scale), *images((5, 6), seed))


def test_d11_kornias_psnr_of_equal_images_has_no_gradient() -> None:
    x = torch.rand(1, 1, 4, 4, requires_grad=True)
    theirs = kornia.losses.psnr_loss(x, x.detach(), 1.0)
    assert theirs == -math.inf
    assert torch.isnan(torch.autograd.grad(theirs, x)[0]).all()  # the peer's fault
    ours = medloss.PSNRLoss()(x, x.detach())
    assert ours.item() == pytest.approx(-100)
    assert not torch.autograd.grad(ours, x)[0].any()


@settings(max_examples=6, deadline=None)
@given(shape=PLANES, seed=SEED, reduction=REDUCTION)
def test_total_variation_of_kornia(shape, seed, reduction) -> None:
    x, _ = images(shape, seed)
    ours = medloss.TotalVariationLoss(average=reduction == "mean", reduction="none")
    torch.testing.assert_close(ours(x), kornia.losses.total_variation(x, reduction))
    compare(lambda u: ours(u).sum(), lambda u: kornia.losses.total_variation(u, reduction).sum(), x)


@settings(max_examples=6, deadline=None)
@given(shape=PLANES, seed=SEED)
def test_inverse_depth_smoothness_of_kornia(shape, seed) -> None:
    depth, image = images(shape, seed, 1)[0], images(shape, seed + 1, 3)[0]
    compare(medloss.InverseDepthSmoothnessLoss(), kornia.losses.InverseDepthSmoothnessLoss(), depth, image)
    compare(  # the image's gradient too
        lambda y, u: medloss.InverseDepthSmoothnessLoss()(u, y),
        lambda y, u: kornia.losses.inverse_depth_smoothness_loss(u, y),
        image,
        depth,
    )


@settings(max_examples=10, deadline=None)
@given(shape=PLANES, seed=SEED, reduction=REDUCTION, empty=st.booleans())
def test_divergences_of_kornia(shape, seed, reduction, empty) -> None:
    """With voxels that the target leaves empty, whose terms are 0 and have no gradient."""
    p, t = (4 * map for map in images(shape, seed))
    p, t = (torch.softmax(map.flatten(2), -1).view_as(map) for map in (p, t))
    t = torch.where(t > t.mean(), t, 0.0) if empty else t
    for name, peer in (
        ("HeatmapKLDivLoss", kornia.losses.kl_div_loss_2d),
        ("HeatmapJSDivLoss", kornia.losses.js_div_loss_2d),
    ):
        loss = getattr(medloss, name)
        compare(loss(eps=0.0, reduction=reduction), lambda p, t, peer=peer: peer(p, t, reduction=reduction), p, t)
        torch.testing.assert_close(loss(reduction="none")(p, t), peer(p, t, reduction="none"))


def test_a_disjoint_target_is_infinitely_far() -> None:
    p, t = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    assert kornia.losses.kl_div_loss_2d(p, t) == medloss.HeatmapKLDivLoss(eps=0.0)(p, t) == math.inf
    assert medloss.HeatmapKLDivLoss()(p, t).item() == pytest.approx(-math.log(1e-12))
