"""A case from its files to tensors on the network's grid: read once, oriented, resampled, on a common scale."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import Volume, check_same_grid, load_images
from medloss.apps.common.labels import integer_dtype, load_labels
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.data_config import Data
from medloss.apps.segmentation.grid import Grid
from medloss.apps.segmentation.intensity import normalise
from medloss.transforms import RemapLabels

IMAGE, LABEL, MASK, PRESENT, WITHIN = "image", "label", "mask", "class_present", "within"


class Scanned(NamedTuple):
    """A scan as its files have it, (channels, i, j, k), and a volume (i, j, k) that masks are written like."""

    array: np.ndarray
    like: Volume


def read_scan(paths: Sequence[Path | str], channels: Sequence[str] = (), reading: Reading = DEFAULT) -> Scanned:
    """Read the channels of a scan.

    Raises:
        UserError: unreadable; on unlike grids; or another number of channels than ``channels`` names.
    """
    volume = load_images(paths, reading)
    found, expected = len(volume.array), max(len(channels), 1)
    if found != expected:
        told = ", ".join(channels) or "one"
        hint = "" if found > 1 else f"; the others belong into files of their own, ..._0000 to ..._{expected - 1:04d}"
        raise UserError(
            f"{paths[0]} has {found} channel{'s' * (found > 1)}, expected {expected} ({told})"
            + (hint if expected > 1 else "; name them with data.channels")
        )
    return Scanned(volume.array, volume._replace(array=volume.array[0]))


class PrepareCase(Transform):
    """From the paths of a case to ``image`` (C, i, j, k), float32 with its affine, and what belongs to it.

    With ``classes`` also ``label`` (1, i, j, k) of indices, and ``mask`` (1, i, j, k), bool, where an ignore label or a
    mask ``within`` leaves voxels out, or where ``masked`` asks for one.
    """

    def __init__(self, data: Data, classes: Classes | None = None, masked: bool = False) -> None:
        self.data, self.classes, self.masked = data, classes, masked
        self.remap = None if classes is None else RemapLabels(classes.to_channels(), dtype=torch.int32)

    def __call__(self, item: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result, paths = dict(item), item[IMAGE]
        paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
        scan = read_scan(paths, self.data.channels, self.data.read)
        grid = Grid.of(scan.like.array.shape, scan.like.affine, self.data.settled_spacing)
        result[IMAGE] = MetaTensor(self.image(scan, grid), affine=torch.from_numpy(grid.affine))
        if self.classes is not None:
            result.update(self._label(item, scan, grid, self.classes))
        result.pop(WITHIN, None)
        return result

    def image(self, scan: Scanned, grid: Grid) -> torch.Tensor:
        """The channels on the network's grid. Brought to scale first: a background of 0 stays one."""
        return grid.image(normalise(torch.from_numpy(np.asarray(scan.array, np.float32)), self.data.intensities))

    def _label(self, item: Mapping[Hashable, Any], scan: Scanned, grid: Grid, classes: Classes) -> dict[Hashable, Any]:
        assert self.remap is not None
        reading, file = self.data.read, Path(item[LABEL])
        label = load_labels(file, reading, classes.layers)
        check_same_grid(scan.like, label, f"image {item[IMAGE]}", f"label {file}", reading)
        indices = grid.labels(self.remap(torch.from_numpy(label.array.astype(integer_dtype(label.array)))))
        counted = indices != classes.ignore_channel
        if item.get(WITHIN):
            mask = load_labels(Path(item[WITHIN]), reading)
            check_same_grid(scan.like, mask, f"image {item[IMAGE]}", f"mask {item[WITHIN]}", reading)
            counted &= grid.labels(torch.from_numpy((mask.array > 0).astype(np.int32))) > 0
        kept = indices.masked_fill(indices == classes.ignore_channel, 0)
        found: dict[Hashable, torch.Tensor] = {
            LABEL: kept[None].to(torch.uint8 if classes.indices <= 256 else torch.int32)
        }
        if self.masked or classes.ignore is not None or item.get(WITHIN):
            found[MASK] = counted[None]
        return {key: MetaTensor(value, affine=torch.from_numpy(grid.affine)) for key, value in found.items()}
