"""The classes of a segmentation: names, the ids they have in the files, and the channels 0..N-1 of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import Volume, check_same_grid, load_image
from medloss.apps.common.labels import label_values, label_values_check, load_labels
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.segmentation.cases import Case

MOST_CLASSES = 256


@dataclass(frozen=True)
class Classes:
    """Foreground class ``names[c - 1]`` is channel ``c``, in files any of ``ids[c - 1]``; channel 0 is background."""

    names: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    ignore: int | None = None

    @classmethod
    def from_mapping(cls, labels: Mapping[str, int | Sequence[int]], ignore: int | None = None) -> Classes:
        """From ``{name: id}`` or ``{name: [id, id]}`` (several ids merged into one class)."""
        ids = tuple((value,) if isinstance(value, int) else tuple(value) for value in labels.values())
        return cls(tuple(labels), ids, ignore)

    @property
    def count(self) -> int:
        """Number of channels, the background included."""
        return len(self.names) + 1

    def to_channels(self) -> dict[int, int]:
        """File id to channel; the ignore label keeps its number."""
        mapping = {0: 0} | {each: channel for channel, group in enumerate(self.ids, 1) for each in group}
        return mapping if self.ignore is None else {**mapping, self.ignore: self.ignore_channel}

    @property
    def ignore_channel(self) -> int:
        """The number that stands for the ignore label among the channels: the first that no class has."""
        return self.count

    def to_ids(self) -> np.ndarray:
        """Look-up table from channel to file id (the first one of a merged class), in the smallest integer dtype."""
        table = np.array([0, *(group[0] for group in self.ids)])
        smallest = np.uint8 if table.min() >= 0 and table.max() < 256 else np.int16
        return table.astype(smallest if np.array_equal(table.astype(smallest), table) else np.int32)


@dataclass(frozen=True)
class Scan:
    """What a look at every file told: the classes; per case shape and spacing (mm) along right, anterior, superior."""

    classes: Classes
    shapes: list[tuple[int, ...]]
    spacings: list[tuple[float, ...]]


def scan(
    cases: Sequence[Case], labels: Mapping[str, int | Sequence[int]], ignore: int | None, reading: Reading = DEFAULT
) -> Scan:
    """Read every case once: files readable, image and label on the same grid, label values within the classes.

    Without ``labels`` the classes are the values found, named ``label_<id>``.

    Raises:
        UserError: with the faults of all cases, not of the first alone.
    """
    declared = Classes.from_mapping(labels, ignore)
    found: set[int] = set()
    shapes, spacings, faults = [], [], []
    for case in cases:
        try:
            image, values = _look_at(case, declared if labels else None, reading)
        except UserError as fault:
            faults.append(str(fault))
            continue
        found.update(values)
        shape, spacing = _in_ras(image)
        shapes.append(shape)
        spacings.append(spacing)
    if faults:
        raise UserError(faults[0] if len(faults) == 1 else _listed(faults, len(cases)))
    found -= {0, ignore}
    if not found:
        raise UserError("no label map holds anything but background: there is nothing to learn")
    if len(found) > MOST_CLASSES:
        raise UserError(f"the label maps hold {len(found)} different values: are they images? Declare data.labels")
    classes = declared if labels else Classes.from_mapping({f"label_{each}": each for each in sorted(found)}, ignore)
    return Scan(classes, shapes, spacings)


def _look_at(case: Case, declared: Classes | None, reading: Reading) -> tuple[Volume, list[int]]:
    """The image of a case and its label values, checked."""
    image, label = load_image(case.image, reading), load_labels(case.label, reading)
    check_same_grid(image, label, f"image {case.image}", f"label {case.label}", reading)
    if declared is not None:
        label_values_check(label.array, declared.to_channels(), case.label)
    return image, label_values(label.array).tolist()


def _listed(faults: Sequence[str], count: int) -> str:
    return f"{len(faults)} of {count} cases are at fault:\n" + "\n".join(f"  {fault}" for fault in faults)


def _in_ras(volume: Volume) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Shape and spacing with the axes in the order right, anterior, superior, as the network sees them."""
    axes = np.argsort(nib.io_orientation(volume.affine)[:, 0])
    return tuple(volume.array.shape[axis] for axis in axes), tuple(volume.spacing[axis] for axis in axes)
