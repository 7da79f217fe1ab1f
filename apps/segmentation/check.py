"""``medloss segment check-data``: everything that is wrong with a data set, at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pydantic
from tqdm import tqdm

from medloss.apps.common.config import Model, load_config
from medloss.apps.common.errors import UserError
from medloss.apps.common.images import Volume, check_same_grid, load_images
from medloss.apps.common.labels import label_values, label_values_check, load_labels
from medloss.apps.common.listing import describe_left_out
from medloss.apps.common.output import write_json
from medloss.apps.common.progress import hidden
from medloss.apps.common.reading import Reading
from medloss.apps.segmentation.case import Case, some
from medloss.apps.segmentation.cases import find_cases
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.data_config import Data
from medloss.apps.segmentation.grid import Grid

T = TypeVar("T")
OUTLIER = 2.0
"""A spacing or an extent is strange where it is so many times the median along an axis, or that part of it."""


class _OnlyData(Model):
    """What this command reads of a configuration."""

    model_config = pydantic.ConfigDict(extra="ignore")
    data: Data


@dataclass
class Report:
    """``faults``: what a training would stop at, or learn wrongly; ``remarks``: what deserves a look."""

    cases: int
    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def text(self) -> str:
        """All findings, one a line."""
        lines = [f"{self.cases} cases, {len(self.faults)} faults, {len(self.remarks)} remarks", *self.facts]
        lines += [f"fault: {each}" for each in self.faults] + [f"remark: {each}" for each in self.remarks]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """The findings as JSON."""
        write_json(path, {"cases": self.cases, "faults": self.faults, "remarks": self.remarks, "facts": self.facts})


@dataclass
class Seen:
    """What is remembered of a case that could be read."""

    case: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    labels: frozenset[int]
    digest: str


def data_of(source: Path, overrides: Sequence[str]) -> Data:
    """The data section of a configuration file, or that of a folder: one with a dataset.json, or images and labels."""
    if source.is_file():
        return load_config(_OnlyData, [source], overrides).data
    if not source.is_dir():
        raise UserError(f"{source} does not exist; give the folder of a data set, or a configuration")
    kind = "msd" if (source / "dataset.json").is_file() else "folders"
    base = [f"data.kind={kind}", f"data.root={source}"]
    return load_config(_OnlyData, [], [*base, *overrides]).data


def check(data: Data, progress: bool = True) -> Report:
    """Read every file of a data set and list what is wrong: with files, geometry, values, classes and duplicates."""
    faults: list[str] = []
    found = find_cases(data, faults)
    report = Report(len(found.cases), faults)
    labels = data.labels or found.names
    ignore = found.ignore if data.ignore is None else data.ignore
    order, layers = data.region_order or found.region_order, len(data.label_channels)
    classes = Classes.from_mapping(labels, ignore, order, layers) if labels else None
    channels = data.channels or list(found.channels)
    seen = []
    for case in tqdm(found.cases, desc="check", disable=hidden(progress)):
        one = _check_case(case, classes, channels, data.read, report)
        if one is not None:
            channels = channels or [f"channel_{number}" for number in range(one[1])]
            seen.append(one[0])
    _check_together(seen, classes, ignore, report)
    report.remarks += describe_left_out(found.left_out)
    report.facts += _facts(seen, channels)
    return report


def _check_case(
    case: Case, classes: Classes | None, channels: Sequence[str], reading: Reading, report: Report
) -> tuple[Seen, int] | None:
    """One case's files; the faults go to the report. None where the image cannot be read."""
    image = _tried(report, lambda: load_images(case.images, reading))
    label = _tried(report, lambda: load_labels(case.label, reading, classes.layers if classes else 0))
    values = frozenset[int]() if label is None else frozenset(label_values(label.array).tolist())
    if label is not None:
        _check_label(case, label, values, classes, report)
    if image is None:
        return None
    like = image._replace(array=image.array[0])
    others = [("label", case.label, label)]
    if case.within is not None:
        within = case.within
        others.append(("mask", within, _tried(report, lambda: load_labels(within, reading))))
    for what, path, volume in others:
        if volume is not None:
            names = (f"image {case.image}", f"{what} {path}")
            _tried(report, partial(check_same_grid, like, volume, *names, reading))
    _check_channels(case, image.array, channels, report)
    grid = Grid.of(like.array.shape, like.affine, None)
    digest = hashlib.sha256(np.ascontiguousarray(image.array).tobytes()).hexdigest()
    return Seen(case.id, grid.turned, grid.spacing, values, digest), len(image.array)


