"""Pictures for people: previews of a segmentation and of a registration, as PNG files.

Volumes are 3D numpy arrays in index order (i, j, k). Three planes are shown with their true aspect ratio, cropped to
what is to be seen. With an ``affine`` the volumes are turned to RAS and the sides are lettered; without one the index
order is taken for RAS and no letter is drawn. Axial and coronal planes follow the radiological convention: the
patient's right is on the left of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from scipy.ndimage import binary_fill_holes, gaussian_filter

from medloss.apps.common.deformation import jacobian_determinant
from medloss.apps.common.label_colours import colours, legend_of, paint
from medloss.apps.common.planes import (
    PLANES,
    Sheet,
    centre_cuts,
    crop_box,
    cut,
    ddf_to_ras,
    legend_height,
    ras_spacing,
    to_ras,
    window,
)

DIFFERENCE, OUTLINE, FOLD = "#ff2d7a", "#ffb000", "#ff00ff"
SQUARES = 8  # checkerboard squares along the longest side


def segmentation_preview(
    path: str | Path,
    image: np.ndarray | None,
    label: np.ndarray | None,
    prediction: np.ndarray,
    spacing: Sequence[float],
    title: str = "",
    *,
    names: Mapping[int, str] | None = None,
    affine: np.ndarray | None = None,
    region: np.ndarray | None = None,
) -> Path:
    """Image | reference | prediction | differences in three planes.

    Args:
        path: PNG to write.
        image: grey values (i, j, k), or None when there is no image: its column is left out, and what lies under the
            labels is black.
        label: reference labels (i, j, k), or None when there is no reference (its columns are then left out).
        prediction: predicted labels (i, j, k).
        spacing: voxel size per axis in mm.
        title: a line above the pictures.
        names: label value to name, for the legend.
        affine: voxel to RAS mm (4x4): turns the volumes and letters the sides.
        region: voxels (i, j, k) to which the comparison is limited; the cuts pass through its middle.
    """
    shown = [] if image is None else ["image"]
    image = np.zeros(np.shape(prediction), np.float32) if image is None else image
    region = np.ones(np.shape(image), bool) if region is None else np.asarray(region) > 0
    seen = (np.asarray(prediction if label is None else label) > 0) & region
    steps = ras_spacing(spacing, affine)
    box = crop_box(to_ras(seen, affine), steps, margin_mm=15.0)
    image, seen, prediction, region = (to_ras(np.asarray(a), affine)[box] for a in (image, seen, prediction, region))
    overlays = {"prediction": np.where(region, prediction, 0)}
    if label is not None:
        overlays = {"reference": np.where(region, to_ras(np.asarray(label), affine)[box], 0), **overlays}
    cuts = centre_cuts(seen)
    values = sorted({int(v) for overlay in overlays.values() for p in PLANES for v in np.unique(cut(overlay, p, cuts))})
    shades = colours([value for value in values if value], names)
    patches = legend_of(shades, names)
    patches += [Patch(color=DIFFERENCE, label="they differ")] if label is not None else []
    columns = [*shown, *overlays, *(["differences"] if label is not None else [])]
    footer = legend_height(patches, len(columns))
    sheet = Sheet(image.shape, steps, columns, title, lettered=affine is not None, footer=footer)
    draw_segmentation(sheet, image, overlays, shades, cuts)
    sheet.legend(patches)
    sheet.save(path)
    return Path(path)


def draw_segmentation(
    sheet: Sheet,
    image: np.ndarray,
    overlays: Mapping[str, np.ndarray],
    shades: Mapping[int, str],
    cuts: Sequence[int],
) -> None:
    """Fill the sheet: the bare image where it has a column, each overlay, and with two overlays where they differ."""
    low, high = window(image)
    for row, plane in enumerate(PLANES):
        for column in range(len(sheet.panels[row])):
            sheet.draw(row, column, cut(image, plane, cuts), cmap="gray", vmin=low, vmax=high)
        differences = len(overlays) == 2
        bare = len(sheet.panels[row]) - len(overlays) - differences
        for column, overlay in enumerate(overlays.values(), start=bare):
            sheet.draw(row, column, paint(cut(overlay, plane, cuts), shades))
        if differences:
            first, second = (cut(overlay, plane, cuts) for overlay in overlays.values())
            unlike = np.ma.masked_equal(first != second, False)
            sheet.draw(row, bare + 2, unlike, cmap=ListedColormap([DIFFERENCE]), alpha=0.9)


def registration_preview(
    path: str | Path,
    fixed: np.ndarray,
    moving: np.ndarray,
    moved: np.ndarray,
    ddf_voxels: np.ndarray,
    spacing: Sequence[float],
    title: str = "",
    *,
    affine: np.ndarray | None = None,
) -> Path:
    """Fixed | moving | moved | fixed and moving, fixed and moved as checkerboards | deformed grid | log J, in 3 planes.

    The fixed image's outline is drawn on the moving and the moved image, so that what still disagrees is seen at once.
    The checkerboards are from before and after: after a good registration the second one alone shows nothing.

    Args:
        path: PNG to write.
        fixed, moving, moved: grey values (i, j, k), all on the fixed grid.
        ddf_voxels: displacement (3, i, j, k) in voxels of the fixed grid, from fixed to moving.
        spacing: voxel size per axis of the fixed grid in mm.
        title: a line above the pictures.
        affine: voxel to RAS mm (4x4) of the fixed grid: turns the volumes and letters the sides.
    """
    ddf = np.asarray(ddf_voxels)
    shapes = [np.shape(a) for a in (fixed, moving, moved)]
    if any(shape != ddf.shape[1:] for shape in shapes):
        raise ValueError(f"fixed, moving, moved are {shapes} and the field {ddf.shape}: all must be on the fixed grid")
    steps = ras_spacing(spacing, affine)
    jacobian = to_ras(jacobian_determinant(ddf), affine)
    images = [to_ras(unit(np.asarray(a, dtype=np.float32)), affine) for a in (fixed, moving, moved)]
    level = foreground_level(images[0])
    box = crop_box((images[0] > level) | (images[1] > level), steps)
    images, jacobian = [image[box] for image in images], jacobian[box]
    mm = ddf_to_ras(ddf, affine)[(slice(None), *box)] * np.reshape(steps, (3, 1, 1, 1))
    mixed = ["before: fixed / moving", "after: fixed / moved"]
    columns = ["fixed", "moving", "moved", *mixed, "deformed grid", "volume change"]
    sheet = Sheet(jacobian.shape, steps, columns, title, lettered=affine is not None)
    draw_registration(sheet, images, mm, jacobian, level, steps)
    sheet.legend([Patch(color=OUTLINE, label="outline of the fixed image"), Patch(color=FOLD, label="folded (J ≤ 0)")])
    sheet.save(path)
    return Path(path)


def draw_registration(
    sheet: Sheet,
    images: Sequence[np.ndarray],
    mm: np.ndarray,
    jacobian: np.ndarray,
    level: float,
    spacing: Sequence[float],
) -> None:
    """Fill the sheet from fixed, moving and moved (0..1), the displacement in mm and its determinant, all in RAS."""
    fixed, moving, moved = images
    cuts = centre_cuts(fixed > level)
    board = checkerboard(fixed.shape, spacing)
    before, after = (np.where(board, each, fixed) for each in (moving, moved))
    for row, plane in enumerate(PLANES):
        for column, volume in enumerate((fixed, moving, moved, before, after, 0.55 * moving)):
            sheet.draw(row, column, cut(volume, plane, cuts), cmap="gray", vmin=0, vmax=1)
        draw_grid(sheet, row, cut(mm[plane.across], plane, cuts), cut(mm[plane.up], plane, cuts), spacing)
        change = draw_volume_change(sheet, row, cut(jacobian, plane, cuts), jacobian)
        body = gaussian_filter(binary_fill_holes(cut(fixed > level, plane, cuts)).astype(np.float32), 0.8)
        for column, ink in ((1, OUTLINE), (2, OUTLINE), (6, "#444444")):
            sheet.outline(row, column, body, 0.5, color=ink)
    volume_bar(sheet, change)


def unit(image: np.ndarray) -> np.ndarray:
    """Grey values scaled to 0..1 between the window's limits."""
    low, high = window(image)
    return np.clip((image - low) / (high - low), 0, 1)


