"""The kernel of ``local_error`` beside the reference, in value and in both gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from medloss.ops import backend, local_error, native

pytestmark = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")
BOX, GAUSS, WIDE, LONE = [1 / 3] * 3, [0.2, 0.6, 0.2], [0.04, 0.1, 0.2, 0.32, 0.2, 0.1, 0.04], [2.0]


def found(name: str, x: Tensor, y: Tensor, mask: Tensor | None = None, **options: object) -> list[Tensor]:
    """The result and both gradients under a random cotangent, by one backend."""
    leaves = [image.detach().clone().requires_grad_() for image in (x, y)]
    with backend(name):
        value = local_error(*leaves, mask, **options)
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
        return [value.detach(), *torch.autograd.grad(value, leaves, cotangent)]


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("border", ["valid", "zero", "reflect", "renormalise"])
@pytest.mark.parametrize(("shape", "window"), [
    ((23,), [WIDE]), ((9, 21), [GAUSS, WIDE]), ((13, 8), [BOX, [1 / 5] * 5]), ((10, 9, 11), [WIDE, BOX, GAUSS]),
    ((7, 19, 40), [GAUSS, WIDE, WIDE]), ((9, 8, 10), [[1 / 7] * 7] * 3), ((5, 6, 4), [LONE, GAUSS, LONE]),
])  # fmt: skip
def test_the_kernel_is_the_reference(shape: tuple[int, ...], window: list[list[float]], border: str) -> None:
    """Windows of equal weights and of others, of one voxel, masks of voxels and of channels."""
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    each = (torch.rand(2, 3, *shape) > 0.6) * torch.rand(2, 3, *shape)
    x, y = (torch.randn(2, 3, *shape, dtype=torch.float64) + 5 for _ in range(2))
    y[:, :, :2] = x[:, :, :2]
    for weight, reduce in itertools.product((None, mask, each, mask[:1] > 0, 0 * mask), (False, True)):
        options = {"window": window, "border": border, "reduce": reduce}
        expected = found("reference", x, y, weight, **options)
        for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 2e-5)):
            ours = found("native", x.to(dtype), y.to(dtype), weight, **options)
            for one, other in zip(ours, expected, strict=True):
                scale = max(other.abs().max().item(), 0.1)
                torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_types_and_layouts(dtype: torch.dtype) -> None:
    x, y = (torch.randn(2, 9, 8, 7, 3).to(dtype).movedim(-1, 1) for _ in range(2))
    options = {"window": [WIDE] * 3, "border": "zero"}
    ours, theirs = found("native", x, y, **options), found("native", x.float(), y.float(), **options)
    for one, expected, kind in zip(ours, theirs, (torch.float32, dtype, dtype), strict=True):
        assert one.dtype == kind
        torch.testing.assert_close(one, expected.to(kind), rtol=1e-6, atol=0)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_masks_and_nan(poison: float) -> None:
    x, y, mask = torch.randn(1, 2, 20, 30), torch.randn(1, 2, 20, 30), torch.rand(1, 1, 20, 30) > 0.4
    options = {"window": [GAUSS, WIDE], "border": "zero"}
    expected = found("native", x, y, mask, **options)
    dirty = [torch.where(mask, image, poison) for image in (x, y)]
    assert all(torch.equal(*pair) for pair in zip(found("native", *dirty, mask, **options), expected, strict=True))
    x[0, 1, 5, 7] = torch.nan  # counted, it stays, and no further than its windows
    seen = found("native", x, y, **options)[0].isnan()
    assert seen[0, 1, 4:7, 4:11].all()
    assert seen.sum() == 21


def test_threads_change_nothing() -> None:
    x, y, before, results = torch.randn(1, 1, 30, 40, 50), torch.randn(1, 1, 30, 40, 50), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append([
                tensor for reduce in (False, True)
                for tensor in found("native", x, y, window=[WIDE] * 3, border="reflect", reduce=reduce)
            ])  # fmt: skip
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(other, results[0], strict=True))