def _tried(report: Report, read: Callable[[], T]) -> T | None:
    """What ``read`` gives; its fault goes to the report."""
    try:
        return read()
    except UserError as fault:
        report.faults.append(str(fault))
        return None


def _check_channels(case: Case, array: np.ndarray, channels: Sequence[str], report: Report) -> None:
    if channels and len(array) != len(channels):
        told = f"{case.id}: {len(array)} channel(s) in {case.image}, expected {len(channels)} ({', '.join(channels)})"
        report.faults.append(told)
    for number, channel in enumerate(array):
        if channel.min() == channel.max():
            name = channels[number] if number < len(channels) else number
            report.faults.append(f"{case.id}: channel {name} holds {channel.flat[0]:g} alone")


def _check_label(case: Case, label: Volume, values: frozenset[int], classes: Classes | None, report: Report) -> None:
    if classes is not None:
        try:
            label_values_check(label.array, classes.to_channels(), case.label)
        except UserError as fault:
            report.faults.append(str(fault))
    ignore = None if classes is None else classes.ignore
    if values <= {0, ignore}:
        report.remarks.append(f"{case.id}: the label {case.label} holds nothing but background")
    strange = [name for name in case.annotated or () if classes is not None and name not in classes.names]
    if strange:
        report.faults.append(f"{case.id}: annotates {', '.join(strange)}, which is no class")


def _check_together(seen: Sequence[Seen], classes: Classes | None, ignore: int | None, report: Report) -> None:
    """What shows between cases: duplicates, odd spacings and extents, classes that are missing or rare."""
    by_digest: dict[str, list[str]] = {}
    for each in seen:
        by_digest.setdefault(each.digest, []).append(each.case)
    report.faults += [
        f"the same image, voxel by voxel: {some(names)}" for names in by_digest.values() if len(names) > 1
    ]
    if not seen:
        return
    for what, values in (
        ("spacing", np.array([each.spacing for each in seen])),
        ("extent", np.array([np.multiply(each.shape, each.spacing) for each in seen])),
    ):
        middle = np.median(values, axis=0)
        far = (values > OUTLIER * middle).any(axis=1) | (values < middle / OUTLIER).any(axis=1)
        for each, value in zip(np.array([one.case for one in seen])[far], values[far], strict=True):
            report.remarks.append(f"{each}: {what} {_mm(value)}, the median is {_mm(middle)}")
    present = set().union(*(each.labels for each in seen))
    if not present - {0, ignore}:
        report.faults.append("no label map holds anything but background: there is nothing to learn")
    for name, ids in () if classes is None else zip(classes.names, classes.ids, strict=True):
        holding = [each.case for each in seen if each.labels & set(ids)]
        if not holding:
            report.faults.append(f"class {name} {list(ids)} is in no label map")
        elif len(holding) == 1 and len(seen) > 1:
            report.remarks.append(f"class {name} {list(ids)} is in {holding[0]} alone")


def _facts(seen: Sequence[Seen], channels: Sequence[str]) -> list[str]:
    if not seen:
        return []
    spacing = np.median([each.spacing for each in seen], axis=0)
    shape = np.median([each.shape for each in seen], axis=0)
    labels = sorted(set().union(*(each.labels for each in seen)))
    return [
        f"median spacing {_mm(spacing)}, median shape {' x '.join(f'{size:.0f}' for size in shape)}",
        f"channels: {', '.join(channels) or 'one'}; label values: {some([str(label) for label in labels], 50)}",
    ]


def _mm(values: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{value:.3g}" for value in values) + " mm"