def foreground_level(image: np.ndarray) -> float:
    """A grey level between background and object: halfway from the mean to the mean of what lies above it."""
    above = image[image > image.mean()]
    return float(0.5 * (image.mean() + above.mean())) if above.size else 0.5


def checkerboard(shape: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    """True and False (i, j, k) in cubes of equal size in mm."""
    side = max(n * s for n, s in zip(shape, spacing, strict=True)) / SQUARES
    index = [np.floor(np.arange(n) * s / side).astype(int) for n, s in zip(shape, spacing, strict=True)]
    return (index[0][:, None, None] + index[1][None, :, None] + index[2][None, None, :]) % 2 == 1


def draw_grid(
    sheet: Sheet, row: int, across: np.ndarray, up: np.ndarray, spacing: Sequence[float], every_mm: float | None = None
) -> None:
    """Lines of the fixed grid where the displacement (mm; up, across) carries them in the moving image."""
    plane, panel = PLANES[row], sheet.panels[row][5]
    steps = spacing[plane.up], spacing[plane.across]
    y, x = np.meshgrid(*((np.arange(n) + 0.5) * s for n, s in zip(across.shape, steps, strict=True)), indexing="ij")
    every_mm = every_mm or max(sheet.size) / 24
    rows, columns = (np.arange(0, n, max(1, round(every_mm / s))) for n, s in zip(across.shape, steps, strict=True))
    style: dict[str, Any] = {"color": "#7fd4ff", "linewidth": 0.6}
    panel.plot((x + across)[rows].T, (y + up)[rows].T, **style)
    panel.plot((x + across)[:, columns], (y + up)[:, columns], **style)


def draw_volume_change(sheet: Sheet, row: int, section: np.ndarray, jacobian: np.ndarray) -> Any:
    """log J in blue (shrinks) and red (grows), on limits common to the planes; folded voxels in their own colour."""
    logarithm = np.log(np.maximum(jacobian, 1e-3))
    limit = min(max(float(np.percentile(np.abs(logarithm), 99.5)), math.log(1.25)), math.log(8))
    picture = sheet.draw(row, 6, np.log(np.maximum(section, 1e-3)), cmap="RdBu_r", vmin=-limit, vmax=limit)
    sheet.draw(row, 6, np.ma.masked_equal(section <= 0, False), cmap=ListedColormap([FOLD]))
    return picture


def volume_bar(sheet: Sheet, picture: Any) -> None:
    """The colour bar of the volume change, with factors instead of logarithms."""
    limit = picture.get_clim()[1]
    largest = max(f for f in (1.25, 1.5, 2, 3, 4, 8) if math.log(f) <= limit + 1e-6)
    factors = [1 / largest, 1, largest]
    bar = sheet.colour_bar(6, picture, [math.log(f) for f in factors], [f"×{f:.2g}" for f in factors])
    bar.outline.set_visible(False)
