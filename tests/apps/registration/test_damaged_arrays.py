"""Arrays of NumPy and HDF5 that are damaged or something else: the message names the file, what it should be, a fix."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest

from medloss.apps.common.errors import UserError
from medloss.apps.common.hdf5 import volumes_in
from medloss.apps.common.images import load_volume
from medloss.apps.registration.composite_files import read_composite
from medloss.apps.registration.learn2reg import read_learn2reg
from medloss.apps.registration.spatial import Grid

SHAPE = (6, 7, 8)


def packed(*arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, *arrays)
    return stream.getvalue()


FIELD = np.random.default_rng(0).standard_normal((*SHAPE, 3)).astype(np.float32)
WHOLE = packed(FIELD)
AGAIN = "copy or download it again"
DISPLACEMENTS = {
    "empty": (b"", "empty.*" + AGAIN),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "a page": (b"<!doctype html>", "web page.*login"),
    "text": (b"1 2 3", "no archive of NumPy: " + AGAIN),
    "cut short": (WHOLE[:-300], "damaged.*" + AGAIN),
    "a wrong byte": (WHOLE[:200] + bytes([WHOLE[200] ^ 255]) + WHOLE[201:], "damaged.*" + AGAIN),
    "two arrays": (packed(FIELD, FIELD), "2 arrays .arr_0, arr_1.: write the displacement alone"),
    "objects": (packed(np.array([{}], dtype=object)), "objects of Python, not numbers"),
    "words": (packed(np.array(["a", "b"])), "<U1 of shape .2,."),
    "an image": (packed(FIELD[..., 0]), "float32 of shape .6, 7, 8."),
}


@pytest.mark.parametrize("kind", DISPLACEMENTS)
def test_displacements_of_learn2reg(tmp_path, kind):
    content, told = DISPLACEMENTS[kind]
    path = tmp_path / "disp.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"disp\.npz .*{told}.*") as caught:
        read_learn2reg(path, Grid(SHAPE, np.eye(4)))
    assert "\n" not in str(caught.value) and "expected one array of numbers, (i, j, k, 3)" in str(caught.value)


def hdf5(path, **volumes) -> bytes:
    with h5py.File(path, "w") as file:
        for name, array in volumes.items():
            file[name] = array
    return path.read_bytes()


def test_hdf5_of_volumes_and_of_transforms(tmp_path):
    path = tmp_path / "images.h5"
    whole = hdf5(path, case1=FIELD[..., 0], case2=FIELD[..., 1])
    for content, told in (
        (b"", "empty.*" + AGAIN),
        (b"nothing of the kind", "no HDF5: " + AGAIN),
        (whole[:-500], "cut short.*" + AGAIN),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"images.h5.*data set for each volume.*{told}"):
            volumes_in(path)
        with pytest.raises(UserError, match=f"images.h5.*ITK's transforms.*{told}.*TransformGroup/0"):
            read_composite(path)
        with pytest.raises(UserError, match=f"case1.*{told}"):
            load_volume(path / "case1")
    path.write_bytes(whole)
    with pytest.raises(UserError, match="holds case1, case2 and no TransformGroup: is it an image"):
        read_composite(path)
    with pytest.raises(UserError, match="no volume case3"):
        load_volume(path / "case3")


def test_a_packed_volume_with_a_wrong_byte(tmp_path):
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("case1", data=FIELD[..., 0], compression="gzip", fletcher32=True)
        place = file["case1"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 50] ^= 255
    path.write_bytes(content)
    assert list(volumes_in(path)) == ["case1"]
    with pytest.raises(UserError, match=f"case1.*damaged.*{AGAIN}"):
        load_volume(path / "case1")


@pytest.mark.parametrize(("name", "value", "told"), [("affine", [1.0, 2.0], "16 numbers"), ("spacing", "x", "3 num")])
def test_attributes_of_volumes(tmp_path, name, value, told):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["case1"] = FIELD[..., 0]
        file["case1"].attrs[name] = value
    with pytest.raises(UserError, match=f"attribute {name} is .*expected {told}"):
        load_volume(tmp_path / "images.h5" / "case1")
