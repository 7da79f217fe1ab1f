"""Cuts through volumes and the dark page on which previews lay them out, in millimetres and with the sides lettered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from medloss.apps.common.output import atomic_write

INK, PAPER = "#e8e6e1", "#111214"
OUTLINED = [withStroke(linewidth=2, foreground="black")]
"""Of letters on a picture, which may be as bright as they are."""


class Plane(NamedTuple):
    """A cut through a RAS volume: the axis cut, the two seen, and the letters left, right, below and above."""

    name: str
    cut: int
    across: int
    up: int
    flip: bool
    letters: tuple[str, str, str, str]


PLANES = (
    Plane("axial", 2, 0, 1, True, ("R", "L", "P", "A")),
    Plane("coronal", 1, 0, 2, True, ("R", "L", "I", "S")),
    Plane("sagittal", 0, 1, 2, True, ("A", "P", "I", "S")),
)


def to_ras(array: np.ndarray, affine: np.ndarray | None) -> np.ndarray:
    """The array (i, j, k, ...) with its axes turned to right, anterior, superior; unchanged without an affine."""
    return array if affine is None else nib.apply_orientation(array, nib.io_orientation(affine))


def ddf_to_ras(ddf: np.ndarray, affine: np.ndarray | None) -> np.ndarray:
    """A displacement field (3, i, j, k) in voxels, grid and components both turned to right, anterior, superior."""
    if affine is None:
        return ddf
    orientation = nib.io_orientation(affine)
    turned = np.empty_like(np.moveaxis(to_ras(np.moveaxis(ddf, 0, -1), affine), -1, 0))
    for component, (axis, sign) in zip(ddf, orientation, strict=True):
        turned[int(axis)] = sign * to_ras(component, affine)
    return turned


def ras_spacing(spacing: Sequence[float], affine: np.ndarray | None) -> tuple[float, ...]:
    """Spacing (mm) per RAS axis."""
    if affine is None:
        return tuple(float(s) for s in spacing)
    order = nib.io_orientation(affine)[:, 0].astype(int)
    return tuple(float(spacing[list(order).index(axis)]) for axis in range(3))


def window(image: np.ndarray) -> tuple[float, float]:
    """Grey-level limits: percentiles of what is not the darkest value, so that one bright voxel does not darken all."""
    finite = image[np.isfinite(image)]
    seen = finite[finite > finite.min()] if finite.size else finite
    if not seen.size:
        return 0.0, 1.0
    low, high = np.percentile(seen, [1, 99.5])
    low = min(low, float(finite.min())) if finite.min() >= 0 else low
    return float(low), float(max(high, low + 1e-6))


# Share of the object on the low side of each cut; off the middle from left to right, as a midline shows little.
CUTS_AT = (0.4, 0.5, 0.5)


def centre_cuts(weight: np.ndarray) -> tuple[int, ...]:
    """The slice per axis near the middle of the positive weights (i, j, k); the volume's middle when there is none."""
    cuts = []
    for axis, share in enumerate(CUTS_AT):
        profile = weight.sum(tuple(a for a in range(3) if a != axis)).cumsum()
        cuts.append(int(np.searchsorted(profile, profile[-1] * share)) if profile[-1] > 0 else weight.shape[axis] // 2)
    return tuple(cuts)


def crop_box(seen: np.ndarray, spacing: Sequence[float], margin_mm: float = 10.0) -> tuple[slice, ...]:
    """The box (one slice per axis) around the true voxels (i, j, k) with a margin; everything when none is true."""
    box = []
    for axis, step in enumerate(spacing):
        hits = np.flatnonzero(seen.any(tuple(a for a in range(3) if a != axis)))
        extra = round(margin_mm / step)
        box.append(slice(max(0, hits[0] - extra), hits[-1] + 1 + extra) if hits.size else slice(None))
    return tuple(box)


def cut(volume: np.ndarray, plane: Plane, at: Sequence[int]) -> np.ndarray:
    """The plane's slice as rows (upwards) by columns (across)."""
    section = np.take(volume, at[plane.cut], axis=plane.cut)
    return section.T if plane.across < plane.up else section


PANEL_WIDTH, LEGEND_LINE, LETTER = 2.2, 0.165, 0.066
"""Inches: width of a panel, height of a line of the legend, width of a letter in it."""


def legend_columns(patches: Sequence[Patch], panels: int) -> int:
    """How many names stand side by side below so many panels, all as wide as the longest."""
    longest = max((len(str(patch.get_label())) for patch in patches), default=1)
    return max(1, int((PANEL_WIDTH * panels - 0.2) / (LETTER * longest + 0.4)))


def legend_height(patches: Sequence[Patch], panels: int) -> float:
    """The inches that a legend needs below so many panels."""
    return 0.155 + LEGEND_LINE * max(1, math.ceil(len(patches) / legend_columns(patches, panels)))


class Sheet:
    """A dark page of panels: a row per plane, a column per picture, each drawn in millimetres."""

    def __init__(
        self,
        shape: Sequence[int],
        spacing: Sequence[float],
        columns: Sequence[str],
        title: str,
        lettered: bool,
        footer: float = 0.32,
    ):
        self.size = [n * s for n, s in zip(shape, spacing, strict=True)]
        widths = max(self.size[p.across] for p in PLANES)
        heights = [self.size[p.up] for p in PLANES]
        scale = 2.15 / widths
        head = 0.3 + (0.28 if title else 0.0)
        width, height = PANEL_WIDTH * len(columns) + 0.1, sum(heights) * scale + head + footer + 0.1
        self.figure = Figure(figsize=(width, height), facecolor=PAPER, dpi=110)
        FigureCanvasAgg(self.figure)
        grid = self.figure.add_gridspec(
            3,
            len(columns),
            height_ratios=heights,
            left=0.05 / width,
            right=1 - 0.05 / width,
            top=1 - head / height,
            bottom=footer / height,
            wspace=0.02,
            hspace=0.03,
        )
        self.panels = [[self.figure.add_subplot(grid[r, c]) for c in range(len(columns))] for r in range(3)]
        self.footer = footer / height
        if title:
            self.figure.text(0.1 / width, 1 - 0.1 / height, title, color=INK, fontsize=11, weight="bold", va="top")
        for panel, name in zip(self.panels[0], columns, strict=True):
            panel.set_title(name, color=INK, fontsize=9, pad=4)
        for row, plane in zip(self.panels, PLANES, strict=True):
            for panel in row:
                self._frame(panel, plane)
            if lettered:
                self._letter(row[0], plane)

    def _frame(self, panel: Any, plane: Plane) -> None:
        panel.set(
            xlim=(self.size[plane.across], 0) if plane.flip else (0, self.size[plane.across]),
            ylim=(0, self.size[plane.up]),
            aspect="equal",
            xticks=[],
            yticks=[],
            facecolor="black",
            anchor="C",
        )
        panel.spines[:].set_visible(False)

    def _letter(self, panel: Any, plane: Plane) -> None:
        places = (
            (0.02, 0.5, "left", "center"),
            (0.98, 0.5, "right", "center"),
            (0.5, 0.02, "center", "bottom"),
            (0.5, 0.98, "center", "top"),
        )
        for letter, (x, y, ha, va) in zip(plane.letters, places, strict=True):
            panel.text(
                x, y, letter, transform=panel.transAxes, color=INK, fontsize=7, ha=ha, va=va, path_effects=OUTLINED
            )

    def draw(self, row: int, column: int, section: np.ndarray, **options: Any) -> Any:
        """Draw a section (up, across) in its place; options are those of ``imshow``."""
        plane, panel = PLANES[row], self.panels[row][column]
        extent = (0, self.size[plane.across], 0, self.size[plane.up])
        options.setdefault("interpolation", "bilinear" if options.get("cmap") == "gray" else "nearest")
        picture = panel.imshow(section, origin="lower", extent=extent, **options)
        self._frame(panel, plane)
        return picture

    def outline(self, row: int, column: int, section: np.ndarray, level: float, **style: Any) -> None:
        """The contour of a section (up, across) at a grey level."""
        if section.min() < level < section.max():
            plane, panel = PLANES[row], self.panels[row][column]
            extent = (0, self.size[plane.across], 0, self.size[plane.up])
            panel.contour(
                section, [level], origin="lower", extent=extent, linewidths=0.7, colors=[style.pop("color")], **style
            )

    def colour_bar(self, column: int, picture: Any, ticks: Sequence[float], names: Sequence[str]) -> Any:
        """A flat colour bar below a column."""
        box = self.panels[-1][column].get_position()
        place = self.figure.add_axes(
            (box.x0 + 0.08 * box.width, self.footer * 0.62, 0.84 * box.width, self.footer * 0.2)
        )
        bar = self.figure.colorbar(picture, cax=place, orientation="horizontal", ticks=list(ticks))
        bar.ax.set_xticklabels(list(names), color=INK, fontsize=7)
        bar.ax.tick_params(length=0, pad=2)
        return bar

    def legend(self, patches: Sequence[Patch]) -> None:
        """Coloured names at the foot of the page, in as many lines as they need."""
        self.figure.legend(
            handles=list(patches),
            loc="lower left",
            bbox_to_anchor=(0.0, 0.0),
            ncols=min(len(patches), legend_columns(patches, len(self.panels[0]))) or 1,
            frameon=False,
            fontsize=8,
            labelcolor=INK,
            handlelength=1.0,
            handleheight=1.0,
            columnspacing=1.4,
            labelspacing=0.35,
        )

    def save(self, path: str | Path) -> None:
        """Write the PNG atomically."""
        save_figure(self.figure, path)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_write(Path(path)) as temporary:
        figure.savefig(temporary, format="png", facecolor=figure.get_facecolor())
