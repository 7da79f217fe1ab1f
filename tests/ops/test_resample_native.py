"""The CPU kernel of ``resample`` beside its reference: value and both gradients, 1 to 3 axes, grids and points."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from medloss.ops import backend, native, resample

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")

SHAPES = [(1,), (300,), (7, 5), (1, 6), (4, 1), (3, 140), (4, 3, 5), (2, 1, 9), (5, 4, 131)]


def found_by(name: str, values: Tensor, positions: Tensor, **options: Any) -> tuple[Tensor, ...]:
    """Value, and both gradients under a random cotangent."""
    with backend(name):
        leaves = [each.clone().requires_grad_() for each in (values, positions)]
        value = resample(*leaves, **options)
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
        return value.detach(), *torch.autograd.grad(value, leaves, cotangent)


def compared(values: Tensor, positions: Tensor, **options: Any) -> None:
    found = found_by("native", values, positions, **options)
    expected = found_by("reference", values, positions, **options)
    tolerance = 1e-11 if values.dtype == torch.float64 else 1e-5
    for ours, theirs in zip(found, expected):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * theirs.abs().max().item())


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_field_displaces_its_voxels(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Inside, beyond each border, and exactly on voxels."""
    rank = len(shape)
    values = torch.randn(2, 3, *shape, dtype=dtype)
    field = 2 * torch.randn(2, rank, *shape, dtype=dtype)
    compared(values, field, spacing=[0.7, 3.0, 1.0][:rank])
    compared(values, field.round(), spacing=[1.0] * rank)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("points", [(1,), (300,), (5, 30), (2, 3, 2, 3)], ids=str)
def test_positions_anywhere(shape: tuple[int, ...], points: tuple[int, ...]) -> None:
    values = torch.randn(2, 1, *shape, dtype=torch.float64)
    sizes = torch.tensor(shape, dtype=torch.float64).view(-1, *[1] * len(points))
    compared(values, torch.rand(2, len(shape), *points, dtype=torch.float64) * (sizes + 2) - 1)


def test_a_grid_of_another_size() -> None:
    compared(
        torch.randn(1, 2, 6, 9, dtype=torch.float64), torch.randn(1, 2, 8, 140, dtype=torch.float64), spacing=[1, 1]
    )


def test_the_number_of_threads_changes_nothing() -> None:
    values, field = torch.randn(1, 2, 30, 40, 33), 3 * torch.randn(1, 3, 30, 40, 33)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(found_by("native", values, field, spacing=[1.0, 2.0, 1.0]))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(ours, first) for ours, first in zip(other, results[0]))


def test_what_is_no_number() -> None:
    """A position that is none reads NaN and nothing outside the volume; a voxel that is none stays with its readers."""
    values = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    at = torch.tensor([[[torch.nan, torch.inf, -torch.inf, 1e30, 1.5], [0.0, 0.0, 3.0, 3.0, 1.0]]]).double()
    for ours, theirs in zip(found_by("native", values, at), found_by("reference", values, at)):
        torch.testing.assert_close(ours, theirs, equal_nan=True)
    values[0, 0, 1, 1] = torch.nan
    for ours, theirs in zip(found_by("native", values, at), found_by("reference", values, at)):
        torch.testing.assert_close(ours, theirs, equal_nan=True)


def test_an_axis_of_one_voxel_has_no_neighbours() -> None:
    """What lies behind the only voxel of a row belongs to the next row."""
    values, at = torch.rand(1, 1, 3, 1), torch.tensor([[[0.5], [0.0]]])
    values[0, 0, 2] = torch.nan
    with backend("native"):
        assert resample(values, at).item() == pytest.approx(values[0, 0, :2].mean().item())


def test_a_symbolic_zero_of_autograd_has_no_memory() -> None:
    values, field = torch.rand(1, 1, 4, 4, requires_grad=True), torch.rand(1, 2, 4, 4, requires_grad=True)
    read = resample(values, field, spacing=[1.0, 1.0])
    for gradient in torch.autograd.grad(read, (values, field), torch._efficientzerotensor(read.shape)):
        assert not gradient.any()


@pytest.mark.parametrize("layout", ["channels_last", "slice", "half"])
def test_layouts_and_half_precision(layout: str) -> None:
    values = torch.randn(2, 3, 9, 20)
    values = {"channels_last": values.to(memory_format=torch.channels_last), "slice": values[:, :, ::2, 3:],
              "half": values.bfloat16()}[layout]  # fmt: skip
    field = torch.randn(2, values.shape[3], values.shape[2], 2).movedim(3, 1).transpose(2, 3).to(values.dtype)
    found = found_by("native", values, field, spacing=[1.0, 1.0])
    expected = found_by("reference", values.float(), field.float(), spacing=[1.0, 1.0])
    assert [each.dtype for each in found] == [torch.float32, values.dtype, values.dtype]
    for ours, theirs, tolerance in zip(found, expected, (1e-5, 1e-2, 1e-2)):
        torch.testing.assert_close(ours.float(), theirs, rtol=tolerance, atol=1e-4 if layout != "half" else 3e-2)


def test_what_the_kernel_leaves_to_the_reference() -> None:
    operator = sys.modules["medloss.ops.resample"].OPERATOR
    path = operator.paths[0]
    values, field = torch.zeros(1, 1, 4, 5), torch.zeros(1, 2, 4, 5)
    assert path.reasons(operator.arguments(values, field, None)) == []
    for args, why in (
        ((values[..., None, None], field, None), "takes 1 to 3"),
        ((values, field[:, :1], None), "a component for each axis"),
        ((values, field[..., 0], [1.0, 1.0]), "must have the axes of the values"),
        ((values, field[..., :0], None), "nothing to read"),
        ((values, torch.zeros(2, 2, 3), None), "for each sample"),
        ((torch.zeros(1).expand(1, 1, 2**16, 2**15), field, None), "voxels"),
    ):
        assert why in path.reasons(operator.arguments(*args))[0]
