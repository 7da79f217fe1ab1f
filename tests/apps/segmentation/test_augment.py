"""Patches: what is cut, turned and mirrored is what a calculation by hand says, and the same random numbers give it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medloss.apps.segmentation.augment import PLACES, ForegroundPlacesd, RandPatchd, random_transforms
from medloss.apps.segmentation.config import SegmentationTrain
from medloss.apps.segmentation.random_intensity import STEPS, RandIntensityd

SHAPE = (10, 12, 14)


@pytest.fixture
def case():
    """Two classes, one of a single voxel, and a mask, in an image whose value tells the voxel."""
    label = torch.zeros(1, *SHAPE, dtype=torch.uint8)
    label[0, 2:6, 3:9, 4:10] = 1
    label[0, 8, 10, 12] = 2
    mask = torch.ones(1, *SHAPE, dtype=torch.bool)
    mask[0, :2] = False
    image = torch.arange(float(np.prod(SHAPE))).reshape(1, *SHAPE)
    return ForegroundPlacesd()({"image": image, "label": label, "mask": mask})


def drawn(case, seed=0, **options):
    transform = RandPatchd((6, 6, 6), **options)
    transform.set_random_state(seed)
    return transform(case)


def test_places_are_the_voxels_of_each_class(case):
    common, rare = case[PLACES]["voxels"]
    assert rare.tolist() == [[8, 10, 12]]
    assert len(common) == 4 * 6 * 6 and all(case["label"][0][tuple(voxel)] == 1 for voxel in common)


def test_a_cut_is_a_part_of_the_volume_and_all_keys_move_together(case):
    for seed in range(10):
        patch = drawn(case, seed)
        first = int(patch["image"][0, 0, 0, 0])
        i, j, k = np.unravel_index(first, SHAPE)
        for key in ("image", "label", "mask"):
            assert torch.equal(patch[key], case[key][:, i : i + 6, j : j + 6, k : k + 6])
        assert PLACES not in patch


def test_a_rare_class_is_seen_as_often_as_a_common_one(case):
    seen = sum(bool((drawn(case, seed, foreground=1.0)["label"] == 2).any()) for seed in range(60))
    assert 20 <= seen <= 45  # half of them, and hardly any of the others: 9 % of the places reach that voxel


def test_a_patch_beyond_the_volume_is_background_that_is_not_counted(case):
    transform = RandPatchd((14, 12, 14), affine=0.0)
    patch = transform(case)
    assert torch.equal(patch["image"][:, 2:12], case["image"])
    assert not patch["mask"][:, :2].any() and not patch["label"][:, 12:].any() and not patch["image"][:, 12:].any()


def test_mirroring_in_the_cut_and_in_the_resampling(case):
    flipped = [drawn(case, seed, mirror=[0]) for seed in range(8)]
    rising = [bool(patch["image"][0, 1, 0, 0] > patch["image"][0, 0, 0, 0]) for patch in flipped]
    assert 0 < sum(rising) < 8
    for patch, up in zip(flipped, rising, strict=True):
        first = int(patch["image"][0, 0 if up else 5, 0, 0])
        i, j, k = np.unravel_index(first, SHAPE)
        part = case["image"][:, i : i + 6, j : j + 6, k : k + 6]
        assert torch.equal(patch["image"], part if up else part.flip(1))


def test_a_rotation_is_that_of_scipy():
    """About the middle of the patch, in millimetres; of voxels of 1 x 1 x 3 mm only the plane is turned."""
    generator = np.random.default_rng(0)
    volume = ndimage.gaussian_filter(generator.normal(size=(16, 16, 16)), 1.5).astype(np.float32)
    data = {"image": torch.from_numpy(volume)[None], "label": torch.zeros(1, 16, 16, 16, dtype=torch.uint8)}
    for spacing in (np.array([1.0, 1.0, 2.0]), np.array([1.0, 1.0, 3.0])):
        transform = RandPatchd((16, 16, 16), affine=1.0, scale=(0.9, 1.1))
        transform.set_random_state(3)
        patch = transform({**data, PLACES: {"spacing": spacing, "voxels": []}})["image"][0].numpy()
        transform.set_random_state(3)
        transform._start((16, 16, 16), [])
        matrix = transform._matrix(spacing)
        world = np.diag(spacing) @ matrix @ np.diag(1 / spacing)
        assert np.allclose(world.T @ world, np.eye(3) * (world.T @ world)[0, 0]) or spacing[2] == 3
        assert spacing[2] == 2 or np.allclose(matrix[2], [0, 0, 1])
        centre = np.full(3, 7.5)
        expected = ndimage.affine_transform(volume, matrix, centre - matrix @ centre, order=1, mode="grid-constant")
        inner = (slice(4, 12),) * 3
        np.testing.assert_allclose(patch[inner], expected[inner], atol=1e-5)


def test_labels_stay_labels_and_follow_the_image():
    label = torch.zeros(1, 20, 20, 20, dtype=torch.uint8)
    label[0, 4:10, 5:15, 5:15], label[0, 10:16, 5:15, 5:15] = 1, 4
    case = ForegroundPlacesd()({"image": label.float(), "label": label})
    for seed in range(6):
        transform = RandPatchd((16, 16, 16), affine=1.0)
        transform.set_random_state(seed)
        patch = transform(case)
        assert set(patch["label"].unique().tolist()) <= {0, 1, 4}
        sure = [((patch["image"] - value).abs() < 1e-4, value) for value in (0, 4)]
        assert all((patch["label"][where] == value).all() for where, value in sure)


@pytest.mark.parametrize("name", STEPS)
def test_intensities(name):
    image = torch.linspace(-1, 3, 8**3).reshape(8, 8, 8).flip(0)
    kept = image.clone()
    changed = STEPS[name](image, np.random.RandomState(0))
    assert torch.equal(image, kept) and changed.shape == image.shape and changed.isfinite().all()
    assert not torch.equal(changed, image)
    if "gamma" in name:
        assert float(changed.mean()) == pytest.approx(1.0, abs=1e-4)
        assert float(changed.std()) == pytest.approx(float(image.std()), rel=1e-4)
        assert torch.equal(changed.flatten().argsort(), image.flatten().argsort())
    if name in ("contrast", "blur", "low_resolution"):
        assert changed.min() >= -1.001 and changed.max() <= 3.001


def test_constant_images_stay_finite():
    for step in STEPS.values():
        assert step(torch.full((6, 6, 6), 2.0), np.random.RandomState(0)).isfinite().all()


def test_the_seed_decides(case):
    options = SegmentationTrain(mirror=[0, 1])
    first, second = random_transforms(options, (6, 6, 6)), random_transforms(options, (6, 6, 6))
    first.set_random_state(5)
    second.set_random_state(5)
    for _ in range(4):
        assert torch.equal(first(case)["image"], second(case)["image"])
    assert any(isinstance(each, RandIntensityd) for each in first.transforms)
    assert len(random_transforms(SegmentationTrain(augment="none"), (6, 6, 6)).transforms) == 1
