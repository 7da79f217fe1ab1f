"""``distance_map`` and its kin in Triton: the reference's numbers, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, move, value_and_gradient

from medloss.ops.distance_map.triton_launch import _live

OPERATORS = sys.modules["medloss.ops.distance_map"]
DISTANCE, BORDER, NEAREST = OPERATORS.OPERATOR, OPERATORS.BORDER, OPERATORS.NEAREST
SHAPES = [(2, 2, 23), (2, 1, 9, 14), (1, 3, 7, 6, 9), (1, 1, 1, 5, 1)]


def check_both(sources: torch.Tensor, spacing: list[float]) -> None:
    for operator, args in [(DISTANCE, (torch.float32,)), (DISTANCE, (torch.float64,)), (NEAREST, ())]:
        found, _ = value_and_gradient(operator, "triton", move((sources, spacing, *args)), -1)
        expected, _ = value_and_gradient(operator, "reference", move((sources, spacing, *args)), -1)
        torch.testing.assert_close(found, expected, rtol=1e-12 if found.dtype == torch.float64 else 1e-6, atol=0)


@pytest.mark.parametrize("density", [0.03, 0.4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_reference(shape, density, poisoned) -> None:
    """On a cubic grid, whose many ties the lowest index wins."""
    check_both(torch.rand(shape) < density, [1.0] * (len(shape) - 2))


def test_spacing_and_the_far_corner() -> None:
    sources = torch.zeros(1, 2, 5, 6, 7, dtype=torch.bool)
    sources[0, 0, 4, 0, 6] = True  # the other channel has no source at all
    check_both(sources, [0.7, 2.5, 1.1])
    check_both(torch.ones(1, 1, 4, 5, dtype=torch.bool), [3.0, 1.0])


@pytest.mark.parametrize("density", [0.03, 0.4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_borders_are_the_reference_s(shape, density, poisoned) -> None:
    """From both sides, of classes with voxels on either side and on one alone."""
    inside = torch.rand(shape) < density
    inside[0, 0] = density > 0.1
    spacing = [0.7, 2.5, 1.1][: len(shape) - 2]
    for kind, dtype in [("distance", torch.float64), ("square", torch.float32), ("signed", torch.float64)]:
        args = move((inside, spacing, dtype, kind))
        found, expected = (value_and_gradient(BORDER, path, args, -1)[0] for path in ("triton", "reference"))
        torch.testing.assert_close(found, expected, rtol=1e-12 if dtype == torch.float64 else 1e-6, atol=1e-15)


def test_lines_on_which_there_is_nothing_are_known() -> None:
    """Of two volumes of 2 x 2 x 3 the first has a source in its last row; its border is in that row, too."""
    sources = torch.zeros(2, 2, 2, 3, dtype=torch.bool)
    sources[0, 1, 1, 2] = True
    volumes, planes, rows = _live(sources, border=False)
    assert volumes.tolist() == [1, 0]
    assert planes.tolist() == [[0, 1], [0, 0]]
    assert rows.tolist() == [[[0, 0], [0, 1]], [[0, 0], [0, 0]]]
    for each, bordered in zip((volumes, planes, rows), _live(sources, border=True)):
        assert torch.equal(each, bordered)
    full = torch.ones(1, 2, 2, 3, dtype=torch.bool)
    assert _live(full, border=False)[0].tolist() == [1]
    assert _live(full, border=True)[0].tolist() == [0], "no voxel is on the other side"


def launch(operator: str) -> Launch:
    """A call on a volume that is never written."""

    def call() -> None:
        sources = torch.empty(1, 2, 128, 128, 128, dtype=torch.bool)
        chosen, told = {
            "distance_map": (DISTANCE, [torch.float32]),
            "border_distance": (BORDER, [torch.float32, "signed"]),
            "nearest_source": (NEAREST, []),
        }[operator]
        chosen.paths[-1].forward(chosen.arguments(sources, [1.0, 1.0, 3.0], *told))

    return Launch(call, wide=2)  # along the rows the neighbours do not lie at multiples of 16 bytes


LAUNCHES = {name: launch(name) for name in ("distance_map", "border_distance", "nearest_source")}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
