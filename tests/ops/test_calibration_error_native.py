"""The kernel of ``calibration_error`` beside the reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medloss.ops import backend, calibration_error, native

pytestmark = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")


def found(name: str, p: Tensor, *args: object, **options: object) -> list[Tensor]:
    """Errors and gradient under a random cotangent, by one backend."""
    leaf = p.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with backend(name):
        errors = calibration_error(leaf, *args, **options)
        cotangent = torch.randn(errors.shape, generator=torch.Generator().manual_seed(3)).to(errors.dtype)
        return [errors.detach(), torch.autograd.grad(errors, leaf, cotangent)[0]]


def close(one: list[Tensor], other: list[Tensor], tolerance: float, **options: bool) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        scale = b[b.isfinite()].abs().max().item()
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * scale, **options)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("bins", [1, 7, 20])
@pytest.mark.parametrize("shape", [(1,), (63,), (9, 11, 13), (263, 257)])
def test_the_kernel_is_the_reference(shape: tuple[int, ...], bins: int) -> None:
    """Edges of bins, what lies beyond them, weights of voxels and of classes, soft memberships, a batch's mask."""
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    each = (torch.rand(2, 3, *shape) > 0.5) * torch.rand(2, 3, *shape)
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-5)):
        p, t = torch.rand(2, 3, *shape, dtype=dtype) * 1.2 - 0.1, torch.rand(2, 3, *shape, dtype=dtype)
        p[:, 1] = (p[:, 1] * bins).round() / bins
        for target, weight in ((t, None), (t > 0.7, mask), (t, each), (t, mask[:1] > 0), (t, 0 * mask)):
            args = (p, target, weight)
            expected = found("reference", *args, bins=bins)
            close(found("native", *args, bins=bins), expected, tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types_and_layouts(dtype: torch.dtype) -> None:
    p, t = torch.rand(2, 7, 9, 3).to(dtype).movedim(-1, 1), torch.rand(2, 7, 9, 3).movedim(-1, 1) > 0.5
    errors, gradient = found("native", p, t, bins=10)
    expected = found("reference", p, t, bins=10)
    torch.testing.assert_close(errors, expected[0])
    torch.testing.assert_close(gradient, expected[1])


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_masks_and_nan(poison: float) -> None:
    p, t, mask = torch.rand(1, 2, 700), torch.rand(1, 2, 700), torch.rand(1, 1, 700) > 0.4
    expected = found("native", p[..., mask[0, 0]], t[..., mask[0, 0]], bins=5)
    dirty = [torch.where(mask, tensor, poison) for tensor in (p, t)]
    errors, gradient = found("native", *dirty, mask, bins=5)
    torch.testing.assert_close(errors, expected[0])
    torch.testing.assert_close(gradient[..., mask[0, 0]], expected[1])
    assert not gradient[..., ~mask[0, 0]].any()
    for where in (0, 1):  # counted, a NaN stays
        pair = [p.clone(), t.clone()]
        pair[where][0, 1, 5] = torch.nan
        ours, theirs = found("native", *pair, bins=5), found("reference", *pair, bins=5)
        assert ours[0].isnan().tolist() == [[False, True]]
        close(ours, theirs, 1e-5, equal_nan=True)


def test_threads_change_nothing_and_the_gradient_needs_no_second_count() -> None:
    p, t, before, results = torch.rand(1, 2, 300, 500), torch.rand(1, 2, 300, 500), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(found("native", p, t, bins=20))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(other, results[0], strict=True))
    operator, grad = calibration_error.__globals__["OPERATOR"], torch.ones(1, 2)
    path, args = operator.paths[0], operator.arguments(p, t, None, 20)
    _, kept = path.forward_keeping(args)
    assert torch.equal(path.backward(grad, args), path.backward_from(kept, grad, args))
