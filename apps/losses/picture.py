"""A picture of a loss: its gradient on the standard phantom, and its value while the prediction moves away."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medloss.apps.losses.phantom import SHAPE, kind_of, scene
from medloss.base import Loss

SHIFTS = range(-12, 13, 2)
PANEL = 2.6
"""Inches of a panel's side."""
MOVES = {
    "label": "prediction moved by (voxels)",
    "image": "input moved by (voxels)",
    "field": "field times (1 folds)",
    "points": "points moved by",
}


def draw(cls: type[Loss], path: Path) -> None:
    """Draw a loss into a PNG (or whatever the suffix says): what it is given, its gradient, its value.

    Blue in a gradient: a step of gradient descent raises this number; red: it lowers it.
    """
    from matplotlib.figure import Figure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = kind_of(cls)
        loss, tensors = scene(cls)
        loss(*tensors).backward()
        gradient = tensors[0].grad
        assert gradient is not None
        curve = values(cls)
    panels = PANELS[kind](tensors, gradient)
    columns = 3 if len(panels) + 1 > 4 or len(panels) == 2 else 2
    rows = -(-(len(panels) + 1) // columns)
    figure = Figure(figsize=(PANEL * columns, PANEL * rows * 1.08), layout="constrained", dpi=110)
    axes = np.ravel(figure.subplots(rows, columns))
    for axis, (title, show) in zip(axes, panels):
        show(figure, axis)
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    _curve(axes[len(panels)], kind, curve)
    for axis in axes[len(panels) + 1 :]:
        axis.remove()
    figure.savefig(path)


def values(cls: type[Loss]) -> list[float]:
    """The value of a loss at each of ``SHIFTS``: the target itself, moved."""
    found = []
    with torch.no_grad():
        for shift in SHIFTS:
            loss, tensors = scene(cls, SHAPE, shift)
            found.append(float(loss(*(tensor.detach() for tensor in tensors))))
    return found


def _curve(axis: Any, kind: str, curve: Sequence[float]) -> None:
    scale = 8 if kind == "field" else 1
    axis.plot([shift / scale for shift in SHIFTS], curve, color="#1f5fa8", marker=".", linewidth=1.2)
    axis.set_title("value", fontsize=9)
    axis.set_xlabel(MOVES[kind], fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)


def _grey(image: Tensor, colours: str = "gray") -> Any:
    pixels = image.detach().squeeze().numpy()
    return lambda figure, axis: axis.imshow(pixels, cmap=colours, interpolation="nearest")


def _signed(gradient: Tensor) -> Any:
    pixels = gradient.squeeze().numpy()
    most = float(np.quantile(np.abs(pixels), 0.998)) or float(np.abs(pixels).max()) or 1.0

    def show(figure: Any, axis: Any) -> None:
        shown = axis.imshow(pixels, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
        bar = figure.colorbar(shown, ax=axis, shrink=0.75, pad=0.02, ticks=[-most, 0, most])
        bar.ax.set_yticklabels([f"{-most:.0e}", "0", f"{most:.0e}"])
        bar.ax.tick_params(labelsize=6)

    return show


def _label_panels(tensors: Sequence[Tensor], gradient: Tensor) -> list[tuple[str, Any]]:
    logits, target = tensors[:2]
    found = logits.argmax(1) if logits.shape[1] > 1 else logits[0] > 0
    names = ("background", "organ", "vessel, lesions") if logits.shape[1] > 1 else ("organ",)
    panels = [("target", _grey(target, "viridis")), ("prediction", _grey(found.float(), "viridis"))]
    return panels + [(f"gradient: {name}", _signed(gradient[0, number])) for number, name in enumerate(names)]


def _image_panels(tensors: Sequence[Tensor], gradient: Tensor) -> list[tuple[str, Any]]:
    image, target = tensors[0][0, 0], tensors[1][0, 0]
    return [("input", _grey(image)), ("target", _grey(target)), ("gradient of the input", _signed(gradient[0, 0]))]


def _field_panels(tensors: Sequence[Tensor], gradient: Tensor) -> list[tuple[str, Any]]:
    field = tensors[0][0].detach()

    def grid(figure: Any, axis: Any) -> None:
        rows, columns = (torch.arange(size).float() for size in field.shape[1:])
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")) + field
        for step in range(0, field.shape[1], 4):
            axis.plot(places[1, step], places[0, step], color="#444", linewidth=0.5)
            axis.plot(places[1, :, step], places[0, :, step], color="#444", linewidth=0.5)
        axis.set_aspect("equal")
        axis.invert_yaxis()

    return [("the field, on a grid", grid), ("gradient: last axis", _signed(gradient[0, -1]))]


def _point_panels(tensors: Sequence[Tensor], gradient: Tensor) -> list[tuple[str, Any]]:
    found, target = (tensor[0].detach().numpy() for tensor in tensors[:2])
    pull = -gradient[0].numpy()

    def show(figure: Any, axis: Any) -> None:
        axis.scatter(target[:, 1], target[:, 0], s=14, color="#888", label="target")
        axis.scatter(found[:, 1], found[:, 0], s=14, color="#1f5fa8", label="input")
        axis.quiver(found[:, 1], found[:, 0], pull[:, 1], pull[:, 0], angles="xy", width=0.006, color="#b03030")
        axis.set_aspect("equal")
        axis.legend(fontsize=6, loc="center")

    return [("points and descent", show)]


PANELS = {"label": _label_panels, "image": _image_panels, "field": _field_panels, "points": _point_panels}
