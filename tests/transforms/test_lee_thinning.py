"""Thinning by Lee et al.: the voxels that scikit-image 0.26 answers for two noisy regions, and the smallest by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medloss.transforms import SkeletonMap, SkeletonMapd

PLANE = "8fe1 8fe1 8fe3 07e3 07e7 07fc 07f8 07f8 0fff 0ff7 01f7 01f3"
LINES = "8001 8001 8001 0102 0102 0104 0108 00b0 0048 0046 0000 0000"
VOLUME = """
    21c 009 003 1ff 1ff 1ff 1fc 1e0  31f 318 003 0ff 0ff 1ff 0e0 0c0  3ff 3f9 321 003 003 001 000 000
    3ff 3ff 3e3 383 183 001 000 000  37f 3ff 3e7 3e3 3c3 0c3 060 070  23f 3ef 3e7 3f7 3f7 0e3 070 070"""
CURVES = """
    000 001 001 000 05c 000 000 000  001 000 000 0a2 000 000 000 000  000 019 120 001 000 000 000 000
    000 026 100 002 000 000 000 000  000 000 042 080 000 000 000 000  000 000 000 000 040 040 040 000"""
"""Rows of bits, in hexadecimal: what was given to ``skimage.morphology.skeletonize(method="lee")``, and its answer."""


def bits(rows: str, *shape: int) -> Tensor:
    """A mask of some shape, one channel."""
    width = shape[-1]
    flat = [int(digit) for row in rows.split() for digit in f"{int(row, 16):0{width}b}"]
    return torch.tensor(flat, dtype=torch.uint8).view(1, *shape)


@pytest.mark.parametrize(
    ("region", "answer", "shape"), [(PLANE, LINES, (12, 16)), (VOLUME, CURVES, (6, 8, 10))], ids=["plane", "volume"]
)
def test_the_skeleton_is_that_of_scikit_image(region: str, answer: str, shape: tuple[int, ...]) -> None:
    label, expected = bits(region, *shape), bits(answer, *shape)
    assert torch.equal(SkeletonMap(radius=0, method="lee")(label), expected)
    assert torch.equal(SkeletonMapd("label", radius=0, method="lee")({"label": label})["skeleton"], expected)
    assert not torch.equal(SkeletonMap(radius=0)(label), expected)


def test_small_blocks() -> None:
    """One voxel and two stay; a cube of two leaves nothing, as in scikit-image; a bar of 3 x 3 x 7 its middle."""
    for size, left in (((1, 1, 1), 1), ((1, 1, 2), 2), ((2, 2, 2), 0)):
        label = torch.zeros(1, 6, 6, 6)
        label[(0, *(slice(2, 2 + n) for n in size))] = 1
        assert SkeletonMap(radius=0, method="lee")(label).sum() == left
    bar = torch.zeros(1, 5, 5, 9)
    bar[0, 1:4, 1:4, 1:8] = 1
    line = SkeletonMap(radius=0, method="lee")(bar)
    assert line[0, 2, 2].sum() == line.sum() >= 5


def test_an_unknown_method() -> None:
    with pytest.raises(ValueError, match="method='zhang' is unknown: choose one of 'parallel', 'lee'"):
        SkeletonMap(method="zhang")
