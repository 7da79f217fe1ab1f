"""Segmentations of 3D Slicer in several layers are one label map, where that is what they mean."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from medloss.apps.common.errors import UserError
from medloss.apps.common.labels import load_labels

HEADER = """NRRD0004
type: unsigned char
dimension: 4
space: left-posterior-superior
sizes: {} {} {} {}
space directions: none (1.5,0,0) (0,1,0) (0,0,2)
kinds: list domain domain domain
encoding: gzip
space origin: (3,4,5)
"""
SHAPE = (2, 4, 3, 5)
"""Layers, then voxels."""


def written(path, layers, segments):
    """The file as 3D Slicer writes it: the axis of the layers comes first and runs fastest."""
    fields = ""
    for number, (name, layer, value) in enumerate(segments):
        key = f"Segment{number}_"
        fields += f"{key}ID:=Segment_{number + 1}\n{key}LabelValue:={value}\n{key}Layer:={layer}\n{key}Name:={name}\n"
    text = HEADER.format(*layers.shape) + fields + "\n"
    path.write_bytes(text.encode() + gzip.compress(layers.astype(np.uint8).tobytes("F")))
    return path


@pytest.fixture
def layers():
    found = np.zeros(SHAPE, np.uint8)
    found[0, :2], found[1, 3] = 1, 1
    return found


def test_segments_of_one_value_in_two_layers_are_numbered_and_named(tmp_path, layers, capsys):
    path = written(tmp_path / "c.seg.nrrd", layers, [("liver", 0, 1), ("tumour", 1, 1)])
    found = load_labels(path)
    assert found.array.tolist() == (layers[0] + 2 * layers[1]).tolist()
    assert "1 liver, 2 tumour" in capsys.readouterr().err
    # from left, posterior, superior to right, anterior, superior: two signs change
    expected = [[-1.5, 0, 0, -3], [0, -1, 0, -4], [0, 0, 2, 5], [0, 0, 0, 1]]
    np.testing.assert_allclose(found.affine, expected)


def test_values_that_differ_stay(tmp_path, layers, capsys):
    layers[0, 2], layers[1, 3] = 4, 3
    path = written(tmp_path / "c.seg.nrrd", layers, [("liver", 0, 1), ("spleen", 0, 4), ("tumour", 1, 3)])
    assert load_labels(path).array.tolist() == (layers[0] + layers[1]).tolist()
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("segments", "told"),
    [
        ([("liver", 0, 1), ("tumour", 1, 2)], r"'liver' and 'tumour' overlap \(15 voxels\)"),
        ([("liver", 0, 1)], "30 of its voxels belong to no segment"),
        ([("liver", 2, 1)], "'liver' as value 1 of layer 2, expected a value from 1 in one of the layers 0 to 1"),
        ([("liver", "x", 1)], "does not say where segment 'liver' is stored"),
        ([], "its header names no segments"),
    ],
)
def test_what_is_no_label_map_is_refused_in_one_line(tmp_path, layers, segments, told):
    layers[1, 1:3] = 2  # over the liver in one plane of 15 voxels, and beside it in another
    layers[1, 3] = 0
    path = written(tmp_path / "c.seg.nrrd", layers, segments)
    with pytest.raises(UserError, match=told) as caught:
        load_labels(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
