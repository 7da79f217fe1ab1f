"""One look at every file of a data set before anything is written: readable, on one grid, labels within the classes."""

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
from medloss.apps.segmentation.classes import Classes

MOST_CLASSES = 256


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
