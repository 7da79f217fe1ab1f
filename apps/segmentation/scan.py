"""One look at every file of a data set before anything is written: readable, on one grid, labels within the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import check_same_grid, load_images
from medloss.apps.common.labels import label_values_check, load_labels
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.segmentation.case import Case
from medloss.apps.segmentation.classes import Classes, Labels
from medloss.apps.segmentation.grid import Grid
from medloss.apps.segmentation.resampling import ANISOTROPIC
from medloss.apps.segmentation.volumes import read_scan

MOST_CLASSES = 256
SAMPLED = 20_000
"""Voxels of a volume that are looked at for its intensities, and of its foreground."""


class Look(NamedTuple):
    """What one case told. Shape and spacing (mm) along right, anterior, superior.

    ``counts``: voxels of each id in the label file; ``percentiles``: per channel the 1st, 50th and 99th;
    ``foreground``: per channel intensities of labelled voxels, a sample.
    """

    case: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    channels: int
    counts: dict[int, int]
    percentiles: list[tuple[float, float, float]]
    foreground: list[np.ndarray]


@dataclass(frozen=True)
class Scan:
    """What a look at every file told: the classes, the names of the channels, and each case."""

    classes: Classes
    channels: tuple[str, ...]
    looks: list[Look]

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        return [look.shape for look in self.looks]

    @property
    def spacings(self) -> list[tuple[float, float, float]]:
        return [look.spacing for look in self.looks]

    def of(self, cases: Sequence[Case]) -> list[Look]:
        """The looks at some of the cases."""
        names = {case.id for case in cases}
        return [look for look in self.looks if look.case in names]


def scan(
    cases: Sequence[Case],
    labels: Labels,
    ignore: int | None,
    reading: Reading = DEFAULT,
    *,
    region_order: Sequence[int] | None = None,
    channels: Sequence[str] = (),
    layers: int = 0,
) -> Scan:
    """Read every case once: files readable, image and label on the same grid, label values within the classes.

    Without ``labels`` the classes are the values found, named ``label_<id>``. Without ``channels`` there are as many as
    the first case has. ``layers``: volumes of a 4D label file.

    Raises:
        UserError: with the faults of all cases, not of the first alone.
    """
    declared = Classes.from_mapping(labels, ignore, region_order, layers)
    looks, faults = [], []
    for case in cases:
        try:
            look = look_at(case, declared if labels else None, reading, channels)
        except UserError as fault:
            faults.append(str(fault))
            continue
        if not channels and look.channels > 1:
            channels = tuple(f"channel_{number}" for number in range(look.channels))
        looks.append(look)
    if faults:
        raise UserError(faults[0] if len(faults) == 1 else _listed(faults, len(cases)))
    found = {value for look in looks for value in look.counts} - {0, ignore}
    if not found:
        raise UserError("no label map holds anything but background: there is nothing to learn")
    if len(found) > MOST_CLASSES:
        raise UserError(f"the label maps hold {len(found)} different values: are they images? Declare data.labels")
    classes = declared if labels else Classes.from_mapping({f"label_{each}": each for each in sorted(found)}, ignore)
    return Scan(classes, tuple(channels), looks)


def look_at(case: Case, declared: Classes | None, reading: Reading, channels: Sequence[str]) -> Look:
    """A case's files, checked against each other and against the classes."""
    if channels or len(case.images) > 1:
        found = read_scan(case.images, channels or [str(path.name) for path in case.images], reading)
        array, like = found
    else:
        volume = load_images(case.images, reading)
        array, like = volume.array, volume._replace(array=volume.array[0])
    label = load_labels(case.label, reading, declared.layers if declared else 0)
    check_same_grid(like, label, f"image {case.image}", f"label {case.label}", reading)
    if case.within is not None:
        mask = load_labels(case.within, reading)
        check_same_grid(like, mask, f"image {case.image}", f"mask {case.within}", reading)
    if declared is not None:
        label_values_check(label.array, declared.to_channels(), case.label)
    strange = [name for name in case.annotated or () if declared is not None and name not in declared.names]
    if strange:
        assert declared is not None
        raise UserError(f"case {case.id}: annotates {', '.join(strange)}, and the classes are {declared.names}")
    grid = Grid.of(like.array.shape, like.affine, None)
    labelled = _some(np.flatnonzero(label.array))
    return Look(
        case.id,
        grid.turned,
        grid.spacing,
        len(array),
        _counts(label.array),
        [percentiles(channel) for channel in array],
        [channel.ravel()[labelled].astype(np.float32) for channel in array],
    )


def percentiles(channel: np.ndarray) -> tuple[float, float, float]:
    """The 1st, 50th and 99th percentile of a volume, by a regular sample of its voxels."""
    low, middle, high = np.percentile(_some(channel.ravel()), (1, 50, 99))
    return float(low), float(middle), float(high)


def target_spacing(looks: Sequence[Look]) -> tuple[float, float, float]:
    """The median spacing (mm); along a thick axis the 10th percentile, as in nnU-Net, which loses fewer planes."""
    spacings, shapes = np.array([look.spacing for look in looks]), np.array([look.shape for look in looks])
    target, shape = np.median(spacings, axis=0), np.median(shapes, axis=0)
    worst = int(target.argmax())
    others = [axis for axis in range(3) if axis != worst]
    if target[worst] > ANISOTROPIC * target[others].max() and shape[worst] * ANISOTROPIC < shape[others].min():
        target[worst] = max(float(np.percentile(spacings[:, worst], 10)), target[others].max())
    i, j, k = (round(float(size), 6) for size in target)
    return i, j, k


def _counts(array: np.ndarray) -> dict[int, int]:
    """Voxels of each id; small ids are counted without sorting."""
    if array.size and array.min() >= 0 and array.max() < 1 << 16:
        counts = np.bincount(array.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    return dict(zip(*(each.tolist() for each in np.unique(array, return_counts=True)), strict=True))


def _some(values: np.ndarray) -> np.ndarray:
    return values[:: max(1, len(values) // SAMPLED)]


def _listed(faults: Sequence[str], count: int) -> str:
    return f"{len(faults)} of {count} cases are at fault:\n" + "\n".join(f"  {fault}" for fault in faults)
