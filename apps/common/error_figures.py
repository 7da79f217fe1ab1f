"""A picture of where a segmentation is wrong: the thickest errors, each enlarged in three planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.ndimage import distance_transform_edt

from medloss.apps.common.planes import (
    INK,
    OUTLINED,
    PAPER,
    PLANES,
    Plane,
    cut,
    ras_spacing,
    save_figure,
    to_ras,
    window,
)

TRUE, FOUND, WRONG = "#56b4e9", "#ffb000", "#ff2d7a"
SIDE_MM = 40.0
"""What is seen around an error, unless the image is smaller or the voxels are so large that this would be few."""
FEWEST_VOXELS = 16
PANEL = 2.6
"""Inches."""


class Error(NamedTuple):
    """One error: its deepest voxel (i, j, k), the labels there, and how thick it is there in mm."""

    at: tuple[int, ...]
    reference: int
    prediction: int
    thickness_mm: float


def thickest_errors(
    label: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], count: int = 3, apart_mm: float = SIDE_MM / 2
) -> list[Error]:
    """The voxels that lie deepest inside a region where the two label maps differ, at least ``apart_mm`` apart.

    The thickness is twice the distance (mm) to the nearest voxel where they agree, less one voxel. What is thin, as
    the edge of an organ a voxel off, comes after what is thick, however large it is.
    """
    wrong = np.pad(label != prediction, 1)  # what lies outside the image is not wrong
    depth = distance_transform_edt(wrong, sampling=spacing)[(slice(1, -1),) * 3]
    found: list[Error] = []
    grid = np.ogrid[tuple(slice(size) for size in depth.shape)]
    while len(found) < count and depth.max(initial=0) > 0:
        at = tuple(int(place) for place in np.unravel_index(depth.argmax(), depth.shape))
        thickness = max(2 * float(depth[at]) - min(spacing), min(spacing))
        found.append(Error(at, int(label[at]), int(prediction[at]), thickness))
        far = sum(((axis - place) * step) ** 2 for axis, place, step in zip(grid, at, spacing, strict=True))
        depth[far < apart_mm**2] = 0
    return found


def error_preview(
    path: str | Path,
    image: np.ndarray,
    label: np.ndarray,
    prediction: np.ndarray,
    spacing: Sequence[float],
    title: str = "",
    *,
    names: Mapping[int, str] | None = None,
    affine: np.ndarray | None = None,
    count: int = 3,
) -> Path | None:
    """The ``count`` thickest errors, a row each, enlarged in three planes; None, and no file, where there is no error.

    Args:
        path: PNG to write.
        image, label, prediction: grey values and labels (i, j, k).
        spacing: voxel size per axis in mm.
        title: a line above the pictures.
        names: label value to name.
        affine: voxel to RAS mm (4x4): turns the volumes and letters the sides.
    """
    steps = ras_spacing(spacing, affine)
    volumes = [to_ras(np.asarray(each), affine) for each in (image, label, prediction)]
    errors = thickest_errors(volumes[1], volumes[2], steps, count)
    if not errors:
        return None
    figure = Figure(figsize=(3 * PANEL + 0.1, len(errors) * (PANEL + 0.3) + 0.75), facecolor=PAPER, dpi=110)
    FigureCanvasAgg(figure)
    height = figure.get_figheight()
    layout = {"left": 0.01, "right": 0.99, "top": 1 - 0.68 / height, "bottom": 0.3 / height, "hspace": 0.13}
    panels = figure.subplots(len(errors), 3, squeeze=False, gridspec_kw={**layout, "wspace": 0.03})
    limits = window(volumes[0])
    for row, error in zip(panels, errors, strict=True):
        row[0].set_title(_told(error, names or {}), color=INK, fontsize=9, pad=4, loc="left")
        for panel, plane in zip(row, PLANES, strict=True):
            _draw(panel, plane, volumes, error, steps, limits, lettered=affine is not None)
    figure.text(0.01, 1 - 0.1 / height, title, color=INK, fontsize=11, weight="bold", va="top")
    _legend(figure)
    save_figure(figure, path)
    return Path(path)


def _draw(
    panel: Any,
    plane: Plane,
    volumes: Sequence[np.ndarray],
    error: Error,
    steps: Sequence[float],
    limits: tuple[float, float],
    lettered: bool,
) -> None:
    """One enlarged cut through an error: image, what differs, and the outlines of the labels in question."""
    image, label, prediction = (cut(volume, plane, error.at) for volume in volumes)
    across, up = steps[plane.across], steps[plane.up]
    extent = (0, image.shape[1] * across, 0, image.shape[0] * up)
    options: dict[str, Any] = {"origin": "lower", "extent": extent}
    panel.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="bilinear", **options)
    unlike = np.ma.masked_equal(label != prediction, False)
    panel.imshow(unlike, cmap=ListedColormap([WRONG]), alpha=0.35, interpolation="nearest", **options)
    wanted = [value for value in (error.reference, error.prediction) if value]
    for labels, shade, style in ((label, TRUE, "solid"), (prediction, FOUND, "dashed")):
        region = np.isin(labels, wanted)
        if region.any() and not region.all():
            panel.contour(region, [0.5], colors=[shade], linestyles=[style], linewidths=1.2, **options)
    half = max(SIDE_MM, FEWEST_VOXELS * max(across, up)) / 2
    x, y = (error.at[plane.across] + 0.5) * across, (error.at[plane.up] + 0.5) * up
    panel.set(xlim=(x + half, x - half) if plane.flip else (x - half, x + half), ylim=(y - half, y + half))
    panel.set(aspect="equal", xticks=[], yticks=[], facecolor="black")
    panel.spines[:].set_visible(False)
    _mark(panel, plane, 2 * half, lettered)


def _mark(panel: Any, plane: Plane, side_mm: float, lettered: bool) -> None:
    """The scale bar of 10 mm, and the letters of the sides."""
    style: dict[str, Any] = {"transform": panel.transAxes, "color": INK, "path_effects": OUTLINED}
    panel.add_line(Line2D([0.05, 0.05 + 10 / side_mm], [0.06, 0.06], linewidth=2, **style))
    panel.text(0.05, 0.08, "10 mm", fontsize=7, va="bottom", **style)
    places = ((0.02, 0.5, "left"), (0.98, 0.5, "right"), (0.5, 0.02, "center"), (0.5, 0.98, "center"))
    for letter, (x, y, side) in zip(plane.letters if lettered else "", places):
        vertical = {0.02: "bottom", 0.98: "top"}.get(y, "center")
        panel.text(x, y, letter, fontsize=8, ha=side, va=vertical, **style)


def _told(error: Error, names: Mapping[int, str]) -> str:
    true, found = (names.get(value, f"label {value}") if value else "background" for value in error[1:3])
    return f"{found} in place of {true}, {error.thickness_mm:.1f} mm thick"


def _legend(figure: Figure) -> None:
    lines = [
        Line2D([], [], color=TRUE, label="outline in the reference"),
        Line2D([], [], color=FOUND, linestyle="dashed", label="outline in the prediction"),
        Line2D([], [], color=WRONG, linewidth=6, alpha=0.6, label="they differ"),
    ]
    style: dict[str, Any] = {"frameon": False, "fontsize": 8, "labelcolor": INK, "loc": "lower left"}
    figure.legend(handles=lines, ncols=3, handlelength=1.6, **style)
