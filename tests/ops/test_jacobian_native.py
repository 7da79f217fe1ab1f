"""The CPU kernel of the Jacobian and of hyperelasticity beside the references: value and gradient, 1 to 3 axes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from medloss.ops import backend, hyperelastic, jacobian_determinant, jacobian_penalty, native
from medloss.ops.jacobian import PENALTIES

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")

SCHEMES = ("central", "forward", "backward", "all")
SHAPES = [(5,), (23,), (7, 33), (3, 6), (4, 3, 19), (9, 5, 4)]
BORDERS = ("interior", "replicate")
Statistic = Callable[..., Tensor]


def statistics(rank: int, maps: bool = True) -> Iterator[tuple[Statistic, dict[str, Any]]]:
    """Every operator with every option that the kernel knows."""
    scale = [1.0, 0.5, 1.3][:rank]
    for stencil in SCHEMES:
        options = {"stencil": stencil, "axis_scale": scale}
        if maps:
            yield jacobian_determinant, options
        for penalty in PENALTIES:
            for reduce in (False, True) if maps else (True,):
                yield jacobian_penalty, {**options, "penalty": penalty, "floor": 0.4, "reduce": reduce}
    for stencil in ("central", "forward"):
        for reduce in (False, True) if maps else (True,):
            options = {"stencil": stencil, "axis_scale": scale, "reduce": reduce}
            yield hyperelastic, {**options, "prices": (1.0, 0.7, 0.2), "floor": 0.4}


def value_and_gradient(name: str, statistic: Statistic, field: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    with backend(name):
        leaf = field.clone().requires_grad_()
        value = statistic(leaf, **options)
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
        return value.detach(), torch.autograd.grad(value, leaf, cotangent)[0]


def compared(statistic: Statistic, field: Tensor, **options: Any) -> None:
    """Value and gradient, held to the reference in double within a part of their largest entry."""
    tolerance = 1e-10 if field.dtype == torch.float64 else 3e-5
    found = value_and_gradient("native", statistic, field, **options)
    expected = value_and_gradient("reference", statistic, field.double(), **options)
    for ours, theirs in zip(found, expected):
        assert ours.shape == theirs.shape
        assert ours.isfinite().all()
        torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance * max(1, theirs.abs().max()))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_is_the_reference(shape: tuple[int, ...], border: str) -> None:
    """A field that folds here and there, without a mask and with one over NaN."""
    field = 0.6 * torch.randn(2, len(shape), *shape, dtype=torch.float64)
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.05)
    dirty = torch.where(mask > 0, field, torch.nan)
    for statistic, options in statistics(len(shape)):
        compared(statistic, field, border=border, **options)
        compared(statistic, dirty, mask=mask, border=border, **options)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("shape", [(40,), (9, 20), (4, 5, 17)], ids=str)
def test_single_precision(shape: tuple[int, ...]) -> None:
    """Smooth enough that no growth lies so near a fold or the floor that rounding decides."""
    field = 0.1 * torch.rand(2, len(shape), *shape)
    mask = (torch.rand(1, len(shape), *shape) > 0.02).float()
    for statistic, options in statistics(len(shape)):
        if options.get("penalty") != "volume":  # whose slope jumps where nothing happens
            compared(statistic, field, **options)
            compared(statistic, field, mask=mask, **options)
    for stencil in SCHEMES:
        options = {"penalty": "volume", "floor": 0.4, "stencil": stencil, "axis_scale": [1.0] * len(shape)}
        grid = torch.stack(torch.meshgrid(*(torch.arange(float(size)) for size in shape), indexing="ij"))
        compared(jacobian_penalty, field + 0.5 * grid, **options)


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_nothing_and_everything_is_masked(kept: float) -> None:
    field = 0.3 * torch.randn(2, 2, 6, 11, dtype=torch.float64)
    for statistic, options in statistics(2):
        compared(statistic, field, mask=torch.full((1, 1, 6, 11), kept), **options)


def test_a_field_that_changes_nothing_spreads_nothing() -> None:
    """The spread of equal logarithms is 0 up to rounding, and so is its gradient at none."""
    field = torch.zeros(2, 3, 5, 6, 9, dtype=torch.float64)
    field[1] = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in (5, 6, 9)), indexing="ij"))
    for stencil in SCHEMES:
        options = {"penalty": "sdlog", "floor": 0.1, "stencil": stencil, "axis_scale": [1.0] * 3}
        value, gradient = value_and_gradient("native", jacobian_penalty, field, **options)
        assert value[0] == 0
        assert value[1] < 1e-14  # each growth is 8
        assert not gradient[0].any()


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("border", BORDERS)
def test_the_number_of_threads_changes_nothing(border: str, mask: bool) -> None:
    field = 0.3 * torch.randn(1, 3, 33, 30, 20)
    weight = torch.rand(1, 1, 33, 30, 20) if mask else None
    before = torch.get_num_threads()
    for statistic, options in statistics(3, maps=False):
        results = []
        try:
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                found = value_and_gradient("native", statistic, field, mask=weight, border=border, **options)
                results.append(found)
        finally:
            torch.set_num_threads(before)
        for value, gradient in results[1:]:
            assert torch.equal(value, results[0][0])
            assert torch.equal(gradient, results[0][1])


def test_nan_stays_nan() -> None:
    """In the sum of its sample alone, and in the reference too."""
    field = 0.1 * torch.randn(2, 2, 8, 13)
    field[0, 1, 4, 4] = torch.nan
    for name in ("native", "reference"):
        for statistic, options in statistics(2, maps=False):
            value, gradient = value_and_gradient(name, statistic, field, **options)
            assert torch.isnan(value[0]), (name, options)
            assert torch.isfinite(value[1]), (name, options)
            assert torch.isfinite(gradient[1]).all()
            if options.get("penalty") not in ("folding", "volume"):
                assert torch.isnan(gradient[0]).any(), (name, options)


@pytest.mark.parametrize("layout", ["channels_last", "slice", "half"])
def test_layouts_and_half_precision(layout: str) -> None:
    field = 0.2 * torch.randn(2, 2, 9, 20)
    field = {"channels_last": field.to(memory_format=torch.channels_last), "slice": field[:, :, ::2, 3:],
             "half": field.bfloat16()}[layout]  # fmt: skip
    for statistic, options in statistics(2, maps=False):
        value, gradient = value_and_gradient("native", statistic, field, **options)
        expected = value_and_gradient("reference", statistic, field.float().contiguous(), **options)
        assert gradient.dtype == field.dtype
        torch.testing.assert_close(value, expected[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradient.float(), expected[1], rtol=1e-2 if layout == "half" else 1e-4, atol=1e-4)


def test_what_the_kernel_leaves_to_the_reference() -> None:
    operator = sys.modules["medloss.ops.jacobian"].PENALTY
    path = operator.paths[0]
    good = (torch.zeros(1, 2, 5, 9), None, "log", 0.1, "forward", [1.0, 1.0], "interior", True)
    assert path.reasons(operator.arguments(*good)) == []
    for at, value, why in (
        (0, torch.zeros(1, 2, 1, 9), "no stencil lies inside"),
        (0, torch.zeros(1, 3, 5, 9), "one component for each"),
        (1, torch.ones(1, 1, 5, 8), "does not fit"),
        (3, 1e-40, "floor"),
        (5, [1.0, 0.0], "not differentiated"),
    ):
        assert why in path.reasons(operator.arguments(*good[:at], value, *good[at + 1 :]))[0]
    assert "mask" in path.reasons(operator.arguments(*good), ("mask",))[0]
