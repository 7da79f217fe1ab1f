"""Every way in which a file can be awkward: one line to the user, or the right voxels at the right place."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import check_same_grid, load_channels, load_image, load_volume, save_volume
from medloss.apps.common.itk_files import itk_place
from medloss.apps.common.itk_runtime import import_itk
from medloss.apps.common.labels import load_labels
from medloss.apps.common.notes import note
from medloss.apps.common.reading import Reading

ARRAY = np.random.default_rng(0).integers(0, 900, (7, 8, 9)).astype(np.int16)
AFFINE = np.array([[1.2, 0, 0, 5], [0, 1.5, 0, -6], [0, 0, 2.0, 7], [0, 0, 0, 1]])
SHIFTED = AFFINE + np.array([[0, 0, 0, 6], [0, 0, 0, -4], [0, 0, 0, 3], [0, 0, 0, 0]])
SHEARED = AFFINE @ np.array([[1, 0, 0, 0], [0, 1, 0.27, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(autouse=True)
def _notes_again():
    note.cache_clear()


def write(path: Path, array=ARRAY, sform=AFFINE, sform_code=1, qform=AFFINE, qform_code=1, unit=2) -> Path:
    """A NIfTI file with exactly this header."""
    image = nib.Nifti1Image(array, None)
    image.header.set_zooms(np.linalg.norm(AFFINE[:3, :3], axis=0)[: min(3, array.ndim)])
    image.header.set_qform(qform, qform_code, strip_shears=True)
    image.header.set_sform(sform, sform_code)
    image.header["qform_code"], image.header["sform_code"], image.header["xyzt_units"] = qform_code, sform_code, unit
    image.to_filename(path)
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    offset = int(image.header["vox_offset"]) or 352
    raw = image.header.binaryblock[:108] + struct.pack("<f", offset) + image.header.binaryblock[112:348] + raw[348:]
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


# --- every byte ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".img.gz"])
def test_no_flipped_bit_gives_other_voxels(tmp_path, suffix):
    """Compressed voxels are compared with their checksum: a damaged file is refused, or its voxels are the same."""
    path = tmp_path / f"x{suffix}"
    volume = load_volume(write(tmp_path / "whole.nii.gz"))
    save_volume(path, ARRAY, volume)
    np.testing.assert_array_equal(load_volume(path).array, ARRAY)
    data = {".mhd": "x.zraw", ".nhdr": "x.raw.gz", ".img.gz": "x.img.gz"}.get(suffix, path.name)
    raw, random = (tmp_path / data).read_bytes(), np.random.default_rng(1)
    refused = 0
    first = 0 if suffix in (".nii.gz", ".mgz", ".mhd", ".nhdr", ".img.gz") else len(raw) - 900
    for _ in range(40):
        damaged = bytearray(raw)
        damaged[random.integers(first, len(raw))] ^= 1 << random.integers(8)
        (tmp_path / data).write_bytes(damaged)
        try:
            np.testing.assert_array_equal(load_volume(path).array, ARRAY)
        except UserError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd", ".mgz"])
@pytest.mark.parametrize("left", [0, 1, 100, -8, -1])
def test_a_file_that_is_cut_is_refused(tmp_path, suffix, left):
    path = tmp_path / f"x{suffix}"
    save_volume(path, ARRAY, load_volume(write(tmp_path / "whole.nii.gz")))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=f"cannot read .*x{suffix}"):
        load_volume(path)


# --- what a voxel is ----------------------------------------------------------------------------------------------
def test_voxels_that_are_no_real_numbers_are_refused(tmp_path):
    colour = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, AFFINE), tmp_path / "rgb.nii.gz")
    nib.save(nib.Nifti1Image(ARRAY.astype(np.complex64), AFFINE), tmp_path / "complex.nii.gz")
    itk = import_itk()
    itk.imwrite(itk.image_from_array(np.zeros((4, 4, 4, 3), np.uint8), is_vector=True), str(tmp_path / "rgb.mha"))
    for name in ("rgb.nii.gz", "complex.nii.gz", "rgb.mha"):
        with pytest.raises(UserError, match=f"{name}.*one real number"):
            load_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("offset", "form", "value"), [(116, "<f", np.nan), (70, "<h", 0), (70, "<h", 9999), (42, "<h", -3)]
)
def test_headers_that_nibabel_refuses(tmp_path, offset, form, value):
    raw = bytearray(write(tmp_path / "x.nii").read_bytes())
    struct.pack_into("<f", raw, 112, 1.0)
    struct.pack_into(form, raw, offset, value)
    (tmp_path / "x.nii").write_bytes(raw)
    with pytest.raises(UserError, match=r"x\.nii"):
        load_volume(tmp_path / "x.nii")


@pytest.mark.parametrize(
    ("offset", "value"), [(280, np.nan), (284, np.inf), (80, np.nan), (256, np.nan), (268, np.inf)]
)
def test_headers_without_a_place_or_a_size(tmp_path, offset, value):
    """Numbers of either form, both in use: sform (280), voxel size (80), rotation and origin of the qform."""
    path = write(tmp_path / "x.nii", sform_code=1, qform_code=1)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<f", raw, offset, value)
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"x\.nii") as caught:
        load_volume(path)
    assert "\n" not in str(caught.value)


def test_five_axes_and_cifti_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2, 3), np.float32), AFFINE), tmp_path / "five.nii.gz")
    image = nib.Nifti2Image(np.zeros((1, 1, 1, 1, 5, 6), np.float32), np.eye(4))
    image.header["intent_code"] = 3002
    nib.save(image, tmp_path / "x.dtseries.nii")
    for name, told in (("five.nii.gz", "expected a 3D scalar"), ("x.dtseries.nii", "CIFTI")):
        with pytest.raises(UserError, match=told):
            load_volume(tmp_path / name)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", ">i2", ">f4"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_every_stored_number_survives(tmp_path, dtype, suffix):
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    if array.dtype.kind in "iu":
        array.flat[:2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    image = nib.Nifti1Image(array, AFFINE, dtype=array.dtype)
    nib.save(image, tmp_path / f"x{suffix}")
    found = load_volume(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(found.array, array)
    save_volume(tmp_path / "y.nii.gz", found.array, found)
    np.testing.assert_array_equal(load_volume(tmp_path / "y.nii.gz").array, array)


@pytest.mark.parametrize(
    ("kind", "dtype"), [("MET_CHAR", "i1"), ("MET_UINT", "u4"), ("MET_LONG_LONG", "i8"), ("MET_INT", "i4")]
)
def test_integers_of_metaimages(tmp_path, kind, dtype):
    array = np.arange(-20, 40).reshape(3, 4, 5).astype(dtype)
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        f"DimSize = 5 4 3\nElementSpacing = 1 1 1\nElementType = {kind}\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "x.mha").write_bytes(header.encode() + array.tobytes())
    found = load_volume(tmp_path / "x.mha").array
    assert found.dtype.kind in "iu"
    np.testing.assert_array_equal(found, array.T)


def test_whole_scalings_stay_integers(tmp_path):
    image = nib.Nifti1Image(ARRAY, AFFINE)
    image.header.set_slope_inter(2, -1024)
    nib.save(image, tmp_path / "x.nii.gz")
    raw = np.asarray(nib.load(tmp_path / "x.nii.gz").dataobj.get_unscaled()).astype(np.int64)
    found = load_volume(tmp_path / "x.nii.gz").array
    assert found.dtype.kind == "i"
    np.testing.assert_array_equal(found, raw * 2 - 1024)


# --- finite -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_or_read_as_zero(tmp_path, capsys, value):
    array = ARRAY.astype(np.float32)
    array[1, 2, 3] = value
    nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / "x.nii.gz")
    with pytest.raises(UserError, match="1 NaN or infinite values"):
        load_image(tmp_path / "x.nii.gz")
    found = load_image(tmp_path / "x.nii.gz", Reading(nan="zero")).array
    assert found[1, 2, 3] == 0 and np.isfinite(found).all()
    assert "read as 0" in capsys.readouterr().err
    with pytest.raises(UserError, match="not a label map"):
        load_labels(tmp_path / "x.nii.gz")


# --- labels -------------------------------------------------------------------------------------------------------
def test_labels_are_whole_where_the_scaling_explains_it(tmp_path):
    labels = np.zeros((4, 5, 6))
    labels[1], labels[2] = 1, 53
    for dtype in (np.int16, np.uint8, np.int32):
        image = nib.Nifti1Image(labels, AFFINE)
        image.set_data_dtype(dtype)
        nib.save(image, tmp_path / "scaled.nii.gz")  # nibabel chooses a slope that is no whole number
        assert not np.array_equal(np.asarray(nib.load(tmp_path / "scaled.nii.gz").dataobj), labels)
        np.testing.assert_array_equal(load_labels(tmp_path / "scaled.nii.gz").array, labels)
    nib.save(nib.Nifti1Image((labels * 0.9999).astype(np.float32)[..., :1] * 0 + 0.9999, AFFINE), tmp_path / "a.nii.gz")
    assert load_labels(tmp_path / "a.nii.gz").array.dtype.kind == "i"
    nib.save(nib.Nifti1Image((labels + 0.3 * (labels == 1)).astype(np.float32), AFFINE), tmp_path / "half.nii.gz")
    with pytest.raises(UserError, match=r"fractions such as 1\.3"):
        load_labels(tmp_path / "half.nii.gz")


def test_large_ids_survive_reading_and_writing(tmp_path):
    ids = np.array([0, 2**24 + 1, 2**31 + 7, 2**53 + 1], np.int64).reshape(4, 1, 1).repeat(3, 1).repeat(3, 2)
    nib.save(nib.Nifti1Image(ids, AFFINE, dtype=np.int64), tmp_path / "x.nii.gz")
    volume = load_labels(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(volume.array, ids)
    save_volume(tmp_path / "y.nii.gz", volume.array, volume)
    np.testing.assert_array_equal(load_labels(tmp_path / "y.nii.gz").array, ids)
    with pytest.raises(UserError, match="beyond 32 bits"):
        save_volume(tmp_path / "y.mha", volume.array, volume)


# --- where others see it ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("unit", [0, 1, 2, 3, 2 | 8])
@pytest.mark.parametrize("codes", [(1, 1), (2, 0), (0, 1), (4, 2)])
def test_we_and_itk_agree_on_plain_headers(tmp_path, capsys, unit, codes):
    """Any unit: lengths are mm. Nothing is said, and what we write lies where both see the input."""
    path = write(tmp_path / "x.nii.gz", sform_code=codes[0], qform_code=codes[1], unit=unit)
    volume, other = load_volume(path), itk_place(path)
    np.testing.assert_allclose(volume.affine, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())
    assert capsys.readouterr().err == ""
    save_volume(tmp_path / "y.nii.gz", ARRAY, volume)
    written = nib.load(tmp_path / "y.nii.gz")
    assert written.header["sform_code"] > 0 and written.header["qform_code"] > 0
    assert written.header.get_xyzt_units()[0] == "mm"
    for found in (written.affine, itk_place(tmp_path / "y.nii.gz"), written.header.get_qform()):
        np.testing.assert_allclose(found, volume.affine, rtol=1e-5, atol=1e-5 * np.abs(other).max())


AMBIGUOUS = {
    "sform of code 2 unlike the qform": {"sform_code": 2, "qform": SHIFTED},
    "sform of code 4 unlike the qform": {"sform_code": 4, "qform": SHIFTED, "qform_code": 2},
    "neither form": {"sform_code": 0, "qform_code": 0},
    "shear in both": {"sform": SHEARED, "qform": SHEARED},
    "shear in the sform alone": {"sform": SHEARED, "sform_code": 2, "qform_code": 0},
    "in metres, and the forms differ": {"sform_code": 2, "qform": SHIFTED, "unit": 1},
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_headers_that_readers_place_differently(tmp_path, capsys, name):
    path = write(tmp_path / "x.nii.gz", **AMBIGUOUS[name])
    volume, other = load_volume(path), itk_place(path)
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "x.nii.gz" in told and "nibabel [" in told.replace("reads ", "")
    with pytest.raises(UserError, match=r"x\.nii\.gz"):
        load_volume(path, Reading(space="refuse"))
    if isinstance(other, str):
        with pytest.raises(UserError, match="cannot place"):
            load_volume(path, Reading(space="itk"))
    else:
        found = load_volume(path, Reading(space="itk"))
        np.testing.assert_allclose(found.affine, other)
        assert found.affine[0, 0] != volume.affine[0, 0] or np.abs(found.affine - volume.affine).max() > 0.1
    # a mask lies over its image in every reader
    save_volume(tmp_path / "mask.nii.gz", ARRAY > 7, volume)
    np.testing.assert_allclose(load_volume(tmp_path / "mask.nii.gz").affine, volume.affine, rtol=1e-5, atol=1e-4)
    mask = itk_place(tmp_path / "mask.nii.gz")
    assert isinstance(mask, str) == isinstance(other, str)
    if not isinstance(other, str):
        np.testing.assert_allclose(mask, other, rtol=1e-5, atol=1e-4)


def test_an_sform_of_the_scanner_goes_before_another_qform_in_itk_too(tmp_path, capsys):
    path = write(tmp_path / "x.nii.gz", qform=SHIFTED)
    np.testing.assert_allclose(load_volume(path).affine, itk_place(path), rtol=1e-5, atol=1e-5)
    assert capsys.readouterr().err == ""


def test_masks_do_not_inherit_what_describes_the_image(tmp_path):
    image = nib.Nifti1Image(ARRAY, AFFINE)
    image.header["descrip"], image.header["aux_file"], image.header["db_name"] = b"Jane Doe", b"Doe", b"Doe"
    image.header.set_intent("t test", (5,), name="Jane")
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe, born 1970"))
    nib.save(image, tmp_path / "x.nii.gz")
    save_volume(tmp_path / "y.nii.gz", ARRAY > 7, load_volume(tmp_path / "x.nii.gz"))
    raw = gzip.decompress((tmp_path / "y.nii.gz").read_bytes())
    assert b"Jane" not in raw and b"Doe" not in raw
    assert nib.load(tmp_path / "y.nii.gz").header.get_intent()[0] == "none"


# --- grids --------------------------------------------------------------------------------------------------------
def test_headers_that_differ_slightly(tmp_path, capsys):
    image = load_volume(write(tmp_path / "x.nii.gz"))

    def moved(share):
        affine = AFFINE.copy()
        affine[0, 3] += share * 1.2
        return image._replace(affine=affine)

    check_same_grid(image, moved(0.005), "a", "b")
    assert capsys.readouterr().err == ""
    check_same_grid(image, moved(0.05), "a", "b")
    assert "0.06 mm apart" in capsys.readouterr().err
    with pytest.raises(UserError, match="trust_arrays"):
        check_same_grid(image, moved(3), "a", "b")
    check_same_grid(image, moved(3), "a", "b", Reading(trust_arrays=True))
    assert "taken to correspond" in capsys.readouterr().err
    with pytest.raises(UserError, match="has shape"):
        check_same_grid(image, image._replace(array=ARRAY[1:]), "a", "b", Reading(trust_arrays=True))


# --- formats ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "suffix", [".nii", ".nii.gz", ".hdr", ".img", ".img.gz", ".mgz", ".mgh", ".mha", ".mhd", ".nrrd", ".nhdr"]
)
def test_every_format_is_read_where_it_was_written(tmp_path, suffix):
    like = load_volume(write(tmp_path / "like.nii.gz"))
    save_volume(tmp_path / f"x{suffix}", ARRAY, like)
    found = load_volume(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(found.array, ARRAY)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_a_4d_file_of_one_frame(tmp_path):
    itk = import_itk()
    for name in ("x.nrrd", "x.mha"):
        itk.imwrite(itk.image_from_array(np.ascontiguousarray(ARRAY.T)[None]), str(tmp_path / name))
        found = load_volume(tmp_path / name)
        np.testing.assert_array_equal(found.array, ARRAY)
        np.testing.assert_allclose(found.affine, LPS)
        assert load_channels(tmp_path / name).array.shape == (*ARRAY.shape, 1)


def dicom_series(folder: Path, array: np.ndarray, skip: int | None = None) -> None:
    """Slices as a scanner writes them, 2.5 mm apart."""
    itk = import_itk()
    folder.mkdir(parents=True, exist_ok=True)
    uid = f"1.2.826.0.1.3680043.2.1125.{abs(hash(str(folder))) % 10**8}"
    for number in range(array.shape[2]):
        if number == skip:
            continue
        image = itk.image_from_array(np.ascontiguousarray(array[:, :, number].T)[None])
        image.SetSpacing((0.8, 0.9, 2.5))
        image.SetOrigin((1.0, 2.0, 3.0 + 2.5 * number))
        tags = image.GetMetaDataDictionary()
        for tag, value in {"0020|000e": uid, "0020|000d": uid, "0008|0060": "CT", "0020|0013": str(number)}.items():
            tags[tag] = value
        tags["0020|0032"] = f"1\\2\\{3.0 + 2.5 * number}"
        tags["0008|0018"] = f"{uid}.{number}"
        io = itk.GDCMImageIO.New()
        io.SetKeepOriginalUID(True)
        writer = itk.ImageFileWriter.New(image)
        writer.SetImageIO(io)
        writer.SetFileName(str(folder / f"slice{number:03d}.dcm"))
        writer.Update()


def test_a_folder_of_dicom_slices(tmp_path):
    dicom_series(tmp_path / "scan", ARRAY)
    found = load_volume(tmp_path / "scan")
    np.testing.assert_array_equal(found.array, ARRAY)
    np.testing.assert_allclose(
        found.affine, LPS @ np.array([[0.8, 0, 0, 1], [0, 0.9, 0, 2], [0, 0, 2.5, 3], [0, 0, 0, 1]])
    )
    dicom_series(tmp_path / "gap", ARRAY, skip=4)
    with pytest.raises(UserError, match=r"2\.5 to 5 mm apart"):
        load_volume(tmp_path / "gap")
    for file in (tmp_path / "gap").iterdir():
        file.rename(tmp_path / "scan" / f"other{file.name}")
    with pytest.raises(UserError, match="2 DICOM series"):
        load_volume(tmp_path / "scan")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="without DICOM slices"):
        load_volume(tmp_path / "empty")
