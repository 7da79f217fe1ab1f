"""Images, label maps and points through transforms, file to file. Every voxel is interpolated once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medloss.apps.common.errors import UserError
from medloss.apps.common.fields import RAS_TO_LPS
from medloss.apps.common.formats import image_suffix
from medloss.apps.common.images import Volume, like_dtype, load_channels, load_image, save_volume
from medloss.apps.common.labels import label_values, load_label_channels
from medloss.apps.common.notes import note
from medloss.apps.common.output import atomic_write, write_csv
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.common.tables import read_table
from medloss.apps.registration.spatial import Grid, Transform, apply, inside, slabs
from medloss.apps.registration.transform_files import grid_of
from medloss.ops.resample import resample

KINDS = ("image", "label", "label-linear")
SPACES = {"lps": RAS_TO_LPS, "ras": np.ones(3)}
"""The axes in which points are said, and what turns them into RAS and back."""


def warp_image_file(
    source: Path,
    output: Path,
    transform: Transform,
    like: Grid | None = None,
    kind: str = "image",
    background: float | None = None,
    reading: Reading = DEFAULT,
) -> None:
    """Pull an image or a label map, 3D or 4D, through a transform onto a grid.

    Args:
        source: the image, in the world that the transform leads to.
        output: where to write, in the dtype of the source.
        transform: from the world of ``like`` to that of the source.
        like: the grid of the output; by default that of the transform's first field.
        kind: ``image`` is linear, ``label`` nearest, ``label-linear`` the label with the largest linear share.
        background: value outside the source; by default its smallest value for images, 0 for labels.
    Raises:
        UserError: what cannot be read or written, or no grid.
    """
    check_input_and_output(source, output, points=False)
    grid = grid_of(transform, like)
    with atomic_write(output) as temporary:
        volume = _load(source, kind, reading)
        places = _Places(transform, grid, volume)
        warped = np.empty((*grid.shape, volume.array.shape[3]), volume.array.dtype)
        for index in range(warped.shape[3]):
            frame = np.ascontiguousarray(volume.array[..., index])
            if kind == "image" and _looks_like_labels(frame):
                note(f"{source} holds few whole numbers: if they are labels, say --label, as interpolation mixes them")
            outside = _background(frame, kind, background, source)
            warped[..., index] = PULLS[kind](frame, places, outside)
        base = Volume(np.broadcast_to(np.uint8(0), grid.shape), grid.affine, volume.spacing)
        save_volume(temporary, warped if volume.array.shape[3] > 1 else warped[..., 0], base)


def warp_points_file(source: Path, output: Path, transform: Transform, space: str) -> int:
    """Move the points of a CSV with the columns x, y and z, in mm; the other columns stay. Gives their number.

    Points move by the transform itself, from the world of the fixed image to that of the moving one; an image moves
    the other way.

    Args:
        space: ``lps`` as in ITK and ANTs, or ``ras`` as in nibabel and 3D Slicer.
    Raises:
        UserError: no such table, or a cell that is no number.
    """
    if space not in SPACES:
        raise UserError(f"points are in {space!r}, expected {' or '.join(SPACES)}: the direction of the axes")
    check_input_and_output(source, output, points=True)
    with atomic_write(output) as temporary:
        rows = read_table(source, ("x", "y", "z"))
        points = np.array([point_of(source, line, cells) for line, cells in rows]).reshape(-1, 3) * SPACES[space]
        moved = transform(torch.from_numpy(points.T.copy())).T.numpy() * SPACES[space]
        if not rows:
            raise UserError(f"{source} holds no points below its header")
        told = [{**cells, **{axis: f"{value:.6f}" for axis, value in zip("xyz", place)}}
                for (_, cells), place in zip(rows, moved)]  # fmt: skip
        write_csv(temporary, told)
    return len(rows)


def check_input_and_output(source: Path, output: Path, points: bool) -> None:
    """Raise UserError unless the input is there and the name of the output says what is to be written."""
    if not source.exists():
        raise UserError(f"{source} does not exist, expected {'a CSV of points' if points else 'an image'}")
    if points and output.suffix.lower() != ".csv":
        raise UserError(f"cannot write points to {output}: expected a name that ends in .csv")
    if not points and not image_suffix(output):
        raise UserError(f"cannot write {output}: its name says no image format, such as .nii.gz")


def point_of(source: Path, line: int, cells: dict[str, str]) -> list[float]:
    """The three numbers of a row."""
    try:
        place = [float(cells[axis].replace(",", ".")) for axis in "xyz"]
    except ValueError:
        place = [float("nan")]
    if not np.isfinite(place).all():
        given = ", ".join(cells[axis] or "nothing" for axis in "xyz")
        raise UserError(f"{source}, line {line}: x, y and z are {given}, expected three numbers in mm")
    return place


def _looks_like_labels(frame: np.ndarray) -> bool:
    """Whether an array of integers has few values, by some 64 voxels along each axis."""
    some = frame[tuple(slice(None, None, max(size // 64, 1)) for size in frame.shape)]
    return bool(np.issubdtype(frame.dtype, np.integer) and len(np.unique(some)) <= 64)


class _Places:
    """Where the voxels of a grid are read in a volume: slab for slab, computed once where several frames are read."""

    def __init__(self, transform: Transform, grid: Grid, volume: Volume) -> None:
        self.transform, self.grid = transform, grid
        self.to_voxels = np.linalg.inv(volume.affine)
        self.shape = volume.array.shape[:3]
        self.frames = volume.array.shape[3]
        self.kept: list[tuple[slice, Tensor, Tensor]] = []

    def __call__(self, again: bool = False) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Pieces of the grid, with voxel coordinates ``(3, n)``, float32, in the volume, and which of them lie in it.

        ``again``: they will be asked for again.
        """
        if self.kept:
            yield from self.kept
            return
        for part, points in slabs(self.grid):
            voxels = apply(self.to_voxels, self.transform(points)).float()
            piece = part, voxels, inside(voxels, self.shape)
            if again or self.frames > 1:
                self.kept.append(piece)
            yield piece


