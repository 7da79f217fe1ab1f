"""What a prediction has to do: the scans, with their channels, and the mask of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medloss.apps.common.case_names import check_distinct
from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import has_suffix, image_suffix, is_dicom_folder, strip_suffix
from medloss.apps.common.listing import channel_files, list_images, split_channel, tell_left_out
from medloss.apps.common.notes import note
from medloss.apps.common.output import check_no_input, read_json
from medloss.apps.segmentation.case import in_order

RECORD_FILE = "predict.json"
"""What made the masks of a folder: a prediction that was interrupted goes on only with the same."""

PREVIEWS = "previews"
"""The folder of the pictures, beside the masks."""


class Job(NamedTuple):
    """A scan, in one file or in one per channel, and its mask."""

    sources: tuple[Path, ...]
    mask: Path


def plan_jobs(
    inputs: Sequence[Path | str],
    target: Path,
    channels: Sequence[str],
    overwrite: bool,
    record: Mapping[str, Any],
    layered: bool = False,
) -> list[Job]:
    """The jobs, checked: something to do, no two of one name, nothing that would be overwritten.

    ``layered``: the masks are 4D, which NIfTI alone holds.
    """
    scans: dict[str, tuple[Path, ...]] = {}
    names: list[str] = []
    for name, sources in (scan for each in inputs for scan in _scans(Path(each), target, channels)):
        if scans.get(name) != sources:
            names.append(name)
        scans[name] = sources
    if not scans:
        raise UserError(f"no images found in {', '.join(str(each) for each in inputs) or 'the inputs (none given)'}")
    check_distinct(names, "the inputs")
    jobs = [Job(sources, target / _mask_name(name, sources[0], layered)) for name, sources in scans.items()]
    masks = [job.mask for job in jobs]
    written = masks + [probability_file(mask) for mask in masks if record["probabilities"]]
    files = [path for job in jobs for path in job.sources]
    for each in written:
        check_no_input(each, files)
    standing = [each for each in written if each.exists()]
    if standing and not overwrite:
        if read_json(target / RECORD_FILE) != record:
            raise UserError(
                f"{len(standing)} file(s) exist, such as {standing[0]}, and were not made by this run with "
                "these options; pass --overwrite to replace them, or give another folder with --output"
            )
        note(f"{len(standing)} of {len(written)} files exist in {target} and are kept; --overwrite makes them anew")
    return jobs


def probability_file(mask: Path) -> Path:
    """The file of the class probabilities beside a mask."""
    return mask.with_name(f"{strip_suffix(mask)}_probabilities.nii.gz")


def _scans(source: Path, target: Path, channels: Sequence[str]) -> list[tuple[str, tuple[Path, ...]]]:
    """Name and files of each scan in a folder, or of the one that a file belongs to."""
    if not source.is_dir() or is_dicom_folder(source):
        case, number = split_channel(strip_suffix(source))
        if len(channels) < 2 or number is None:
            return [(strip_suffix(source), (source,))]
        beside = channel_files(list_images(source.parent))[case]
        return [(case, in_order(case, beside, len(channels), channels))]
    listing = list_images(source, skip=[target])
    tell_left_out(listing.left_out)
    groups = channel_files(listing) if len(channels) > 1 else {}
    grouped = {path for files in groups.values() for path in files.values()}
    found = [(case, in_order(case, files, len(channels), channels)) for case, files in groups.items()]
    return found + [(strip_suffix(path), (path,)) for path in listing.images.values() if path not in grouped]


def _mask_name(name: str, source: Path, layered: bool) -> str:
    """The scan's name where its format is one file; else ``.nii.gz``, or ``.mha`` for ITK's in two files."""
    if layered:
        return f"{name}{image_suffix(source) if has_suffix(source, ('.nii', '.nii.gz')) else '.nii.gz'}"
    if has_suffix(source, (".mhd", ".nhdr")):
        return f"{name}.mha"
    single = has_suffix(source, (".nii", ".nii.gz", ".mha", ".nrrd"))
    return f"{name}{image_suffix(source) if single else '.nii.gz'}"
