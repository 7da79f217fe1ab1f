"""Soft labels: by hand, through resampling and back, smoothed uniformly and near borders."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, RandAffined, Rotated, Spacingd
from scipy.ndimage import gaussian_filter1d

import medloss
from medloss.transforms import LossMaskd, RandSparseSlicesd, SmoothLabels, SmoothLabelsd, SoftOneHot, SoftOneHotd

ROW = [[[0, 2, 1, 255]]]
KINDS = [np.array, torch.tensor, lambda x: torch.tensor(x, dtype=torch.float32), MetaTensor]


@pytest.mark.parametrize("make", KINDS)
def test_one_channel_per_class_and_back(make):
    label, soft = make(ROW), SoftOneHot(3, ignore=255)
    found = soft(label)
    assert type(found) is type(label) and str(found.dtype).endswith("float32")
    assert found.tolist() == [[[1, 0, 0, 0]], [[0, 0, 1, 0]], [[0, 1, 0, 0]]]
    back = soft.inverse(found)
    assert type(back) is type(label) and back.tolist() == ROW
    assert SoftOneHot(3).inverse(np.zeros((3, 1, 2), np.float32)).tolist() == [[[0, 0]]]


def ball(spacing=(1.0, 1.0, 1.0)):
    shape = [round(24 / size) for size in spacing]
    axes = [(np.arange(count) + 0.5) * size - 12 for count, size in zip(shape, spacing)]
    grid = np.meshgrid(*axes, indexing="ij")
    inside = sum(axis**2 for axis in grid) < 49
    return MetaTensor(inside[None].astype(np.float32), affine=np.diag([*spacing, 1.0]))


def test_resampling_keeps_what_nearest_neighbour_has_to_choose():
    """From voxels of 2 mm to 1 mm: the voxel between the classes is half of each."""
    label = torch.tensor([0.0, 0, 1, 1]).view(1, 4, 1, 1).expand(1, 4, 3, 3)
    data = {"label": MetaTensor(label.clone(), affine=torch.diag(torch.tensor([2.0, 1, 1, 1])))}
    finer = Compose([SoftOneHotd("label", classes=2), Spacingd("label", (1.0, 1.0, 1.0), mode="bilinear")])(data)
    channels = finer["label"].as_tensor()
    torch.testing.assert_close(channels[1, :, 1, 1], torch.tensor([0, 0, 0, 0.5, 1, 1, 1]), rtol=0, atol=1e-4)
    torch.testing.assert_close(channels.sum(0), torch.ones(channels.shape[1:]), rtol=0, atol=1e-4)


def test_compose_goes_back_through_rotation_and_mirroring():
    data = {"label": ball()}
    there = Compose(
        [
            SoftOneHotd("label", classes=2),
            SmoothLabelsd("label", epsilon=0.1),
            Rotated("label", (0.3, 0.1, 0.0), mode="bilinear", padding_mode="border"),
            Flipd("label", 0),
        ]
    )
    moved = there(data)
    assert moved["label"].shape[0] == 2
    back = there.inverse(moved)["label"]
    assert back.shape == data["label"].shape and back.dtype == torch.int64
    found, true = back.bool(), data["label"].bool()
    assert 2 * float((found & true).sum()) / float(found.sum() + true.sum()) > 0.97


@pytest.mark.parametrize("make", [torch.tensor, MetaTensor])
def test_inverse_is_exact_without_resampling(make):
    both = Compose([SoftOneHotd("label", classes=3, ignore=255), SmoothLabelsd("label", epsilon=0.3)])
    changed = both({"label": make(ROW)})
    assert both.inverse(changed)["label"].tolist() == ROW


def test_uniform_smoothing_by_hand():
    soft = SoftOneHot(3, ignore=255)(torch.tensor(ROW))
    found = SmoothLabels(epsilon=0.3)(soft)
    torch.testing.assert_close(found[:, 0, 0], torch.tensor([0.8, 0.1, 0.1]))
    assert found[:, 0, 3].tolist() == [0, 0, 0]  # nobody annotated it
    torch.testing.assert_close(SmoothLabels(epsilon=0.3).inverse(found), soft)


def test_smoothing_near_borders_is_a_gaussian_in_mm():
    label = torch.zeros(1, 30, 8)
    label[0, 15:] = 1
    soft = SoftOneHot(2)(label)
    found = SmoothLabels(epsilon=0.0, sigma=3.0, spacing=(2.0, 1.0))(soft)
    expected = gaussian_filter1d(np.repeat([0.0, 1.0], 15), 1.5, mode="nearest", truncate=4)
    np.testing.assert_allclose(found[1, 5:25, 4], expected[5:25], atol=2e-3)
    torch.testing.assert_close(found.sum(0), torch.ones(30, 8))
    affine = torch.diag(torch.tensor([2.0, 1.0, 1.0]))
    by_affine = SmoothLabels(epsilon=0.0, sigma=3.0)(MetaTensor(soft, affine=affine))
    torch.testing.assert_close(by_affine.as_tensor(), found)
    with pytest.raises(ValueError, match="cannot be had back"):
        SmoothLabels(sigma=1.0).inverse(soft)


def test_soft_labels_in_a_loss_and_after_random_augmentation():
    """In a Compose before and after an affine augmentation; the same state gives the same labels."""
    chain = Compose(
        [
            RandSparseSlicesd("label", ignore=255, every=2),
            SoftOneHotd("label", classes=2, ignore=255),
            RandAffined("label", prob=1.0, rotate_range=0.5, mode="bilinear", padding_mode="zeros"),
            SmoothLabelsd("label", epsilon=0.1, sigma=1.0),
        ]
    )
    label = ball()
    first, second = (chain.set_random_state(3)({"label": label})["label"] for _ in range(2))
    torch.testing.assert_close(first, second)
    total = first.sum(0, keepdim=True)
    assert total.min() >= 0 and total.max() <= 1 + 1e-5 and (total < 0.5).any()
    soft = first.as_tensor()
    logits = torch.randn(1, 2, *soft.shape[1:])
    mask = (total.as_tensor() > 0.5)[None].float()
    value = medloss.CrossEntropyLoss()(logits, soft[None], mask)
    changed = soft + (1 - mask[0]) * 7
    torch.testing.assert_close(medloss.CrossEntropyLoss()(logits, changed[None], mask), value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SmoothLabels(epsilon=1.0), "epsilon"),
        (lambda: SmoothLabels()(torch.zeros(1, 4, 4)), "put SoftOneHot before"),
        (lambda: SoftOneHot(3).inverse(torch.zeros(2, 4, 4)), "2 channels, not one for each of 3"),
        (lambda: SoftOneHotd("label", 2)({"label": torch.full((1, 2, 2), 2)}), "key 'label': the label holds values"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_sum_of_the_channels_is_the_loss_mask():
    data = LossMaskd("label", ignore=255)({"label": torch.tensor(ROW)})
    soft = SoftOneHot(3, ignore=255)(data["label"])
    assert torch.equal(soft.sum(0, keepdim=True) > 0.5, data["loss_mask"]) and not math.isnan(soft.sum())
