"""The CPU kernel of ``local_moments`` and ``local_ssim`` beside the reference: value, gradient, borders, odd sizes."""

from __future__ import annotations

import itertools

import pytest
import torch

from medloss.ops import BackendError, backend, local_correlation, local_moments, local_ssim, native

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")

WINDOWS = {"box": [1.0] * 9, "thin": [0.5] * 3, "uneven": [0.2, 0.5, 1.0, 0.5, 0.2]}
SHAPES = [(2, 3, 17), (1, 2, 7, 33), (2, 1, 5, 6, 40), (1, 2, 12, 3, 9)]


def mask_of(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor | None:
    if kind == "none":
        return None
    channels = shape[1] if kind == "per channel" else 1
    kept = torch.rand(shape[0], channels, *shape[2:]) > 0.3
    return kept.to(dtype) * torch.rand(shape[0], 1, *shape[2:]).to(dtype)


def values_and_gradients(backend_name: str, x, y, mask, operator=local_moments, **options) -> tuple[torch.Tensor, ...]:
    """The values, and the gradients of both images."""
    with backend(backend_name):
        first, second = x.clone().requires_grad_(), y.clone().requires_grad_()
        value = operator(first, second, mask, **options)
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
        return value.detach(), *torch.autograd.grad(value, (first, second), cotangent)


@pytest.mark.parametrize("mask", ["none", "per voxel", "per channel"])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_is_the_reference_in_double(shape, window, mask, poisoned) -> None:
    x, y = torch.rand(shape, dtype=torch.float64) + 5, torch.rand(shape, dtype=torch.float64)
    weight = mask_of(mask, shape, torch.float64)
    for renormalise, reduce in itertools.product((False, True), repeat=2):
        options = {"window": WINDOWS[window], "renormalise": renormalise, "reduce": reduce}
        for operator, more in ((local_moments, {"smooth_nr": 1e-3}), (local_correlation, {"smooth_dr": 0.2})):
            found, expected = (
                values_and_gradients(name, x, y, weight, operator, **options, **more)
                for name in ("native", "reference")
            )
            torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision(dtype) -> None:
    x, y = torch.rand(1, 2, 9, 8, 21).to(dtype), torch.rand(1, 2, 9, 8, 21).to(dtype)
    found = values_and_gradients("native", x, y, None, window=[1.0] * 5)
    expected = values_and_gradients("reference", x, y, None, window=[1.0] * 5)
    assert found[0].dtype == torch.float32
    assert found[1].dtype == dtype
    torch.testing.assert_close(found[0], expected[0], rtol=1e-3, atol=1e-5)
    scale = expected[1].abs().max().item()
    torch.testing.assert_close(found[1].float(), expected[1].float(), rtol=1e-2, atol=1e-3 * scale)


def test_the_number_of_threads_changes_nothing() -> None:
    x, y = torch.rand(1, 1, 33, 32, 40), torch.rand(1, 1, 33, 32, 40)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            moments = values_and_gradients("native", x, y, None, window=[1.0] * 3, reduce=True)
            options = {"windows": [NARROW, UNLIKE], "border": "reflect", "c1": 1e-4, "c2": 9e-4, "reduce": True}
            results.append((*moments, *values_and_gradients("native", x, y, None, local_ssim, **options)))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


def test_constant_windows_have_no_correlation() -> None:
    """Nor a gradient, though their neighbours have."""
    x, y = torch.rand(1, 1, 12, 14), torch.rand(1, 1, 12, 14)
    x[..., :7], y[..., 5:, :] = 0.3, 7.0
    for operator in (local_moments, local_correlation):
        options = {"window": [1.0] * 3, "renormalise": True, "smooth_dr": 1e-5}
        results = [values_and_gradients(name, x, y, None, operator, **options) for name in ("native", "reference")]
        torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)


def test_nan_stays_nan() -> None:
    x, y = torch.rand(1, 1, 6, 7), torch.rand(1, 1, 6, 7)
    x[0, 0, 3, 3] = torch.nan
    with backend("native"):
        assert torch.isnan(local_moments(x, y, window=[1.0] * 3, reduce=True)).all()


def test_a_lopsided_window_is_the_reference_s() -> None:
    x = torch.rand(1, 1, 6, 7)
    with backend("native"), pytest.raises(BackendError, match="not symmetric"):
        local_moments(x, x, window=[0.1, 0.7, 0.2])


