"""The CPU kernel of ``differences`` beside its reference: value and gradient, every stencil, odd sizes, 1 to 3 axes."""

from __future__ import annotations

import pytest
import torch

from medloss.ops import backend, differences, native

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")

STENCILS = [
    ("diffusion", "central"), ("diffusion", "forward"), ("bending", "compact"), ("bending", "wide"),
    ("curvature", "compact"), ("curvature", "wide"), ("variation", "central"), ("variation", "forward"),
    ("elasticity", "central"), ("elasticity", "forward"),
]  # fmt: skip
SHAPES = [(5,), (23,), (7, 33), (5, 6, 40), (12, 5, 9)]
TILES = [(5, 19, 601), (40, 700)]  # rows too long for a tile to hold the plane; long columns


def value_and_gradient(name: str, field: torch.Tensor, **options) -> tuple[torch.Tensor, torch.Tensor]:
    with backend(name):
        leaf = field.clone().requires_grad_()
        value = differences(leaf, **options)
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
        return value.detach(), torch.autograd.grad(value, leaf, cotangent)[0]


def compared(field: torch.Tensor, mask: torch.Tensor | None, **options) -> None:
    """Value and gradient, held to the reference within a part of their largest entry."""
    tolerance = 1e-10 if field.dtype == torch.float64 else 2e-5
    found = value_and_gradient("native", field, mask=mask, **options)
    expected = value_and_gradient("reference", field, mask=mask, **options)
    for ours, theirs in zip(found, expected):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * theirs.abs().max().item())


def scales(energy: str, rank: int) -> list[list[float]]:
    """Factors of the axes, one of which may not be differentiated unless the energy is of the whole vector."""
    return [[1.0, 0.5, 2.0][:rank]] + ([] if energy == "elasticity" else [[1.0, 0.0, 0.7][:rank]])


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("energy", "stencil"), STENCILS)
def test_the_kernel_is_the_reference(energy: str, stencil: str, shape: tuple[int, ...]) -> None:
    rank = len(shape)
    for dtype in (torch.float64, torch.float32):
        field = torch.randn(2, rank, *shape, dtype=dtype)
        for reduce in (False, True):
            for axis_scale in scales(energy, rank):
                options = {"energy": energy, "stencil": stencil, "axis_scale": axis_scale, "reduce": reduce,
                           "component_scale": [1.0, 0.3, 2.0][:rank], "lame": [0.7, 1.3]}  # fmt: skip
                compared(field, None, **options)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("border", ["interior", "replicate"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("energy", "stencil"), STENCILS)
def test_masks_and_borders(energy: str, stencil: str, shape: tuple[int, ...], border: str) -> None:
    rank = len(shape)
    field = torch.randn(2, rank, *shape, dtype=torch.float64)
    one = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.05)
    each = torch.rand(1, rank, *shape) * (torch.rand(1, rank, *shape) > 0.05)
    options = {"energy": energy, "stencil": stencil, "border": border, "component_scale": [1.0, 0.3, 2.0][:rank]}
    for mask in (None, one, each.expand(2, *each.shape[1:]), torch.ones_like(one), torch.zeros_like(one)):
        dirty = field if mask is None else torch.where(mask > 0, field, torch.nan)
        for axis_scale in scales(energy, rank)[-1:]:
            for reduce in (False, True):
                compared(dirty, mask, **options, axis_scale=axis_scale, reduce=reduce)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("border", ["interior", "replicate"])
@pytest.mark.parametrize("shape", TILES, ids=str)
def test_tiles_of_rows(shape: tuple[int, ...], border: str) -> None:
    field = torch.randn(1, len(shape), *shape)
    mask = (torch.rand(1, 1, *shape) > 0.02).float()
    for energy, stencil in (("bending", "wide"), ("elasticity", "central")):
        options = {"energy": energy, "stencil": stencil, "border": border, "axis_scale": [1.0] * len(shape)}
        for weight in (None, mask):
            compared(field, weight, **options, component_scale=[1.0] * len(shape), reduce=True)


@pytest.mark.parametrize("mask", [None, 1])
@pytest.mark.parametrize("border", ["interior", "replicate"])
def test_the_number_of_threads_changes_nothing(border: str, mask: int | None) -> None:
    field = torch.randn(1, 3, 48, 32, 40)
    options = {"energy": "bending", "stencil": "compact", "axis_scale": [1.0] * 3, "component_scale": [1.0] * 3}
    options |= {"border": border, "mask": None if mask is None else torch.rand(1, 1, 48, 32, 40)}
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(value_and_gradient("native", field, **options, reduce=True))
    finally:
        torch.set_num_threads(before)
    for value, gradient in results[1:]:
        assert torch.equal(value, results[0][0])
        assert torch.equal(gradient, results[0][1])


@pytest.mark.parametrize(("energy", "stencil"), [("bending", "compact"), ("variation", "forward")])
@pytest.mark.parametrize("width", [6, 9, 45])
def test_nan_stays_nan(energy: str, stencil: str, width: int) -> None:
    field = torch.randn(1, 2, 8, width)
    field[0, 1, 4, 4] = torch.nan
    options = {"energy": energy, "stencil": stencil, "axis_scale": [1.0, 1.0], "component_scale": [1.0, 1.0]}
    value, gradient = value_and_gradient("native", field, **options, reduce=True)
    assert torch.isfinite(value[0, 0])
    assert torch.isnan(value[0, 1])
    assert torch.isnan(gradient[0, 1, 4, 4])


@pytest.mark.parametrize("layout", ["channels_last", "slice", "half"])
def test_layouts_and_half_precision(layout: str) -> None:
    field = torch.randn(2, 2, 9, 20)
    field = {"channels_last": field.to(memory_format=torch.channels_last), "slice": field[:, :, ::2, 3:], "half":
             field.bfloat16()}[layout]  # fmt: skip
    options = {"energy": "diffusion", "stencil": "forward", "axis_scale": [1.0, 1.0], "component_scale": [1.0, 1.0]}
    value, gradient = value_and_gradient("native", field, **options)
    expected = value_and_gradient("reference", field.float().contiguous(), **options)
    assert gradient.dtype == field.dtype
    torch.testing.assert_close(value, expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient.float(), expected[1], rtol=1e-2 if layout == "half" else 1e-5, atol=1e-5)


def test_what_the_kernel_leaves_to_the_reference() -> None:
    options = {"stencil": "central", "component_scale": [1.0, 1.0]}
    for field, energy, axis_scale, why in (
        (torch.randn(1, 2, 2, 9), "diffusion", [1.0, 1.0], "no stencil lies inside"),
        (torch.randn(1, 2, 5, 9), "elasticity", [1.0, 0.0], "needs a component and a derivative for each axis"),
        (torch.randn(1, 2, 5, 9), "diffusion", [0.0, 0.0], "no axis is differentiated"),
    ):
        with backend("native"), pytest.raises(RuntimeError, match=why):
            differences(field, energy=energy, axis_scale=axis_scale, **options)
