"""From the files of a pair to volumes, labels and landmarks in memory, checked against each other."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import Volume, check_same_grid
from medloss.apps.common.labels import integer_dtype, label_values, load_label_channels, load_labels
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.common.tables import read_table
from medloss.apps.registration.config import Data, RegistrationConfig
from medloss.apps.registration.data_config import Labels
from medloss.apps.registration.files import PairFiles
from medloss.apps.registration.intensity import load_intensities
from medloss.apps.registration.output import Pair
from medloss.apps.registration.warp_files import SPACES, point_of

T = TypeVar("T")


class Files:
    """Reads the files of pairs; what was read last is kept, so that a file of neighbouring pairs is read once.

    Args:
        data: what the files hold.
        classes: of label maps, or channels of masks; None for all channels.
        keep: how many images, labels and tables of landmarks are kept; None for all.
    """

    def __init__(self, data: Data, classes: tuple[int, ...] | None = None, keep: int | None = None) -> None:
        self.data, self.classes, self.keep = data, classes, keep
        self.kept: OrderedDict[tuple[str, Path], Any] = OrderedDict()

    def pair(self, files: PairFiles) -> Pair:
        """Read a pair; labels come as ``(i, j, k)`` maps or ``(C, i, j, k)`` masks.

        Raises:
            UserError: what cannot be read, or does not go together.
        """
        fixed, moving = self.image(files.fixed), self.image(files.moving)
        labels = self._labels(files, fixed, moving)
        points = None
        if files.fixed_points is not None and files.moving_points is not None:
            points = (self.points(files.fixed_points), self.points(files.moving_points))
            if len(points[0]) != len(points[1]):
                raise UserError(
                    f"{files.fixed_points} holds {len(points[0])} points and {files.moving_points} {len(points[1])}: "
                    "the rows of both correspond one to one"
                )
        return Pair(files.name, fixed, moving, *labels, self.classes if labels[0] is not None else None, points)

    def image(self, path: Path) -> Volume:
        """An image, with the intensities that it stores."""
        return self._once("image", path, lambda: load_intensities(path, self.data.read))

    def points(self, path: Path) -> np.ndarray:
        """Landmarks ``(n, 3)``, RAS mm."""
        return self._once("points", path, lambda: load_points(path, self.data.points or "lps"))

    def _labels(self, files: PairFiles, fixed: Volume, moving: Volume) -> tuple[Tensor | None, Tensor | None]:
        labels = self.data.labels
        if labels is None or files.fixed_label is None or files.moving_label is None:
            return None, None
        read = load_map if labels.kind == "map" else load_masks
        one, other = (
            self._once("label", path, functools.partial(read, path, of[0], of[1], self.data.read))
            for path, of in ((files.fixed_label, (fixed, files.fixed)), (files.moving_label, (moving, files.moving)))
        )
        self._check_channels(files, one, other)
        return one, other

    def _check_channels(self, files: PairFiles, one: Tensor, other: Tensor) -> None:
        if one.ndim == 4 and one.shape[0] != other.shape[0]:
            raise UserError(
                f"{files.fixed_label} has {one.shape[0]} regions and {files.moving_label} {other.shape[0]}: "
                "the channels of a pair's label files must correspond one to one"
            )
        if one.ndim == 4 and self.classes and max(self.classes) >= one.shape[0]:
            raise UserError(
                f"{files.fixed_label} has {one.shape[0]} regions, and data.labels.classes asks for number "
                f"{max(self.classes)}: regions of masks are counted from 0"
            )

    def _once(self, kind: str, path: Path, read: Callable[[], T]) -> T:
        key = kind, path
        if key not in self.kept:
            self.kept[key] = read()
        self.kept.move_to_end(key)
        while self.keep is not None and len(self.kept) > self.keep:
            self.kept.popitem(last=False)
        return self.kept[key] if key in self.kept else read()


def all_classes(
    pairs: Sequence[PairFiles], labels: Labels | None, reading: Reading = DEFAULT
) -> tuple[int, ...] | None:
    """The classes of label maps: as configured, or all that any of the files holds; None for masks and without
    labels.
    """
    if labels is None or (labels.kind == "masks" and not labels.classes):
        return None
    if labels.classes:
        return tuple(labels.classes)
    paths = {path for pair in pairs for path in (pair.fixed_label, pair.moving_label) if path}
    found = {int(value) for path in paths for value in label_values(load_labels(path, reading).array)}
    return tuple(sorted(found - {0}))


def with_classes(config: RegistrationConfig, pairs: Sequence[PairFiles]) -> RegistrationConfig:
    """The configuration with the classes of label maps filled in, so that a prediction need not look for them."""
    labels = config.data.labels
    if labels is None or labels.kind != "map" or labels.classes:
        return config
    found = labels.model_copy(update={"classes": list(all_classes(pairs, labels, config.data.read) or ())})
    return config.model_copy(update={"data": config.data.model_copy(update={"labels": found})})


def load_points(path: Path, space: str) -> np.ndarray:
    """Landmarks of a CSV with the columns x, y and z, in mm along ``lps`` or ``ras``: ``(n, 3)``, RAS mm."""
    rows = read_table(path, ("x", "y", "z"))
    if not rows:
        raise UserError(f"{path} holds no points below its header")
    return np.array([point_of(path, line, cells) for line, cells in rows]).reshape(-1, 3) * SPACES[space]


def load_map(path: Path, image: Volume, image_path: Path, reading: Reading = DEFAULT) -> Tensor:
    """An integer label map ``(i, j, k)`` that lies on the grid of its image; UserError otherwise."""
    volume = load_labels(path, reading)
    check_same_grid(volume, image, f"label map {path}", f"its image {image_path}", reading)
    return integers(volume.array)


def load_masks(path: Path, image: Volume, image_path: Path, reading: Reading = DEFAULT) -> Tensor:
    """DeepReg's label files: ``(C, i, j, k)`` of 0 and 1 from a 3D or 4D file.

    They have no header worth the name: their arrays alone must agree with the image's.
    """
    array = load_label_channels(path, reading).array
    if array.shape[:3] != image.array.shape:
        shape = image.array.shape
        raise UserError(f"labels {path} have shape {array.shape}, but image {image_path} {shape}: they must agree")
    strange = np.setdiff1d(np.unique(array), [0, 1])
    if strange.size:
        raise UserError(
            f"{path} holds {strange[0]:g}, expected masks of 0 and 1; for an integer map set data.labels.kind: map"
        )
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array.astype(np.uint8), -1, 0)))


def integers(array: np.ndarray) -> Tensor:
    """Labels as int32, or as int64 where an id needs it."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=integer_dtype(array)))
