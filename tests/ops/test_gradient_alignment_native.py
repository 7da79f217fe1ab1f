"""The kernel of ``gradient_alignment`` beside the reference, in value and in both gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from medloss.ops import backend, gradient_alignment, native

pytestmark = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")
SCALE = [1.0, 0.4, 2.5]


def found(name: str, x: Tensor, y: Tensor, mask: Tensor | None = None, **options: object) -> list[Tensor]:
    """The result and both gradients under a random cotangent, by one backend; each gradient alone, too."""
    leaves = [image.detach().clone(memory_format=torch.preserve_format).requires_grad_() for image in (x, y)]
    options = {"axis_scale": SCALE[: x.ndim - 2], "edge": 0.3, **options}
    results = []
    with backend(name):
        for pair in (leaves, (leaves[0], y.detach())):
            value = gradient_alignment(*pair, mask, **options)
            cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
            wanted = [image for image in pair if image.requires_grad]
            results += [value.detach(), *torch.autograd.grad(value, wanted, cotangent)]
    return results


def close(one: list[Tensor], other: list[Tensor], tolerance: float) -> None:
    for a, b in zip(one, other, strict=True):
        scale = max(b.abs().max().item(), 0.1)
        torch.testing.assert_close(a.to(b.dtype), b, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("shape", [(1,), (2,), (37,), (9, 21), (1, 5), (40, 3), (7, 19, 11), (3, 1, 2), (2, 33, 5)])
def test_the_kernel_is_the_reference(shape: tuple[int, ...], relative: bool) -> None:
    """Axes of one voxel, masks of voxels and of channels, holes in them, lone voxels, nothing at all."""
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    each = (torch.rand(2, 3, *shape) > 0.6) * torch.rand(2, 3, *shape)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 3e-5)):
        x, y = (torch.randn(2, 3, *shape, dtype=torch.float64) for _ in range(2))
        for weight, reduce in itertools.product((None, mask, each, mask[:1] > 0, 0 * mask), (False, True)):
            options = {"relative": relative, "reduce": reduce}
            expected = found("reference", x, y, weight, **options)
            close(found("native", x.to(dtype), y.to(dtype), weight, **options), expected, tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_types_and_layouts(dtype: torch.dtype) -> None:
    x, y = (torch.randn(2, 9, 8, 7, 3).to(dtype).movedim(-1, 1) for _ in range(2))
    ours, theirs = found("native", x, y, reduce=True), found("native", x.float(), y.float(), reduce=True)
    assert [result.dtype for result in ours] == [torch.float32, dtype, dtype, torch.float32, dtype]
    close(ours, [expected.to(one.dtype) for one, expected in zip(ours, theirs, strict=True)], 1e-6)


@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_masks_and_nan(poison: float, reduce: bool) -> None:
    x, y, mask = torch.randn(1, 2, 20, 30), torch.randn(1, 2, 20, 30), torch.rand(1, 1, 20, 30) > 0.4
    expected = found("native", x, y, mask, reduce=reduce)
    dirty = [torch.where(mask, image, poison) for image in (x, y)]
    for one, other in zip(found("native", *dirty, mask, reduce=reduce), expected, strict=True):
        assert torch.equal(one, other)
    x[0, 1, 5, 7] = torch.nan  # counted, it stays
    value, gradient, *_ = found("native", x, y, reduce=reduce, relative=False)
    assert value[0, 1].isnan().any()
    assert gradient[0, 1].isnan().any()
    assert value[0, 0].isfinite().all()
    assert gradient[0, 0].isfinite().all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("shape", [(9,), (7, 9), (7, 6, 9)])
def test_no_number_is_seen_where_the_reference_sees_it(shape: tuple[int, ...], bad: float) -> None:
    """The voxel itself, too, though the difference of its neighbours is a number."""
    x, y = torch.randn(1, 1, *shape), torch.randn(1, 1, *shape)
    x[(0, 0, *[size // 2 for size in shape])] = bad
    for mask in (None, torch.ones(1, 1, *shape)):
        ours, theirs = (found(name, x, y, mask, relative=False)[0].isnan() for name in ("native", "reference"))
        assert torch.equal(ours, theirs)


def test_constant_images_have_no_direction() -> None:
    for edge in (0.0, 0.1):
        value, *gradients = found("native", torch.ones(1, 1, 6, 7), torch.randn(1, 1, 6, 7), edge=edge)
        assert (value == 1).all()
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_threads_change_nothing() -> None:
    x, y, before, results = torch.randn(1, 1, 20, 60, 50), torch.randn(1, 1, 20, 60, 50), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(found("native", x, y, reduce=True) + found("native", x, y))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(other, results[0], strict=True))