def _pull_linear(frame: np.ndarray, places: _Places, outside: float) -> np.ndarray:
    values = torch.from_numpy(frame.astype(np.float32))[None, None]
    pulled = torch.empty(places.grid.shape)
    for part, voxels, within in places():
        found = resample(values, voxels[None])[0, 0]
        pulled[part] = torch.where(within, found, torch.tensor(float(outside))).reshape(pulled[part].shape)
    return like_dtype(pulled.numpy(), frame.dtype)


def _pull_nearest(frame: np.ndarray, places: _Places, outside: float) -> np.ndarray:
    """The nearest voxel, halves upwards as in ITK, without a float in between."""
    pulled = np.full(places.grid.shape, outside, frame.dtype)
    for part, voxels, within in places():
        i, j, k = (voxels[:, within].double() + 0.5).floor().long().numpy()
        flat = np.full(within.shape, outside, frame.dtype)
        flat[within.numpy()] = frame[i, j, k]
        pulled[part] = flat.reshape(pulled[part].shape)
    return pulled


def _pull_shares(frame: np.ndarray, places: _Places, outside: float) -> np.ndarray:
    """The label whose mask, read linearly, is largest. One at a time: memory does not grow with their number."""
    pulled, largest = np.full(places.grid.shape, outside, frame.dtype), np.zeros(places.grid.shape, np.float32)
    for value in label_values(frame):
        mask = torch.from_numpy((frame == value).astype(np.float32))[None, None]
        for part, voxels, within in places(again=True):
            share = (resample(mask, voxels[None])[0, 0] * within).numpy().reshape(largest[part].shape)
            better = share > largest[part]
            pulled[part][better], largest[part][better] = value, share[better]
    return pulled


PULLS = {"image": _pull_linear, "label": _pull_nearest, "label-linear": _pull_shares}


def _load(source: Path, kind: str, reading: Reading) -> Volume:
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {KINDS}")
    if kind != "image":
        return load_label_channels(source, reading)
    volume = load_channels(source, reading)
    if volume.array.shape[3] == 1:
        volume = load_image(source, reading)
        return volume._replace(array=volume.array[..., None])
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        if reading.nan == "refuse":
            raise UserError(f"image {source} holds NaN or infinite values; read them as 0 with --nan zero")
        volume = volume._replace(array=np.where(np.isfinite(volume.array), volume.array, 0).astype(volume.array.dtype))
    return volume


def _background(frame: np.ndarray, kind: str, given: float | None, source: Path) -> float:
    if given is None:
        return 0 if kind != "image" else frame.min()
    if frame.dtype.kind in "iu":
        limits = np.iinfo(frame.dtype)
        if given != round(given) or not limits.min <= given <= limits.max:
            raise UserError(f"background {given:g} cannot be stored in {source}'s {frame.dtype}: "
                            f"expected a whole number from {limits.min} to {limits.max}")  # fmt: skip
        return int(given)
    return given
