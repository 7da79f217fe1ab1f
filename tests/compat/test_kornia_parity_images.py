"""kornia's losses of images and heat maps: value, gradients of both images, shape and type."""

from __future__ import annotations

import kornia.losses
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia_pairs import BOOL, REDUCTION, SEED, both, few, images, same

import medloss.compat.kornia as drop_ins

ROBUST = [
    ("charbonnier_loss", "CharbonnierLoss"),
    ("welsch_loss", "WelschLoss"),
    ("cauchy_loss", "CauchyLoss"),
    ("geman_mcclure_loss", "GemanMcclureLoss"),
]
DTYPE = st.sampled_from([torch.float32, torch.float64])


@few
@given(
    seed=SEED, rank=st.sampled_from([2, 3]), size=st.sampled_from([1, 3, 5, 7]), reduction=REDUCTION,
    padding=st.sampled_from(["same", "valid", "VALID"]), eps=st.sampled_from([0.0, 1e-12, 1e-3, 0.5]),
    max_val=st.sampled_from([0.05, 1.0, 2.5]), flat=BOOL,
)  # fmt: skip
def test_structural_similarity(seed, rank, size, reduction, padding, eps, max_val, flat):
    """In double precision: in single, the peer's variances are differences of larger numbers."""
    pair = images(seed, (2, 2, *(7, 9, 8)[:rank]), torch.float64)
    if flat:
        pair[0] = pair[0] * 0.02 + 0.5
    options = {"window_size": size, "max_val": max_val, "eps": eps, "reduction": reduction, "padding": padding}
    both(*[("ssim_loss", "SSIMLoss"), ("ssim3d_loss", "SSIM3DLoss")][rank - 2], options, *pair, rtol=2e-3)


@pytest.mark.filterwarnings("ignore:Using a target size")  # of the peer, which lets PyTorch broadcast
@few
@given(
    seed=SEED, channels=st.sampled_from([1, 2, 3]), reduction=REDUCTION, dtype=DTYPE,
    sigmas=st.sampled_from([(0.5, 1.0, 2.0, 4.0, 8.0), (1.5,), [2.0, 1.0]]), data_range=st.sampled_from([1.0, 3.0]),
    alpha=st.sampled_from([0.025, 0.84, 1.0]), compensation=st.sampled_from([1.0, 200.0]),
    k=st.sampled_from([0.01, 0.1]),
)  # fmt: skip
def test_multi_scale_similarity(seed, channels, reduction, dtype, sigmas, data_range, alpha, compensation, k):
    options = {
        "sigmas": sigmas, "data_range": data_range, "K": (k, 0.03), "alpha": alpha, "compensation": compensation,
        "reduction": reduction,
    }  # fmt: skip
    pair = images(seed, (2, channels, 9, 7), dtype)
    same(lambda package: package.MS_SSIMLoss(**options), *pair, rtol=2e-3)
    same(lambda package: package.MS_SSIMLoss(**options), pair[0], pair[1][:1], rtol=2e-3)


@few
@given(seed=SEED, shape=st.sampled_from([(), (4,), (2, 3), (2, 1, 3, 4, 2)]), max_val=st.sampled_from([1, 2.0, -3.0]))
def test_peak_ratio(seed, shape, max_val):
    both("psnr_loss", "PSNRLoss", {"max_val": max_val}, *images(seed, shape))


@few
@given(
    seed=SEED, shape=st.sampled_from([(4, 4), (3, 5, 4), (2, 1, 3, 6), (1, 2, 2, 3, 4), (2, 1, 5)]), dtype=DTYPE,
    reduction=st.sampled_from(["sum", "mean"]),
)  # fmt: skip
def test_total_variation(seed, shape, dtype, reduction):
    image = images(seed, shape, dtype)[0]
    assert both("total_variation", None, {"reduction": reduction}, image).shape == shape[:-2]
    same(lambda package: package.TotalVariation(), image)


