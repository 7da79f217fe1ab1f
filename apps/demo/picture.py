"""One picture of the whole demo, as the README shows it, from what the demo found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import binary_fill_holes, gaussian_filter

from medloss.apps.common.figures import OUTLINE, unit
from medloss.apps.common.label_colours import colours, legend_of, paint
from medloss.apps.common.planes import INK, PAPER, PLANES, centre_cuts, crop_box, cut, ras_spacing, save_figure, to_ras
from medloss.apps.demo.recovery import Case, Recovery
from medloss.apps.demo.template import TISSUES, Template
from medloss.apps.demo.tissues import Tissues

AXIAL, CORONAL = PLANES[0], PLANES[1]
LAYOUT = {
    "left": 0.01,
    "right": 0.99,
    "top": 0.93,
    "bottom": 0.07,
    "wspace": 0.03,
    "hspace": 0.17,
    "height_ratios": (1.0, 1.22),
}
LEGEND: dict[str, Any] = {
    "loc": "lower left",
    "ncols": 4,
    "frameon": False,
    "fontsize": 8,
    "labelcolor": INK,
    "handlelength": 1,
    "handleheight": 1,
}


def draw_picture(
    path: Path, template: Template, found: Tissues, images: tuple[np.ndarray, ...], case: Case, recovered: Recovery
) -> Path:
    """Above: noisy image, reference, thresholds, network. Below: fixed, before, after, the remaining error in mm.

    Args:
        images: fixed, moving and moved image (i, j, k) of part two.
    """
    affine = template.volume.affine
    steps = ras_spacing(template.volume.spacing, affine)
    figure = Figure(figsize=(10.4, 5.9), dpi=100, facecolor=PAPER)
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 4, gridspec_kw=LAYOUT)
    for panel in panels.ravel():
        panel.set(xticks=[], yticks=[], facecolor="black")
        panel.spines[:].set_visible(False)
    draw_tissues(panels[0], found, affine, steps)
    picture = draw_recovery(panels[1], images, case, recovered, affine, steps)
    bar = figure.colorbar(picture, cax=figure.add_axes((0.79, 0.035, 0.17, 0.016)), orientation="horizontal")
    bar.ax.tick_params(length=0, pad=1, labelsize=7, labelcolor=INK)
    bar.outline.set_visible(False)
    patches = legend_of(colours(sorted(TISSUES), TISSUES), TISSUES)
    patches.append(Patch(color=OUTLINE, label="outline of the fixed image"))
    figure.legend(handles=patches, **LEGEND)
    save_figure(figure, path)
    return Path(path)


def draw_tissues(panels: Any, found: Tissues, affine: np.ndarray, steps: tuple[float, ...]) -> None:
    """A coronal cut of the tested part: image, reference, thresholds, network, with their mean Dice."""
    reference = to_ras(found.reference, affine)
    box, cuts = crop_box(reference > 0, steps), centre_cuts(reference > 0)
    mean = found.rows[-1]
    shown = {
        "tested part, simulated noise and bias": None,
        "reference": found.reference,
        f"two thresholds, mean Dice {mean['dice_thresholds']:.2f}": found.thresholded,
        f"network, mean Dice {mean['dice_network']:.2f}": found.prediction,
    }
    image = unit(to_ras(found.image, affine))
    for panel, (name, labels) in zip(panels, shown.items(), strict=True):
        show(panel, name, section(image, CORONAL, cuts, box), CORONAL, steps, cmap="gray", vmin=0, vmax=1)
        if labels is not None:
            painted = paint(section(to_ras(labels, affine), CORONAL, cuts, box), colours(sorted(TISSUES)), opacity=0.75)
            show(panel, name, painted, CORONAL, steps)


def draw_recovery(
    panels: Any,
    images: tuple[np.ndarray, ...],
    case: Case,
    recovered: Recovery,
    affine: np.ndarray,
    steps: tuple[float, ...],
) -> Any:
    """An axial cut: the fixed image, the moving one before and after with its outline, and the error left (mm)."""
    brain = to_ras(case.brain, affine)
    box, cuts = crop_box(brain, steps), centre_cuts(brain)
    numbers = recovered.metrics
    names = (
        "fixed: the brain under a known warp",
        f"before: error {numbers['tre_before_mm']:.1f} mm on average",
        f"after registration: {numbers['tre_mm']:.2f} mm",
    )
    outline = gaussian_filter(binary_fill_holes(section(brain, AXIAL, cuts, box)).astype(np.float32), 0.8)
    for panel, name, image in zip(panels, names, images, strict=False):
        grey = section(unit(to_ras(np.asarray(image, np.float32), affine)), AXIAL, cuts, box)
        picture = show(panel, name, grey, AXIAL, steps, cmap="gray", vmin=0, vmax=1)
        if panel is not panels[0]:
            panel.contour(outline, [0.5], colors=[OUTLINE], linewidths=0.9, extent=picture.get_extent(), origin="lower")
    error = section(to_ras(recovered.error_mm, affine), AXIAL, cuts, box)
    return show(
        panels[3],
        "error left (mm)",
        np.ma.masked_where(outline < 0.5, error),
        AXIAL,
        steps,
        cmap="magma",
        vmin=0,
        vmax=round(numbers["tre_before_mm"]),
    )


def section(volume: np.ndarray, plane: Any, cuts: tuple[int, ...], box: tuple[slice, ...]) -> np.ndarray:
    """The plane's slice (up, across) within the box."""
    return cut(volume, plane, cuts)[box[plane.up], box[plane.across]]


def show(panel: Any, name: str, picture: np.ndarray, plane: Any, steps: tuple[float, ...], **options: Any) -> Any:
    """Draw a slice (up, across) in mm, the patient's right on the left."""
    size = picture.shape[1] * steps[plane.across], picture.shape[0] * steps[plane.up]
    options.setdefault("interpolation", "bilinear" if options.get("cmap") == "gray" else "nearest")
    drawn = panel.imshow(picture, origin="lower", extent=(0, size[0], 0, size[1]), **options)
    panel.set(xlim=(size[0], 0), ylim=(0, size[1]), aspect="equal")
    panel.set_title(name, color=INK, fontsize=8.5, pad=4)
    return drawn
