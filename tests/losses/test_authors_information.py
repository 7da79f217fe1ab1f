"""Mattes' mutual information beside ITK's own number and gradient, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

import medloss
from medloss.ops import backend, joint_histogram
from medloss.ops.joint_histogram.triton import TritonJointHistogram

OF_DATA = {"intensity_range": "image", "target_range": "image", "smooth_nr": 0.0, "smooth_dr": 1e-15}


def images(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Two images that tell something of each other, of float32's numbers."""
    generator = np.random.default_rng(5)
    one, two = (ndimage.gaussian_filter(generator.standard_normal(shape), 1.5) for _ in range(2))
    two = (one + 0.5 * two) ** 2
    return tuple(torch.from_numpy(image.astype(np.float32)).double()[None, None] for image in (one, two))


@pytest.mark.parametrize("bins", [9, 23])
def test_authors_mattes(bins: int) -> None:
    """ITK takes the fixed image in boxes and the moving one in splines: our target and our input."""
    itk = pytest.importorskip("itk")
    input, target = images((12, 10, 14))
    fixed, moving = (itk.image_from_array(image[0, 0].numpy().astype(np.float32)) for image in (target, input))
    metric = itk.MattesMutualInformationImageToImageMetricv4[type(fixed), type(moving)].New()
    metric.SetFixedImage(fixed)
    metric.SetMovingImage(moving)
    metric.SetVirtualDomainFromImage(fixed)
    identity = itk.TranslationTransform[itk.D, 3].New()
    metric.SetFixedTransform(identity)
    metric.SetMovingTransform(identity)
    metric.SetNumberOfHistogramBins(bins)
    metric.SetMaximumNumberOfWorkUnits(1)
    metric.Initialize()
    expected = metric.GetValue()
    for name in ("reference", None):
        with backend(name):
            loss = medloss.GlobalMutualInformationLoss(kernel_type="mattes", num_bins=bins, **OF_DATA)
            assert loss(input, target).item() == pytest.approx(expected, rel=1e-6)
    other = medloss.GlobalMutualInformationLoss(kernel_type="b-spline", num_bins=bins, **OF_DATA)(input, target)
    assert other.item() != pytest.approx(expected, rel=1e-3)


def test_boxes_are_floored_and_splines_reach_the_end() -> None:
    """Over 4 parts of 8 bins, from the third on: places 0, 0.49, 0.51, 0.75 and 1 times 4 + 2."""
    places = torch.tensor([[[0.0, 0.49, 0.51, 0.75, 1.0]]]).double()
    for name in ("reference", None):
        with backend(name):
            counts = joint_histogram(places, places, kernel="mattes", bins=8)[0]
            assert counts.sum(0).tolist() == pytest.approx([0, 0, 1, 1, 1, 2, 0, 0])  # positions 2, 3.96, 4.04, 5, 6
            last = joint_histogram(places[..., 4:], places[..., :1], kernel="mattes", bins=8)[0, :, 2]
            assert last.tolist() == pytest.approx([0, 0, 0, 0, 0, 1 / 6, 4 / 6, 1 / 6])


def test_the_brightest_part_has_a_gradient() -> None:
    """At 5.5 of the positions 2 to 6 the slopes of the cubic are -1/8, -5/8, 5/8, 1/8; MONAI's are 0."""
    x = torch.tensor([[[3.5 / 4]]], dtype=torch.float64)
    cotangent = torch.zeros(1, 8, 8, dtype=torch.float64)
    cotangent[0, :, 2] = torch.arange(8.0) ** 2
    slopes = {"mattes": 4 * (-16 - 5 * 25 + 5 * 36 + 49) / 8, "b-spline": 0.0}
    for name in ("reference", None):
        for kernel, slope in slopes.items():
            leaf = x.clone().requires_grad_()
            with backend(name):
                counts = joint_histogram(leaf, torch.zeros_like(x), kernel=kernel, bins=8)
                (found,) = torch.autograd.grad(counts, leaf, cotangent)
            assert found.item() == pytest.approx(slope, abs=1e-9)
    assert math.isclose(slopes["mattes"], 44)


def test_a_gpu_answers_with_a_reason() -> None:
    x = torch.rand(1, 1, 8, 8)
    ranges = torch.tensor([[0.0, 1.0, 0.0, 1.0]])
    reasons = TritonJointHistogram().reasons((x, x, None, ranges, "mattes", 8, 0.5))
    assert "kernel='mattes' has no kernel here" in reasons
