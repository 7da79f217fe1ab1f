"""The CPU kernel of ``mind`` beside the reference: values and both gradients, borders, masks, constant windows."""

from __future__ import annotations

import pytest
import torch

from medloss.ops import BackendError, backend, mind, native

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")

SHAPES = [(2, 2, 13), (1, 2, 9, 11), (1, 1, 4, 3), (2, 1, 9, 7, 10), (1, 1, 3, 2, 70)]


def values_and_gradients(name: str, x, y, mask, **options) -> tuple[torch.Tensor, ...]:
    with backend(name):
        first, second = x.clone().requires_grad_(), y.clone().requires_grad_()
        values = mind(first, second, mask, **options)
        cotangent = torch.randn(values.shape, generator=torch.Generator().manual_seed(3)).to(values.dtype)
        return values.detach(), *torch.autograd.grad(values, (first, second), cotangent)


@pytest.mark.parametrize(("radius", "dilation"), [(0, 1), (1, 2), (3, 1)])
@pytest.mark.parametrize("masked", ["none", "per voxel", "per channel"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_is_the_reference_in_double(shape, masked, radius, dilation) -> None:
    x, y = torch.rand(shape, dtype=torch.float64) + 5, torch.rand(shape, dtype=torch.float64)
    x[:, :, : shape[2] // 2] *= 0.01  # so flat that the least noise is in force
    mask = None
    if masked != "none":
        kept = torch.rand(shape[0], shape[1] if masked == "per channel" else 1, *shape[2:]) > 0.3
        mask = kept.double() * torch.rand(kept.shape, dtype=torch.float64)
        x = torch.where((mask > 0).expand(shape), x, torch.nan)
    for penalty in ("squared", "absolute"):
        for reduce in (False, True):
            options = {"radius": radius, "dilation": dilation, "penalty": penalty, "reduce": reduce}
            found, expected = (values_and_gradients(name, x, y, mask, **options) for name in ("native", "reference"))
            torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_on_an_offset(dtype) -> None:
    """Only differences enter: an offset as of CT costs what it costs the image itself."""
    offset = 1000 if dtype == torch.float32 else 0
    x, y = ((torch.rand(1, 2, 9, 8, 21) + offset).to(dtype) for _ in range(2))
    found, expected = (values_and_gradients(name, x, y, None) for name in ("native", "reference"))
    assert found[0].dtype == torch.float32
    assert found[1].dtype == found[2].dtype == dtype
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-6)
    for one, two in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one.float(), two.float(), rtol=1e-2, atol=1e-3 * two.abs().max().item())


def test_ties_share_the_gradient() -> None:
    """Whole numbers: least distances are often equal, and their slope is shared as the reference shares it."""
    x, y = (torch.randint(0, 3, (1, 1, 8, 9, 7)).double() for _ in range(2))
    found, expected = (values_and_gradients(name, x, y, None, radius=0, dilation=1) for name in ("native", "reference"))
    torch.testing.assert_close(found, expected)


def test_constant_images() -> None:
    x, y = torch.full((1, 1, 6, 7, 8), 0.3), torch.rand(1, 1, 6, 7, 8)
    for one, two in ((x, x), (x, y), (y, x)):
        found, expected = (values_and_gradients(name, one, two, None) for name in ("native", "reference"))
        assert all(torch.isfinite(tensor).all() for tensor in found)
        torch.testing.assert_close(found[0], expected[0])


@pytest.mark.parametrize("shape", [(1, 1, 33, 32, 35), (1, 1, 260, 130)], ids=str)
def test_the_number_of_threads_changes_nothing(shape) -> None:
    x, y = torch.rand(shape), torch.rand(shape)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(values_and_gradients("native", x, y, None, radius=1, dilation=2, reduce=True))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


def test_nan_stays_nan() -> None:
    x, y = torch.rand(1, 1, 6, 7, 9), torch.rand(1, 1, 6, 7, 9)
    x[0, 0, 3, 3, 3] = torch.nan
    for name in ("native", "reference"):
        with backend(name):
            assert torch.isnan(mind(x, y, reduce=True)).all()


def test_a_gradient_of_the_mask_is_the_reference_s() -> None:
    x, mask = torch.rand(1, 1, 6, 7), torch.ones(1, 1, 6, 7, requires_grad=True)
    with backend("native"), pytest.raises(BackendError, match="gradient of mask"):
        mind(x, x.flip(2), mask, reduce=True).sum().backward()
