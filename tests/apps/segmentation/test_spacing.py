"""The same scan at other spacings and in other orientations: the same mask."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from medloss.apps.common.images import save_volume
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.config import Data
from medloss.apps.segmentation.fingerprint import fingerprint, strange
from medloss.apps.segmentation.grid import Grid
from medloss.apps.segmentation.inference import Windows
from medloss.apps.segmentation.intensity import Intensity
from medloss.apps.segmentation.jobs import Job
from medloss.apps.segmentation.predict import Predictor
from medloss.apps.segmentation.scan import Look
from medloss.apps.segmentation.volumes import Scanned, read_scan

SIDE = 48.0  # mm
CLASSES = Classes.from_mapping({"shell": 1, "ball": 2})


def scan_of(folder, spacing, codes="RAS"):
    """A ball of 9 mm within one of 16 mm, intensities 2, 1 and 0, smooth over 2 mm, sampled at ``spacing``."""
    counts = [round(SIDE / size) for size in spacing]
    axes = [(np.arange(count) + 0.5) * size - SIDE / 2 for count, size in zip(counts, spacing, strict=True)]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    array = sum(1 / (1 + np.exp((radius - limit) / 0.7)) for limit in (9, 16)).astype(np.float32)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    image = nib.Nifti1Image(array, affine)
    change = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    path = folder / f"{'_'.join(map(str, spacing))}_{codes}.nii.gz"
    nib.save(image.as_reoriented(change), path)
    return path


def predictor(seen):
    """The network that a threshold is: it is sure where its own spacing is 1 mm, by a window of 1 mm voxels."""

    def score(windows):
        seen.append(windows.shape)
        return 20 * torch.cat([torch.zeros_like(windows), windows - 0.5, 2 * windows - 2], 1)

    data = Data(root=".", spacing=(1, 1, 1), intensity=Intensity(rule="none"))
    return Predictor(Windows(score, (32, 32, 32)), data, CLASSES)


def dice_with_truth(mask):
    """Dice of the whole and of the inner ball with the balls themselves, on the grid of the mask."""
    image = nib.load(mask)
    points = np.moveaxis(np.indices(image.shape), 0, -1) @ image.affine[:3, :3].T + image.affine[:3, 3]
    radius, found = np.linalg.norm(points, axis=-1), np.asarray(image.dataobj)
    pairs = [(found >= 1, radius < 16), (found == 2, radius < 9)]
    return [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]


@pytest.mark.parametrize(
    ("spacing", "codes"),
    [
        ((0.5, 0.5, 0.5), "RAS"),
        ((1.5, 1.5, 1.5), "PIL"),
        ((2.0, 2.0, 2.0), "LPS"),
        ((0.75, 0.75, 2.0), "SAR"),
        ((1.0, 1.0, 4.0), "RAS"),  # a thick axis
        ((3.0, 3.0, 3.0), "RAS"),
    ],
)
def test_the_same_scan_gives_the_same_mask(tmp_path, spacing, codes):
    """Each mask is the truth of its own grid: what two of them differ by is the size of their voxels."""
    seen, source, mask = [], scan_of(tmp_path, spacing, codes), tmp_path / "mask.nii.gz"
    predictor(seen).write(Job((source,), mask), probabilities=False)
    image, written = nib.load(source), nib.load(mask)
    assert written.shape == image.shape
    np.testing.assert_allclose(written.affine, image.affine)
    assert {shape[2:] for shape in seen} == {(32, 32, 32)}
    assert min(dice_with_truth(mask)) >= 0.99


def test_probabilities_come_back_at_the_files_spacing(tmp_path):
    model = predictor([])
    indices, soft = model(read_scan([scan_of(tmp_path, (1.5, 2.0, 1.5), "LPS")]), probabilities=True)
    assert soft.shape == (*indices.shape, 3)
    np.testing.assert_allclose(soft.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(soft.argmax(-1), indices)


def test_a_scan_unlike_those_of_the_training_is_named():
    look = Look("a", (40, 50, 60), (1.0, 1.0, 1.0), 1, {}, [(-900.0, 0.0, 300.0)], [])
    trained = fingerprint([look, look._replace(spacing=(1.0, 1.0, 1.5), shape=(40, 50, 40))])
    assert trained["spacing_mm"] == [[1.0, 1.0], [1.0, 1.0], [1.0, 1.5]]
    data = Data(root=".", spacing=(1, 1, 1), intensity=Intensity(rule="window", low=-100, high=200))

    def told(shape, spacing, level=0.0):
        array = np.linspace(-500, 300, int(np.prod(shape))).reshape(1, *shape) + level
        grid = Grid.of(shape, np.diag([*spacing, 1.0]), (1, 1, 1))
        return strange(trained, Scanned(array, None), grid, data)

    assert told((40, 50, 60), (1, 1, 1)) == ""
    assert told((80, 100, 120), (0.5, 0.5, 0.5)) == ""  # finer: it is resampled
    assert "spacing 4 x 1 x 1 mm (trained on 1-1 x 1-1 x 1-1.5 mm)" in told((10, 50, 60), (4, 1, 1))
    assert "extent 40 x 50 x 10 mm" in told((40, 50, 10), (1, 1, 1))
    assert "intensities" in told((40, 50, 60), (1, 1, 1), level=5000)


def test_masks_are_written_like_their_scan(tmp_path):
    source = scan_of(tmp_path, (2.0, 2.0, 2.0))
    scan = read_scan([source])
    save_volume(tmp_path / "x.nii.gz", np.zeros(scan.like.array.shape, np.uint8), scan.like)
    np.testing.assert_array_equal(nib.load(tmp_path / "x.nii.gz").affine, nib.load(source).affine)