UNLIKE = [[0.1, 0.2, 0.4, 0.2, 0.1], [1.0, 1.0, 1.0], [0.25, 0.5, 0.25]]


BORDERS = ["valid", "renormalise", "zero", "reflect"]
NARROW = [[0.25, 0.5, 0.25], [0.1, 0.2, 0.4, 0.2, 0.1], [1.0, 1.0, 1.0]]


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("mask", ["none", "per voxel", "per channel"])
@pytest.mark.parametrize("shape", [(2, 3, 17), (1, 2, 9, 33), (2, 1, 8, 6, 40), (1, 1, 6, 5, 5)], ids=str)
def test_ssim_is_the_reference_in_double(shape, mask, border, poisoned) -> None:
    """With and without luminance, of one window and of two that are unlike along each axis."""
    x, y = torch.rand(shape, dtype=torch.float64) + 100, torch.rand(shape, dtype=torch.float64) + 100
    weight = mask_of(mask, shape, torch.float64)
    rank = len(shape) - 2
    for windows in ([UNLIKE[:rank]], [NARROW[:rank], UNLIKE[:rank]]):
        for luminance, reduce in ((True, False), (False, True), (len(windows) == 2, True)):
            options = {"windows": windows, "border": border, "c1": 1e-4, "c2": 9e-4, "reduce": reduce}
            options["luminance"] = luminance
            results = [
                values_and_gradients(name, x, y, weight, local_ssim, **options) for name in ("native", "reference")
            ]
            torch.testing.assert_close(*results, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("extent", [3, 4, 5, 8, 9, 13, 18])
@pytest.mark.parametrize("border", ["reflect", "zero"])
def test_windows_about_as_long_as_the_image(border, extent) -> None:
    """Along each axis in turn: where both borders are mirrored into one window, and where groups of planes end."""
    for axis in range(3):
        shape = [1, 1, 4, 4, 4]
        shape[2 + axis] = extent
        x, y = torch.rand(shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
        windows = [[[1.0, 2.0, 1.0]] * 3]
        windows[0][axis] = [0.1 * (1 + min(at, 2 * extent - 2 - at)) for at in range(2 * extent - 1)]
        options = {"windows": windows, "border": border, "c1": 1e-4, "c2": 9e-4}
        results = [values_and_gradients(name, x, y, None, local_ssim, **options) for name in ("native", "reference")]
        torch.testing.assert_close(*results, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("border", ["reflect", "zero"])
def test_ssim_in_lower_precision(border, dtype) -> None:
    x, y = torch.rand(1, 2, 9, 8, 21).to(dtype), torch.rand(1, 2, 9, 8, 21).to(dtype)
    options = {"windows": [NARROW, UNLIKE], "border": border, "c1": 1e-4, "c2": 9e-4}
    found, expected = (
        values_and_gradients(name, x, y, None, local_ssim, **options) for name in ("native", "reference")
    )
    assert found[0].dtype == torch.float32
    assert found[1].dtype == dtype
    torch.testing.assert_close(found[0], expected[0], rtol=1e-3, atol=1e-5)
    scale = expected[1].abs().max().item()
    torch.testing.assert_close(found[1].float(), expected[1].float(), rtol=1e-2, atol=1e-3 * scale)


def test_mirroring_more_than_there_is_is_told() -> None:
    x = torch.rand(1, 1, 5, 2)
    with backend("native"), pytest.raises(BackendError, match="mirror more than there is"):
        local_ssim(x, x, windows=[[UNLIKE[0]] * 2], border="reflect", c1=1e-4, c2=9e-4)


@pytest.mark.parametrize("operator", ["moments", "ssim"])
def test_a_gradient_of_the_target_alone(operator) -> None:
    """In the target's own type, computed in the input's."""
    x = torch.rand(1, 2, 11, 9, 12, dtype=torch.float64)
    y = torch.rand(1, 2, 11, 9, 12, requires_grad=True)
    found = {}
    for name in ("native", "reference"):
        with backend(name):
            if operator == "ssim":
                value = local_ssim(x, y, windows=[UNLIKE], c1=1e-4, c2=9e-4)
            else:
                value = local_moments(x, y, window=[1.0] * 3)
            cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3), dtype=value.dtype)
            (found[name],) = torch.autograd.grad(value, y, cotangent)
    assert found["native"].dtype == torch.float32
    torch.testing.assert_close(found["native"], found["reference"])
