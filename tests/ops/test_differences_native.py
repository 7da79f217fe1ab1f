"""The CPU kernel of ``differences`` beside its reference: value and gradient, every stencil, odd sizes, 1 to 3 axes."""

from __future__ import annotations

import pytest
import torch

from medloss.ops import backend, differences, native

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")

STENCILS = [
    ("diffusion", "central"), ("diffusion", "forward"), ("bending", "compact"), ("bending", "wide"),
    ("curvature", "compact"), ("curvature", "wide"),
]  # fmt: skip
SHAPES = [(5,), (23,), (7, 33), (5, 6, 40), (12, 5, 9)]


def value_and_gradient(name: str, field: torch.Tensor, **options) -> tuple[torch.Tensor, torch.Tensor]:
    with backend(name):
        leaf = field.clone().requires_grad_()
        value = differences(leaf, **options)
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
        return value.detach(), torch.autograd.grad(value, leaf, cotangent)[0]


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("energy", "stencil"), STENCILS)
def test_the_kernel_is_the_reference(energy: str, stencil: str, shape: tuple[int, ...]) -> None:
    rank = len(shape)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-5)):
        field = torch.randn(2, rank, *shape, dtype=dtype)
        for reduce in (False, True):
            for axis_scale in ([1.0, 0.5, 2.0][:rank], [1.0, 0.0, 0.7][:rank]):
                options = {"energy": energy, "stencil": stencil, "axis_scale": axis_scale, "reduce": reduce,
                           "component_scale": [1.0, 0.3, 2.0][:rank]}  # fmt: skip
                found = value_and_gradient("native", field, **options)
                expected = value_and_gradient("reference", field, **options)
                for ours, theirs in zip(found, expected):
                    scale = theirs.abs().max().item()
                    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * scale)


def test_the_number_of_threads_changes_nothing() -> None:
    field = torch.randn(1, 3, 48, 32, 40)
    options = {"energy": "bending", "stencil": "compact", "axis_scale": [1.0] * 3, "component_scale": [1.0] * 3}
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


def test_nan_stays_nan() -> None:
    field = torch.randn(1, 2, 8, 9)
    field[0, 1, 4, 4] = torch.nan
    options = {"energy": "bending", "stencil": "compact", "axis_scale": [1.0, 1.0], "component_scale": [1.0, 1.0]}
    value, gradient = value_and_gradient("native", field, **options, reduce=True)
    assert torch.isfinite(value[0, 0])
    assert torch.isnan(value[0, 1])
    assert torch.isnan(gradient[0, 1, 4, 4])
