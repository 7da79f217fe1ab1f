"""A file that is no image: the message says what it is and the likely fix, whichever library stumbled over it."""

from __future__ import annotations

import errno
import gzip
import os
import struct

import nibabel as nib
import numpy as np
import pytest

from medloss.apps.common.errors import UserError, fault_of_the_input
from medloss.apps.common.images import load_image, load_volume, look

ARRAY = np.arange(6 * 7 * 8, dtype=np.float32).reshape(6, 7, 8)
RAW = nib.Nifti1Image(ARRAY, np.eye(4)).to_bytes()
PACKED = gzip.compress(RAW, mtime=0)


def with_header(place: int, form: str, value: float) -> bytes:
    changed = bytearray(RAW)
    struct.pack_into(form, changed, place, value)
    return bytes(changed)


AGAIN = "copy or download it again"
KINDS = {
    "x.nii.gz": [
        (b"", "empty.*" + AGAIN),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "Git LFS.*git lfs pull"),
        (b"/annex/objects/MD5E-s1--ab.nii.gz\n", "git-annex.*git annex get"),
        (b"<!DOCTYPE html><html>404</html>", "web page.*login"),
        (b"PK\x03\x04 an archive", "ZIP archive: unpack"),
        (RAW, "not compressed.*rename it to end in .nii"),
        (b"neither", "not compressed by gzip.*" + AGAIN),
        (PACKED[:-9], "cut short|damaged.*" + AGAIN),
        (PACKED[:60] + b"\0" + PACKED[61:], "damaged.*" + AGAIN),
        (PACKED + b"more", "damaged.*" + AGAIN),
    ],
    "x.nii": [
        (PACKED, "compressed by gzip.*rename it to end in .nii.gz"),
        (RAW[:-100], "cut short.*" + AGAIN),
        (with_header(70, "<h", 1234), "header.*damaged.*1234.*write it again"),
        (with_header(40, "<h", 9), "header.*damaged.*write it again"),
        (with_header(42, "<h", -5), "damaged.*write it again"),
        (with_header(108, "<f", np.nan), "damaged.*write it again"),
        (b"<html></html>" * 100, "web page"),
    ],
    "x.nrrd": [(b"", "empty"), (b"NRRD0005\nnonsense\n", "damaged.*write it again"), (b"<!doctype html>", "web page")],
    "x.mha": [(b"", "empty"), (b"ObjectType = Image\n", "damaged.*write it again")],
    "x.mgz": [(b"", "empty"), (b"plain text", "not compressed by gzip"), (gzip.compress(b"short", mtime=0), AGAIN)],
}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [pytest.param(name, *each, id=f"{name}-{i}") for name, kinds in KINDS.items() for i, each in enumerate(kinds)],
)
def test_what_it_is_and_the_likely_fix(tmp_path, capfd, name, content, told):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"(?s)cannot read .*{name}.*(?:{told})") as caught:
        load_volume(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # of the libraries' own remarks none is printed


def test_a_header_that_names_a_file_that_is_not_there(tmp_path):
    nib.save(nib.Nifti1Pair(ARRAY, np.eye(4)), tmp_path / "x.hdr")
    (tmp_path / "x.img").unlink()
    with pytest.raises(UserError, match=r"x\.img is not there: copy it beside the header"):
        load_volume(tmp_path / "x.hdr")


def test_looking_at_a_header_tells_the_same(tmp_path):
    (tmp_path / "x.nii").write_bytes(PACKED)
    with pytest.raises(UserError, match=r"rename it to end in \.nii\.gz"):
        look(tmp_path / "x.nii")


def test_values_that_no_float32_holds(tmp_path):
    nib.save(nib.Nifti1Image(ARRAY.astype(np.float64) * 1e300, np.eye(4)), tmp_path / "x.nii.gz")
    with pytest.raises(UserError, match=r"3\.35e\+302, expected at most 3\.4e38.*divide"):
        load_image(tmp_path / "x.nii.gz")


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EEXIST, "a file stands where a folder is to be"),
        (errno.ENOTDIR, "a file stands where a folder is to be"),
        (errno.EACCES, "who may read and write it"),
        (errno.ENOENT, "check the path"),
        (errno.ENAMETOOLONG, "a shorter name"),
    ],
)
def test_what_the_operating_system_refuses(number, told):
    message = fault_of_the_input(OSError(number, os.strerror(number), "/some/place"))
    assert "/some/place" in message and told in message


def test_memory_that_is_not_there():
    told = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4e18"
    assert "smaller patches" in fault_of_the_input(RuntimeError(told))
    assert fault_of_the_input(RuntimeError("shapes do not match")) is None