@few
@given(
    seed=SEED, channels=st.sampled_from([(1, 3), (2, 1)]), batch=st.sampled_from([(2, 2), (1, 3), (3, 1)]), dtype=DTYPE
)
def test_inverse_depth(seed, channels, batch, dtype):
    depth, image = (images(seed, (b, c, 5, 4), dtype)[i] for i, (b, c) in enumerate(zip(batch, channels, strict=True)))
    both("inverse_depth_smoothness_loss", "InverseDepthSmoothnessLoss", {}, depth, image)


@pytest.mark.parametrize(("function", "kind"), ROBUST)
@few
@given(
    seed=SEED, shape=st.sampled_from([(), (5,), (2, 3), (2, 1, 3, 4)]), reduction=REDUCTION, dtype=DTYPE,
    scale=st.sampled_from([1e-3, 1.0, 20.0]),
)  # fmt: skip
def test_robust(function, kind, seed, shape, reduction, dtype, scale):
    both(function, kind, {"reduction": reduction}, *(scale * image for image in images(seed, shape, dtype)), rtol=2e-3)


@few
@given(seed=SEED, reduction=REDUCTION, zeros=BOOL, name=st.sampled_from(["js_div_loss_2d", "kl_div_loss_2d"]))
def test_divergences(seed, reduction, zeros, name):
    pair = [(4 * image).flatten(2).softmax(-1).view(image.shape) for image in images(seed, (2, 3, 4, 5))]
    if zeros:  # of the target alone: elsewhere a divergence is infinite
        pair[1][..., 0] = 0
    assert both(name, None, {"reduction": reduction}, *pair).shape == ((2, 3) if reduction == "none" else ())


def test_a_divergence_may_be_infinite():
    pred, target = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
    same(lambda package: package.kl_div_loss_2d, pred, target)
    same(lambda package: package.js_div_loss_2d, pred, target)


@pytest.mark.parametrize("reduction", [None, "mean"])
def test_no_reduction_by_another_name(reduction):
    pair = images(0, (3, 4))
    for name in ("charbonnier_loss", "cauchy_loss", "geman_mcclure_loss"):
        both(name, None, {"reduction": reduction}, *pair)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["ssim_loss", "psnr_loss", "charbonnier_loss", "cauchy_loss", "js_div_loss_2d"])
def test_half_precision_comes_back(name, dtype):
    options = {"ssim_loss": {"window_size": 5}, "psnr_loss": {"max_val": 1.0}}.get(name, {})
    pair = images(0, (1, 2, 6, 7), dtype)
    both(name, None, options, *pair, rtol=3e-2, gradient=False)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_integers(dtype):
    first, second = ((200 * image).to(dtype) for image in images(0, (1, 2, 8, 8)))
    both("ssim_loss", None, {"window_size": 5, "max_val": 255.0}, first, second)
    both("psnr_loss", None, {"max_val": 255.0}, first, second)
    for reduction in ("sum", "mean"):
        both("total_variation", None, {"reduction": reduction}, first)


def test_unlike_types_meet():
    first, second = images(0, (1, 2, 8, 8), torch.float64)
    for pair in ((first, second.float()), (first.float(), second)):
        both("ssim_loss", "SSIMLoss", {"window_size": 5}, *pair)
        both("psnr_loss", None, {"max_val": 1.0}, *pair)
        both("cauchy_loss", None, {}, *pair)
        both("kl_div_loss_2d", None, {}, *pair)
        same(lambda package: package.MS_SSIMLoss(), *pair, rtol=1e-3)


def test_options_may_change_after_construction():
    pair = images(0, (1, 2, 8, 8))
    values = []
    for package in (drop_ins, kornia.losses):
        similarity, mixed = package.SSIMLoss(5), package.MS_SSIMLoss()
        similarity.max_val = 2.0
        mixed.alpha, mixed.compensation, mixed.reduction = 0.5, 2.0, "sum"
        values.append([similarity(*pair), mixed(*pair)])
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-4)
