"""Segmentations of 3D Slicer in several layers: one label map where their segments do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medloss.apps.common.formats import SLICER_SEGMENTATION
from medloss.apps.common.itk_runtime import import_itk
from medloss.apps.common.notes import note
from medloss.apps.common.unreadable import UnfitImage

LAYERS = {"unsigned_char": "UC", "short": "SS", "unsigned_short": "US"}
"""ITK's names of the types in which 3D Slicer stores layers."""
ADVICE = "export it from 3D Slicer as a label map"


class Segment(NamedTuple):
    """Where a segment of a file stands: the voxels of ``value`` in ``layer``."""

    name: str
    layer: int
    value: int


def is_layered(path: Path, header: Any) -> bool:
    """Whether a file is a segmentation of 3D Slicer (``.seg.nrrd``) with more than one layer."""
    return path.name.lower().endswith(f"{SLICER_SEGMENTATION}.nrrd") and header.GetNumberOfComponents() > 1


def read_layers(path: Path, header: Any) -> tuple[np.ndarray, Any]:
    """The label map (i, j, k) of a segmentation in layers, and ITK's image of the layers for its place in space.

    A segment keeps its value where no other segment has it; else all are numbered in their order, with a note.

    Raises:
        UnfitImage: segments that overlap, or a header that does not describe the layers.
    """
    itk = import_itk()
    stored = header.GetComponentTypeAsString(header.GetComponentType())
    if header.GetNumberOfDimensions() != 3 or stored not in LAYERS:
        raise UnfitImage(f"its layers are {header.GetNumberOfDimensions()}D of type {stored}: {ADVICE}")
    reader = itk.ImageFileReader[itk.VectorImage[getattr(itk, LAYERS[stored]), 3]].New(FileName=str(path))
    reader.Update()
    image = reader.GetOutput()
    layers = itk.array_from_image(image).transpose(3, 2, 1, 0)  # ITK's come as (k, j, i, layer)
    segments = _segments(header.GetMetaDataDictionary(), len(layers))
    return _merged(layers, segments, _numbers(segments, path)), image


def _segments(fields: Any, layers: int) -> list[Segment]:
    found: list[Segment] = []
    while fields.HasKey(f"Segment{len(found)}_ID"):
        key = f"Segment{len(found)}_"
        name = fields[f"{key}Name"] if fields.HasKey(f"{key}Name") else fields[f"{key}ID"]
        try:
            segment = Segment(name, int(fields[f"{key}Layer"]), int(fields[f"{key}LabelValue"]))
        except (RuntimeError, KeyError, ValueError) as error:
            raise UnfitImage(f"its header does not say where segment {name!r} is stored: {ADVICE}") from error
        if not 0 <= segment.layer < layers or segment.value < 1:
            raise UnfitImage(
                f"its header stores segment {name!r} as value {segment.value} of layer {segment.layer}, "
                f"expected a value from 1 in one of the layers 0 to {layers - 1}: {ADVICE}"
            )
        found.append(segment)
    if not found:
        raise UnfitImage(f"it has {layers} layers, and its header names no segments: {ADVICE}")
    return found


def _numbers(segments: Sequence[Segment], path: Path) -> list[int]:
    values = [segment.value for segment in segments]
    if len(set(values)) == len(values):
        return values
    numbers = list(range(1, len(segments) + 1))
    told = ", ".join(f"{number} {segment.name}" for number, segment in zip(numbers, segments, strict=True))
    note(f"{path}: segments share values in different layers; they are numbered in their order: {told}")
    return numbers


def _merged(layers: np.ndarray, segments: Sequence[Segment], numbers: Sequence[int]) -> np.ndarray:
    labels, unnamed = np.zeros(layers.shape[1:], np.int32), int(np.count_nonzero(layers))
    for segment, number in zip(segments, numbers, strict=True):
        inside = layers[segment.layer] == segment.value
        shared = int(np.count_nonzero(labels[inside]))
        if shared:
            other = segments[list(numbers).index(int(labels[inside][labels[inside] != 0][0]))].name
            raise UnfitImage(
                f"its segments {other!r} and {segment.name!r} overlap ({shared} voxels), expected one label per voxel: "
                f"remove the overlap, then {ADVICE}"
            )
        labels[inside] = number
        unnamed -= int(np.count_nonzero(inside))
    if unnamed:
        raise UnfitImage(f"{unnamed} of its voxels belong to no segment of its header: {ADVICE}")
    return labels
