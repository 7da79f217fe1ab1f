"""Which files are images, by their names: suffixes, names without suffixes, DICOM folders."""

from __future__ import annotations

from pathlib import Path

NIFTI = (".nii.gz", ".nii")
PAIRED_NIFTI = (".hdr", ".img", ".hdr.gz", ".img.gz")
FREESURFER = (".mgz", ".mgh")
ITK = (".mha", ".mhd", ".nrrd", ".nhdr")
SUFFIXES = (*NIFTI, *PAIRED_NIFTI, *FREESURFER, *ITK)
"""Files that can be read."""
DATA_SUFFIXES = (".img", ".img.gz", ".raw", ".zraw", ".raw.gz")
"""The voxels of a header that stands beside them; such a file is no image of its own."""
SLICER_SEGMENTATION = ".seg"
"""3D Slicer names a segmentation ``case.seg.nrrd``."""


def has_suffix(path: Path | str, suffixes: tuple[str, ...]) -> bool:
    """Whether the name ends with one of the suffixes, in capital or small letters."""
    return Path(path).name.lower().endswith(suffixes)


def image_suffix(path: Path | str) -> str:
    """The image suffix of a name, as it is written there; empty when the name has none."""
    name = Path(path).name
    return next((name[-len(end) :] for end in SUFFIXES if name.lower().endswith(end)), "")


def strip_suffix(path: Path | str) -> str:
    """File name without its image suffix: ``case_1.nii.gz`` gives ``case_1``, ``case_1.seg.nrrd`` gives ``case_1``."""
    name, suffix = Path(path).name, image_suffix(path)
    stem = name[: -len(suffix)] if suffix else (name if Path(path).is_dir() else Path(name).stem)
    if suffix.lower() in ITK and stem.lower().endswith(SLICER_SEGMENTATION):
        stem = stem[: -len(SLICER_SEGMENTATION)]
    return stem


def is_dicom(path: Path) -> bool:
    """Whether a file carries DICOM's mark ``DICM`` behind its preamble of 128 bytes."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def is_dicom_folder(folder: Path) -> bool:
    """Whether a folder holds the slices of a scan: its first visible file is DICOM."""
    if not folder.is_dir():
        return False
    files = sorted(each for each in folder.iterdir() if each.is_file() and not each.name.startswith("."))
    return bool(files) and is_dicom(files[0])


def is_data_of_a_header(path: Path) -> bool:
    """Whether a file holds the voxels of a header beside it: ``x.img`` of ``x.hdr``, ``x.raw`` of ``x.mhd``."""
    suffix = next((end for end in sorted(DATA_SUFFIXES, key=len, reverse=True) if has_suffix(path, (end,))), "")
    if not suffix:
        return False
    stem = path.name[: -len(suffix)]
    headers = (".hdr", ".hdr.gz") if suffix.startswith(".img") else (".mhd", ".nhdr")
    return any(path.with_name(stem + end).is_file() for end in headers)
