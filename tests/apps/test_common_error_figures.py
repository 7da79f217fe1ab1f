"""The thickest errors come first, and the colours of many labels stay apart."""

from __future__ import annotations

import matplotlib.image
import numpy as np

from medloss.apps.common.error_figures import Error, error_preview, thickest_errors
from medloss.apps.common.figures import segmentation_preview
from medloss.apps.common.label_colours import LABEL_COLOURS, colours, paint


def masks():
    """A box of label 1; the prediction is one voxel short along i, has a lump of label 2, and misses a cube."""
    label, prediction = np.zeros((2, 60, 40, 30), np.uint8)
    label[5:15, 5:35, 5:25] = 1
    prediction[6:15, 5:35, 5:25] = 1
    prediction[25:30, 10:15, 10:15] = 2
    label[45:52, 20:27, 10:17] = 3
    return label, prediction


def test_the_thickest_comes_first():
    label, prediction = masks()
    first, second, third = thickest_errors(label, prediction, (1.0, 1.0, 1.0))
    assert first == Error((48, 23, 13), 3, 0, 7.0)  # the middle of the cube of 7 voxels
    assert second == Error((27, 12, 12), 0, 2, 5.0)
    assert third.reference == 1 and third.thickness_mm == 1
    assert thickest_errors(label, prediction, (0.5, 0.5, 0.5), count=1)[0].thickness_mm == 3.5
    assert thickest_errors(label, label, (1.0, 1.0, 1.0)) == []


def test_the_picture(tmp_path):
    label, prediction = masks()
    image = label.astype(np.float32)
    path = error_preview(tmp_path / "a.png", image, label, prediction, (1, 1, 1), "errors", affine=np.eye(4))
    assert matplotlib.image.imread(path)[..., :3].std() > 0.05
    assert error_preview(tmp_path / "b.png", image, label, label, (1, 1, 1)) is None
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


def test_many_labels_have_colours_of_their_own_and_a_legend(tmp_path):
    assert len(set(LABEL_COLOURS)) == len(LABEL_COLOURS) == 48
    names = {value: f"organ {value}" for value in range(1, 43)}
    assert colours([7], names) == {7: colours(list(names), names)[7]}  # the same in every picture
    assert paint(np.array([[0, 7]]), colours([7], names))[0, :, 3].tolist() == [0, 0.6]
    label = np.arange(42, dtype=np.int32).reshape(42, 1, 1).repeat(12, 1).repeat(12, 2) + 1
    few = segmentation_preview(tmp_path / "a.png", label, label > 0, label > 0, (1, 1, 1))
    many = segmentation_preview(tmp_path / "b.png", label, label, label, (1, 1, 1), names=names)
    small, large = (matplotlib.image.imread(path).shape for path in (few, many))
    assert large[1] == small[1] and large[0] > small[0] + 50  # the legend takes its lines below the pictures
