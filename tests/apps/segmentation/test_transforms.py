"""What reaches the network and the loss: channels instead of ids, the mask of ignored voxels, one scale, one grid."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.config import Data, Intensity
from medloss.apps.segmentation.intensity import normalise, settle
from medloss.apps.segmentation.transforms import fixed_transforms

CLASSES = Classes.from_mapping({"shell": 2, "core": [4, 9]}, ignore=255)


@pytest.fixture
def case(tmp_path):
    """Files of a 10 x 12 x 14 case stored as LPS, with a merged class and ignored voxels in one corner."""
    generator = np.random.default_rng(0)
    label = generator.choice([0, 2, 4, 9], (10, 12, 14)).astype(np.uint8)
    label[:3, :4, :5] = 255
    image = generator.normal(1000, 50, label.shape).astype(np.float32)
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    paths = {"image": tmp_path / "i.nii.gz", "label": tmp_path / "l.nii.gz"}
    nib.save(nib.Nifti1Image(image, affine), paths["image"])
    nib.save(nib.Nifti1Image(label, affine), paths["label"])
    return paths, label[::-1, ::-1]  # as RAS


def test_ids_become_channels_and_ignored_voxels_a_mask(case, tmp_path):
    paths, label = case
    prepared = fixed_transforms(Data(root=tmp_path), CLASSES)(paths)
    expected = np.select([label == 2, (label == 4) | (label == 9)], [1, 2], 0)
    np.testing.assert_array_equal(prepared["label"][0].numpy(), expected)
    np.testing.assert_array_equal(prepared["mask"][0].numpy() > 0, label != 255)
    assert prepared["image"].mean().abs() < 1e-3 and abs(float(prepared["image"].std()) - 1) < 1e-2


def test_resampling_to_a_spacing(case, tmp_path):
    paths, _ = case
    prepared = fixed_transforms(Data(root=tmp_path, spacing=(1.0, 2.0, 2.0)), CLASSES)(paths)
    np.testing.assert_allclose(np.linalg.norm(prepared["image"].affine[:3, :3], axis=0), (1.0, 2.0, 2.0))
    assert prepared["image"].shape == prepared["label"].shape == prepared["mask"].shape
    assert prepared["image"].shape[1] == 10 and abs(prepared["image"].shape[2] - 6) <= 1


@pytest.mark.parametrize(
    ("rule", "low", "high"),
    [
        (Intensity(rule="window", low=-100, high=300), 0.0, 1.0),
        (Intensity(rule="percentile"), 0.0, 1.0),
    ],
)
def test_bounded_intensities(rule, low, high):
    image = torch.linspace(-1000, 1000, 64).reshape(1, 4, 4, 4)
    scaled = normalise(image, [rule])
    assert float(scaled.min()) == pytest.approx(low) and float(scaled.max()) == pytest.approx(high)
    assert scaled.flatten()[20:44].diff().min() >= 0


@pytest.mark.parametrize(
    "options",
    [
        {"rule": "window"},
        {"rule": "zscore", "low": 1},
        {"rule": "ct", "low": 1},
        {"rule": "percentile", "low": 50, "high": 20},
        {"rule": "percentile", "high": 101},
    ],
)
def test_faulty_intensity_rules(options):
    with pytest.raises(ValueError, match="low"):
        Intensity(**options)


@pytest.mark.parametrize(
    "labels", [{"a": 0}, {"a": 1, "b": 1}, {"a": []}, {"a": [1, 2], "b": [2, 1]}, {"a": 255, "ignore": 255}]
)
def test_faulty_labels(labels, tmp_path):
    with pytest.raises(ValueError, match="each id once"):
        Data(root=tmp_path, labels=labels)


def test_way_back_to_ids_in_the_smallest_type():
    assert CLASSES.to_ids().tolist() == [0, 2, 4] and CLASSES.to_ids().dtype == np.uint8
    assert Classes.from_mapping({"far": 1024}).to_ids().dtype == np.int16
    assert Classes.from_mapping({"farther": 70000}).to_ids().dtype == np.int32


def test_ct_takes_its_window_from_the_foreground_of_all_cases():
    values = np.arange(-1000.0, 1001.0)  # 0.5th and 99.5th percentile -990 and 990, mean 0
    rule, other = settle([Intensity(), Intensity()], ["CT", "FLAIR"], [values, values])
    assert (rule.rule, rule.low, rule.high, rule.mean) == ("ct", -990.0, 990.0, 0.0) and other.rule == "zscore"
    assert rule.std == pytest.approx(np.sqrt((2001**2 - 1) / 12))
    image = torch.tensor([[[[-2000.0, 0.0, 500.0, 2000.0]]]])
    expected = torch.tensor([-990.0, 0.0, 500.0, 990.0]) / rule.std
    torch.testing.assert_close(normalise(image, [rule]).flatten(), expected)


def test_zscore_is_over_the_voxels_that_are_not_zero():
    image = torch.tensor([[[[0.0, 1.0, 3.0]]]])
    assert normalise(image, [Intensity()]).flatten().tolist() == [0.0, -1.0, 1.0]
