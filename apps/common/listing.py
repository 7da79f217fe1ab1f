"""What a folder holds: the images, and by name and reason everything that is left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medloss.apps.common.case_names import check_case_name
from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import (
    SUFFIXES,
    has_suffix,
    is_data_of_a_header,
    is_dicom,
    is_dicom_folder,
    strip_suffix,
)
from medloss.apps.common.notes import note

DEEPEST = 8
"""Levels of folders that are searched below the one that is given."""


class LeftOut(NamedTuple):
    """A file that is not used, and why."""

    path: Path
    reason: str


class Matched(NamedTuple):
    """Cases, each with its channels by number and its label; images without a label by name; what is left out."""

    cases: dict[str, tuple[dict[int, Path], Path]]
    lonely: list[str]
    left_out: list[LeftOut]


class Listing(NamedTuple):
    """The images of a folder by the name of their case, in order, and everything else."""

    images: dict[str, Path]
    left_out: list[LeftOut]


def list_images(folder: Path | str, skip: Sequence[Path] = ()) -> Listing:
    """The images of a folder and of the folders in it, but those of ``skip``. Hidden files do not count.

    A folder of DICOM slices is one image. A case is named by its file without the suffix; where two folders hold the
    same name, by its path, joined with ``_``. Of two files of one case in one folder (``x.nii`` and ``x.nii.gz``) the
    first is used.

    Raises:
        UserError: the folder does not exist, or a name cannot be that of a case.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"image folder {folder} does not exist")
    found, left_out = [], []
    for path in _walk(folder, {each.resolve() for each in skip} - {folder.resolve()}, 0):
        reason = _why_no_image(path)
        if reason:
            left_out.append(LeftOut(path, reason))
        elif not is_data_of_a_header(path):
            found.append(path)
    kept: dict[tuple[Path, str], Path] = {}
    for path in found:
        first = kept.setdefault((path.parent, strip_suffix(path)), path)
        if first is not path:
            left_out.append(LeftOut(path, f"the same case as {first.name}"))
    stems = Counter(stem for _, stem in kept)
    images = {}
    for (parent, stem), path in kept.items():
        parts = [stem] if stems[stem] == 1 else [*parent.relative_to(folder).parts, stem]
        images[check_case_name("_".join(parts), str(path))] = path
    return Listing(images, left_out)


def match(images: Listing, labels: Listing) -> tuple[dict[str, tuple[Path, Path]], list[str], list[LeftOut]]:
    """Images with the labels of the same name.

    Names agree as they are, without nnU-Net's ``_0000`` of the first channel, or by BIDS' subject and session.
    Returns: the cases, the images without a label by name, and what is left out, labels without an image included.
    """
    rest = dict(labels.images)
    cases: dict[str, tuple[Path, Path]] = {}
    open_images = dict(images.images)
    for rule in (lambda name: name, without_channel, _bids_case):
        by_key = _unique(rest, rule)
        for key, name in _unique(open_images, rule).items():
            if key in by_key:
                label = by_key[key]
                cases[label if rule is not _bids_case else key] = (open_images.pop(name), rest.pop(label))
    lonely = [LeftOut(path, "a label without an image of that name") for path in rest.values()]
    return cases, list(open_images), [*images.left_out, *labels.left_out, *lonely]


def match_channels(images: Listing, labels: Listing) -> Matched:
    """As :func:`match`, for scans of several files: nnU-Net's ``case_0000``, ``case_0001``, ... are channels of a case.

    Where there is a label ``case_0001``, that is a case of its own. Each case has its channels by number and its label.
    """
    rest, channels = dict(images.images), channel_files(images, but=labels.images)
    found: dict[str, tuple[dict[int, Path], Path]] = {}
    for case, files in channels.items():
        if case in labels.images and (len(files) > 1 or 0 not in files):
            found[case] = (files, labels.images[case])
            rest = {name: path for name, path in rest.items() if path not in files.values()}
    others = {name: path for name, path in labels.images.items() if name not in found}
    cases, lonely, left_out = match(Listing(rest, images.left_out), Listing(others, labels.left_out))
    single = {name: ({0: image}, label) for name, (image, label) in cases.items()}
    return Matched(found | single, lonely, left_out)


def channel_files(images: Listing, but: Collection[str] = ()) -> dict[str, dict[int, Path]]:
    """The files ``case_0000``, ``case_0001``, ... by case and number, without the names in ``but``."""
    found: dict[str, dict[int, Path]] = {}
    for name, path in images.images.items():
        case, number = split_channel(name)
        if number is not None and name not in but:
            found.setdefault(case, {})[number] = path
    return found


def split_channel(name: str) -> tuple[str, int | None]:
    """``case_0001`` is channel 1 of ``case``; another name has no channel."""
    parts = re.fullmatch(r"(.+)_(\d{4})", name)
    return (parts.group(1), int(parts.group(2))) if parts else (name, None)


def without_channel(name: str) -> str:
    """A name without ``_0000``, nnU-Net's mark of the first channel."""
    return re.sub(r"_0000$", "", name)


def tell_left_out(left_out: Sequence[LeftOut], tell: Callable[[str], None] = note) -> None:
    """One line with the count and the reasons, or nothing."""
    if not left_out:
        return
    reasons = Counter(re.sub(r" as \S+$", "", each.reason) for each in left_out)
    names = ", ".join(each.path.name for each in left_out[:3]) + (", ..." if len(left_out) > 3 else "")
    told = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
    tell(f"{len(left_out)} file{'s' * (len(left_out) > 1)} left out ({names}): {told}. --dry-run lists all")


def describe_left_out(left_out: Sequence[LeftOut]) -> list[str]:
    """One line for each file."""
    return [f"left out: {each.path}: {each.reason}" for each in left_out]


def _walk(folder: Path, skip: Collection[Path], depth: int) -> Iterator[Path]:
    """Files, broken links and folders of DICOM slices, in order of their names."""
    for path in sorted(folder.iterdir(), key=lambda each: (_suffix_order(each), each.name)):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not is_dicom_folder(path):
            if depth < DEEPEST and path.resolve() not in skip:
                yield from _walk(path, skip, depth + 1)
        else:
            yield path


def _suffix_order(path: Path) -> int:
    """Files whose format can be read come in the order of ``SUFFIXES``: of two of one case the first is used."""
    return next((at for at, end in enumerate(SUFFIXES) if has_suffix(path, (end,))), len(SUFFIXES))


def _why_no_image(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "a broken link (was the file fetched?)"
    if path.is_dir() or has_suffix(path, SUFFIXES) or is_data_of_a_header(path):
        return ""
    if is_dicom(path):
        return "a single DICOM file: put the slices of each scan into a folder of its own"
    return f"no image format that can be read ({path.suffix or 'no suffix'})"


def _unique(names: Mapping[str, Path], rule: Callable[[str], str]) -> dict[str, str]:
    """What the rule makes of each name, to the name, where it makes it of one name alone."""
    keys = Counter(rule(name) for name in names)
    return {rule(name): name for name in names if rule(name) and keys[rule(name)] == 1}


def _bids_case(name: str) -> str:
    found = re.match(r"(sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?)(?:_|$)", name)
    return found.group(1) if found else ""
