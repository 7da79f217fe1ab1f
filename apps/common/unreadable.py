"""Why an image or transform cannot be read, and what to do: from the file's first bytes and the library's error."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path

from medloss.apps.common.formats import NIFTI, has_suffix

AGAIN = "copy or download it again"
GZIP, ZIP, HDF5 = b"\x1f\x8b", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
NUMPY = ".npz"
SIGNED = (((NUMPY,), ZIP, "archive of NumPy"), ((".h5", ".hdf5"), HDF5, "HDF5"))
"""Suffixes whose files begin alike."""
NIFTI_HEADERS = (348, 540)
"""The first number of a NIfTI-1 or NIfTI-2 file: the size of its header."""
POINTERS = (b"version https://git-lfs", b"/annex/", b".git/annex/")
LONGEST = 200


class UnfitImage(ValueError):
    """A file that is whole but is no image for these commands; its message says what it is and how to mend it."""


def why_unreadable(path: Path, error: Exception) -> str:
    """What is wrong with a file that ``error`` was raised for, and the likely fix: one line.

    >>> why_unreadable(Path("scan.nii"), UnfitImage("its voxels are colours: convert it first"))
    'its voxels are colours: convert it first'
    """
    if isinstance(error, UnfitImage):
        return str(error)
    path = path if path.is_file() else path.parent  # a volume in an HDF5 file
    first = _first_bytes(path)
    if isinstance(error, FileNotFoundError):
        return f"{Path(error.filename or '').name} is not there: copy it beside the header"
    return _by_content(path, first) or _by_error(error)


def _first_bytes(path: Path) -> bytes | None:
    try:
        with path.open("rb") as stream:
            return stream.read(64)
    except OSError:
        return None


def _by_content(path: Path, first: bytes | None) -> str | None:
    """What the first bytes tell: another kind of file than the name says."""
    if first is None:
        return None
    if not first:
        return f"it is empty (0 bytes): {AGAIN}"
    if first.startswith(POINTERS):
        return "it is a pointer of Git LFS or git-annex, not the file itself: fetch it (git lfs pull, git annex get)"
    if first.lstrip().startswith((b"<!", b"<html", b"<?xml", b"<HTML")):
        return "it is a web page, not an image: the download failed or needs a login"
    if first.startswith(ZIP) and not has_suffix(path, (NUMPY,)):
        return "it is a ZIP archive: unpack it first"
    for suffixes, begin, what in SIGNED:
        if has_suffix(path, suffixes) and not first.startswith(begin):
            return f"its name ends in {path.suffix}, and its content is no {what}: {AGAIN}"
    packed = first.startswith(GZIP)
    if has_suffix(path, (".gz", ".mgz")) and not packed:
        header = (
            int.from_bytes(first[:4], "little") in NIFTI_HEADERS or int.from_bytes(first[:4], "big") in NIFTI_HEADERS
        )
        return (
            "it is not compressed, though its name ends in .gz: rename it to end in .nii"
            if header
            else f"its name ends in .gz, and its content is not compressed by gzip: {AGAIN}"
        )
    if packed and has_suffix(path, NIFTI) and not has_suffix(path, (".gz",)):
        return "it is compressed by gzip, though its name does not say so: rename it to end in .nii.gz"
    return None


def _by_error(error: Exception) -> str:
    text = str(error).strip()
    told = (text.splitlines()[0] if text else type(error).__name__)[:LONGEST].rstrip(" .:")
    short = ("Expected" in text and "bytes" in text) or "truncated file" in text
    if isinstance(error, EOFError) or (isinstance(error, OSError) and short):
        return f"it is cut short ({told}): {AGAIN}"
    if "allow_pickle" in text:
        return "it holds objects of Python, not numbers: write the numbers alone"
    if isinstance(error, (gzip.BadGzipFile, zlib.error, zipfile.BadZipFile)):
        return f"it is damaged ({told}): {AGAIN}"
    if isinstance(error, MemoryError):
        return "its header asks for more memory than there is: is the header damaged?"
    return f"its header or its content is damaged ({told}): {AGAIN}, or write it again with the program that made it"
