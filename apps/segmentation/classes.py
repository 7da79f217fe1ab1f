"""The classes of a segmentation: names, the ids they have in the files, and the channels 0..N-1 of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import Volume, check_same_grid, label_values, label_values_check, load_volume
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


def scan(cases: Sequence[Case], labels: Mapping[str, int | Sequence[int]], ignore: int | None) -> Scan:
    """Read every case once: files readable, image and label on the same grid, label values within the classes.

    Without ``labels`` the classes are the values found, named ``label_<id>``.
    """
    declared = Classes.from_mapping(labels, ignore)
    found: set[int] = set()
    shapes, spacings = [], []
    for case in cases:
        image, label = load_volume(case.image), load_volume(case.label)
        check_same_grid(image, label, f"image {case.image}", f"label {case.label}")
        if labels:
            label_values_check(label.array, declared.to_channels(), case.label)
        found.update(label_values(label.array, case.label).tolist())
        if not np.isfinite(image.array).all():
            raise UserError(f"image {case.image} holds NaN or infinite values; replace them, say by the background")
        shape, spacing = _in_ras(image)
        shapes.append(shape)
        spacings.append(spacing)
    found -= {0, ignore}
    if not found:
        raise UserError("no label map holds anything but background: there is nothing to learn")
    if len(found) > MOST_CLASSES:
        raise UserError(f"the label maps hold {len(found)} different values: are they images? Declare data.labels")
    classes = declared if labels else Classes.from_mapping({f"label_{each}": each for each in sorted(found)}, ignore)
    return Scan(classes, shapes, spacings)


def _in_ras(volume: Volume) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Shape and spacing with the axes in the order right, anterior, superior, as the network sees them."""
    axes = np.argsort(nib.io_orientation(volume.affine)[:, 0])
    return tuple(volume.array.shape[axis] for axis in axes), tuple(volume.spacing[axis] for axis in axes)
