"""Volumes keep their geometry through reading and writing; faulty files give one clear message."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import strip_suffix
from medloss.apps.common.images import check_same_grid, load_volume, save_volume
from medloss.apps.common.itk_runtime import import_itk
from medloss.apps.common.labels import label_values_check

OBLIQUE = np.array([[0, -1.5, 0.1, 3], [1, 0.1, 0, -4], [0, 0.2, 2.5, 5], [0, 0, 0, 1.0]])
ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


@pytest.fixture
def oblique(tmp_path):
    image = nib.Nifti1Image(ARRAY, OBLIQUE)
    image.set_sform(OBLIQUE, 3)
    image.set_qform(OBLIQUE, 1)
    nib.save(image, tmp_path / "x.nii.gz")
    return tmp_path / "x.nii.gz"


def test_nifti_round_trip_keeps_affine_and_codes(oblique, tmp_path):
    volume = load_volume(oblique)
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.spacing, np.linalg.norm(OBLIQUE[:3, :3], axis=0), rtol=1e-6)
    save_volume(tmp_path / "y.nii.gz", volume.array > 7, volume)
    before, after = nib.load(oblique), nib.load(tmp_path / "y.nii.gz")
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.get_data_dtype() == np.uint8
    for code in ("sform_code", "qform_code"):
        assert after.header[code] == before.header[code]
    np.testing.assert_array_equal(np.asarray(after.dataobj), ARRAY > 7)


@pytest.mark.parametrize("suffix", ["mha", "nrrd"])
def test_itk_formats_agree_with_nifti(oblique, tmp_path, suffix):
    volume = load_volume(oblique)
    save_volume(tmp_path / f"y.{suffix}", volume.array, volume)
    other = load_volume(tmp_path / f"y.{suffix}")
    np.testing.assert_array_equal(other.array, volume.array)
    # ITK keeps the axes perpendicular: this affine is not quite, so the columns may differ by a little
    np.testing.assert_allclose(other.affine, volume.affine, atol=1e-3)


def test_itk_reads_our_nifti_at_the_same_place(tmp_path):
    itk = pytest.importorskip("itk")
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    nib.save(nib.Nifti1Image(ARRAY, affine), tmp_path / "x.nii.gz")
    save_volume(tmp_path / "y.mha", ARRAY, load_volume(tmp_path / "x.nii.gz"))
    ours, itks = itk.imread(str(tmp_path / "y.mha")), itk.imread(str(tmp_path / "x.nii.gz"))
    np.testing.assert_allclose(list(ours.GetOrigin()), list(itks.GetOrigin()))
    np.testing.assert_allclose(itk.array_from_matrix(ours.GetDirection()), itk.array_from_matrix(itks.GetDirection()))


def test_scaled_intensities_are_applied_on_reading_and_gone_on_writing(tmp_path):
    image = nib.Nifti1Image(ARRAY, np.eye(4))
    image.header.set_slope_inter(2.0, 1.0)
    nib.save(image, tmp_path / "x.nii")
    volume = load_volume(tmp_path / "x.nii")
    save_volume(tmp_path / "y.nii", ARRAY, volume)
    np.testing.assert_array_equal(load_volume(tmp_path / "y.nii").array, ARRAY)


def test_trailing_axis_is_dropped_and_written_again(tmp_path):
    nib.save(nib.Nifti1Image(ARRAY[..., None], np.eye(4)), tmp_path / "x.nii.gz")
    volume = load_volume(tmp_path / "x.nii.gz")
    assert volume.array.shape == ARRAY.shape
    save_volume(tmp_path / "y.nii.gz", volume.array, volume)
    assert nib.load(tmp_path / "y.nii.gz").shape == (*ARRAY.shape, 1)


def test_faulty_files_give_user_errors(oblique, tmp_path):
    (tmp_path / "cut.nii.gz").write_bytes(oblique.read_bytes()[:90])
    (tmp_path / "text.nii.gz").write_bytes(b"hello")
    (tmp_path / "text.mha").write_bytes(b"hello")
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 2), np.float32), np.eye(4)), tmp_path / "4d.nii.gz")
    for name in ("cut.nii.gz", "text.nii.gz", "text.mha", "4d.nii.gz", "none.nii.gz"):
        with pytest.raises(UserError, match=name):
            load_volume(tmp_path / name)


def test_truncated_voxels_give_a_user_error(tmp_path):
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), tmp_path / "x.nii.gz")
    whole = (tmp_path / "x.nii.gz").read_bytes()
    (tmp_path / "x.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot read"):
        load_volume(tmp_path / "x.nii.gz")


def test_check_same_grid(oblique):
    volume = load_volume(oblique)
    check_same_grid(volume, volume._replace(affine=OBLIQUE + 1e-4), "a", "b")
    with pytest.raises(UserError, match="mm apart"):
        check_same_grid(volume, volume._replace(affine=OBLIQUE @ np.diag([1, 1, 1.05, 1])), "a", "b")
    with pytest.raises(UserError, match="has shape"):
        check_same_grid(volume, volume._replace(array=ARRAY[:2]), "a", "b")


def test_label_values_check():
    label_values_check(np.array([0, 1, 2]), [0, 1, 2], "x")
    with pytest.raises(UserError, match="3 outside"):
        label_values_check(np.array([0, 3]), [0, 1, 2], "x")


def test_strip_suffix():
    assert strip_suffix("a/b.c.nii.gz") == "b.c"
    assert strip_suffix("b.mha") == "b"


def test_the_table_of_itk_outlives_the_interpreter():
    """One reference more than Python's own: the crash at exit that it prevents shows only in long programs."""
    import sys

    import_itk()
    (table,) = (module for name, module in sys.modules.items() if name.startswith("swig_runtime_data"))
    held = sys.getrefcount(table.type_pointer_capsule)
    another = sys.getrefcount(object())  # what a call itself holds
    assert held - another >= 1 + 1  # the module's reference, and the one never given back
