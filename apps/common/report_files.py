"""The files that a page links: their addresses from where the page lies, and how to open them in a viewer."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

Kind = Literal["image", "labels", "field", "other"]


@dataclass(frozen=True)
class Link:
    """A file with the name that a page shows for it.

    ``kind`` says how a viewer opens it: ``"image"``, ``"labels"`` (a label map), ``"field"`` (a displacement field or
    transform), or ``"other"``, which no viewer takes.
    """

    name: str
    file: Path
    kind: Kind = "image"


def href(file: Path | str, folder: Path | str) -> str:
    """The address of a file for a page in ``folder``: relative, so that both may move together."""
    relative = _relative(file, folder)
    return quote(relative) if relative is not None else Path(file).absolute().as_uri()


def opening(files: Sequence[Link], folder: Path | str) -> list[tuple[str, str]]:
    """How to open files in 3D Slicer and ITK-SNAP: sentence and command (or "") of each, for a page in ``folder``."""
    images, labels, fields = (
        [link.file for link in files if link.kind == kind] for kind in ("image", "labels", "field")
    )
    if not images and not labels and not fields:
        return []
    kinds = [text for given, text in ((labels, _SEGMENTATION), (fields, _TRANSFORM)) if given]
    told = f" Set its Description to {' and '.join(kinds)}." if kinds else ""
    lines = [(f"3D Slicer: drag the files into its window, or choose File, Add Data.{told}", "")]
    if images:
        names = [_relative(each, folder) or str(each) for each in images]
        overlays = ["-o", *names[1:]] if len(names) > 1 else []
        masks = [["-s", _relative(each, folder) or str(each)] for each in labels] or [overlays]
        commands = [shlex.join(["itksnap", "-g", names[0], *mask]) for mask in masks]
        lines += [("ITK-SNAP, from the folder of this page:", command) for command in commands]
    return lines


_SEGMENTATION = "Segmentation for label maps"
_TRANSFORM = "Transform for displacement fields"


def _relative(file: Path | str, folder: Path | str) -> str | None:
    """The path from the folder, with ``/``; None on another drive."""
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:
        return None
