"""Mattes' mutual information beside ITK's own number and gradient, and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import medloss
from medloss.ops import backend, joint_histogram
from medloss.ops.joint_histogram.reference import Arguments
from medloss.ops.joint_histogram.triton_launch import TritonJointHistogram

OF_DATA = {"intensity_range": "image", "target_range": "image", "smooth_nr": 0.0, "smooth_dr": 1e-15}


def images() -> tuple[Tensor, Tensor]:
    """Two volumes of whole numbers that tell something of each other."""
    i, j, k = torch.meshgrid(*(torch.arange(size) for size in (12, 10, 14)), indexing="ij")
    one = (3 * i + 5 * j + 7 * k + i * k) % 29
    two = (one * one + 11 * i * j) % 31 + one // 4
    return one.double()[None, None], two.double()[None, None]


OF_ITK = {9: -0.03832241025470485, 23: -0.1689111785815657}
"""By the number of bins: what ITK 5.4.7 answers for them, the target as the fixed image and the input as the moving."""


def by_itk(itk: Any, input: Tensor, target: Tensor, bins: int) -> float:
    """ITK's number."""
    fixed, moving = (itk.image_from_array(image[0, 0].numpy().astype(np.float32)) for image in (target, input))
    metric = itk.MattesMutualInformationImageToImageMetricv4[type(fixed), type(moving)].New()
    metric.SetFixedImage(fixed)
    metric.SetMovingImage(moving)
    metric.SetVirtualDomainFromImage(fixed)
    for place in (metric.SetFixedTransform, metric.SetMovingTransform):
        place(itk.TranslationTransform[itk.D, 3].New())
    metric.SetNumberOfHistogramBins(bins)
    metric.SetMaximumNumberOfWorkUnits(1)
    metric.Initialize()
    return metric.GetValue()


@pytest.mark.parametrize("bins", [9, 23])
def test_authors_mattes(bins: int) -> None:
    """ITK takes the fixed image in boxes and the moving one in splines: our target and our input."""
    input, target = images()
    for name in ("reference", None):
        with backend(name):
            loss = medloss.GlobalMutualInformationLoss(kernel_type="mattes", num_bins=bins, **OF_DATA)
            assert loss(input, target).item() == pytest.approx(OF_ITK[bins], rel=1e-6)
    other = medloss.GlobalMutualInformationLoss(kernel_type="b-spline", num_bins=bins, **OF_DATA)(input, target)
    assert other.item() != pytest.approx(OF_ITK[bins], rel=1e-3)


@pytest.mark.parametrize("bins", [9, 23])
def test_itk_itself(bins: int) -> None:
    itk = pytest.importorskip("itk")
    if not hasattr(itk, "MattesMutualInformationImageToImageMetricv4"):
        pytest.skip("this ITK has no registration")
    assert by_itk(itk, *images(), bins) == pytest.approx(OF_ITK[bins], rel=1e-9)


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
    reasons = TritonJointHistogram().reasons(Arguments(x, x, None, ranges, "mattes", 8, 0.5))
    assert "kernel='mattes' has no kernel here" in reasons
