"""Displacement files are what ITK applies: written by medloss, read and resampled by ITK, compared with MONAI's
Warp.
"""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.networks.blocks import Warp
from registration_phantoms import SHAPE, oblique, save, smooth, warp_by_itk

from medloss.apps.common.errors import UserError
from medloss.apps.common.fields import load_displacement, save_displacement

pytest.importorskip("itk")


@pytest.mark.parametrize("flip", [False, True], ids=["right-handed", "flipped-axis"])
def test_itk_warps_as_monai_does(tmp_path, flip):
    affine, image, ddf = oblique(flip), smooth(SHAPE, 100.0, 1), smooth((3, *SHAPE), 3.0, 2)
    save_displacement(tmp_path / "field.nii.gz", ddf, affine)
    by_itk = warp_by_itk(save(tmp_path / "image.nii.gz", image, affine), tmp_path / "field.nii.gz")
    by_monai = Warp("bilinear", "border")(torch.tensor(image)[None, None], torch.tensor(ddf)[None])[0, 0].numpy()
    inner = (slice(3, -3),) * 3  # beyond the border ITK fills and MONAI repeats
    assert np.abs(by_itk - by_monai)[inner].max() < 1e-3
    assert np.abs(by_itk - image)[inner].max() > 1.0  # it moved at all


def test_a_known_shift_arrives_in_itk(tmp_path):
    """Two voxels along the second index axis: ITK must show what stands two voxels further on, whatever the axes
    point at.
    """
    affine, image = oblique(flip=True), smooth(SHAPE, 100.0, 3)
    ddf = np.zeros((3, *SHAPE), dtype=np.float32)
    ddf[1] = 2.0
    save_displacement(tmp_path / "field.nii.gz", ddf, affine)
    moved = warp_by_itk(save(tmp_path / "image.nii.gz", image, affine), tmp_path / "field.nii.gz")
    np.testing.assert_allclose(moved[:, 1:-3], image[:, 3:-1], atol=2e-3)


def test_the_file_is_a_vector_image_in_lps_millimetres(tmp_path):
    ddf = np.zeros((3, *SHAPE), dtype=np.float32)
    ddf[0] = 1.0
    save_displacement(tmp_path / "field.nii.gz", ddf, np.diag([2.0, 1.0, 1.0, 1.0]))
    image = nib.load(tmp_path / "field.nii.gz")
    assert image.shape == (*SHAPE, 1, 3) and int(image.header["intent_code"]) == 1007
    np.testing.assert_allclose(np.asarray(image.dataobj)[3, 3, 3, 0], [-2.0, 0.0, 0.0])


def test_what_was_written_is_read_back(tmp_path):
    affine, ddf = oblique(flip=True), smooth((3, *SHAPE), 4.0, 4)
    save_displacement(tmp_path / "field.nii.gz", ddf, affine)
    again, affine_again = load_displacement(tmp_path / "field.nii.gz")
    np.testing.assert_allclose(again, ddf, atol=1e-5)
    np.testing.assert_allclose(affine_again, affine, atol=1e-5)


def test_faults_are_the_users(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_displacement(tmp_path / "absent.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), tmp_path / "plain.nii.gz")
    with pytest.raises(UserError, match="not a displacement field"):
        load_displacement(tmp_path / "plain.nii.gz")
    (tmp_path / "broken.nii.gz").write_bytes(b"no NIfTI")
    with pytest.raises(UserError, match="cannot be read"):
        load_displacement(tmp_path / "broken.nii.gz")
    with pytest.raises(ValueError, match="3, i, j, k"):
        save_displacement(tmp_path / "field.nii.gz", np.zeros((4, 4, 4)), np.eye(4))
    assert not (tmp_path / "field.nii.gz").exists()
