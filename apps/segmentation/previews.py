"""Pictures of masks: beside a prediction, and in an evaluation. Imported where one is drawn: matplotlib is slow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medloss.apps.common.figures import segmentation_preview
from medloss.apps.common.formats import strip_suffix
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.jobs import PREVIEWS
from medloss.apps.segmentation.volumes import Scanned


def draw_mask(mask_file: Path, mask: np.ndarray, scan: Scanned, classes: Classes) -> Path:
    """``previews/<name>.png`` beside a mask (i, j, k): the first channel of the scan, and the mask on it."""
    mask = first_ids(mask, classes)
    name, like = strip_suffix(mask_file), scan.like
    path = mask_file.parent / PREVIEWS / f"{name}.png"
    names = names_by_id(classes)
    return segmentation_preview(path, scan.array[0], None, mask, like.spacing, name, names=names, affine=like.affine)


def names_by_id(classes: Classes) -> dict[int, str]:
    """The name of each id that a mask holds: of a class its first id, of a region the id that stands for it."""
    ids = [group[0] for group in classes.ids] if classes.exclusive else classes.order
    return dict(zip(ids, classes.names, strict=True))


def first_ids(array: np.ndarray, classes: Classes) -> np.ndarray:
    """Labels as they are drawn: the first id of a merged class for its others; of 4D labels the last region alone."""
    result = array
    if classes.layers:
        for region in classes.order:
            result = np.where(array & region, region, result)
    if classes.exclusive:
        for first, *others in classes.ids:
            result = np.where(np.isin(result, others), first, result) if others else result
    return result
