"""The kernel of ``global_moments`` beside the reference, in value and in both gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from medloss.ops import backend, global_moments, native

pytestmark = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")


def found(name: str, x: Tensor, y: Tensor, mask: Tensor | None = None) -> list[Tensor]:
    """The moments and both gradients under a random cotangent, by one backend; each gradient alone, too."""
    leaves = [image.detach().clone(memory_format=torch.preserve_format).requires_grad_() for image in (x, y)]
    results = []
    with backend(name):
        for pair in (leaves, (leaves[0], y.detach()), (x.detach(), leaves[1])):
            value = global_moments(*pair, mask)
            cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
            wanted = [image for image in pair if image.requires_grad]
            results += [value.detach(), *torch.autograd.grad(value, wanted, cotangent)]
    return results


def close(one: list[Tensor], other: list[Tensor], tolerance: float) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.to(b.dtype), b, rtol=tolerance, atol=tolerance * b.abs().max().item())


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(
    "shape", [(1,), (2,), (37,), (2048,), (2049,), (9, 21), (61, 70), (17, 19, 23), (3, 5, 7, 9, 5)]
)
def test_the_kernel_is_the_reference(shape: tuple[int, ...]) -> None:
    """Single voxels, whole blocks and more, masks of voxels and of channels, nothing at all."""
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    each = (torch.rand(2, 3, *shape) > 0.6) * torch.rand(2, 3, *shape)
    x, y = (torch.randn(2, 3, *shape, dtype=torch.float64) + 3 for _ in range(2))
    x, y = x.float().double(), y.float().double()
    y[0, 1] = 0.3  # a constant image
    for weight in (None, mask, each, mask[:1] > 0, 0 * mask):
        expected = found("reference", x, y, None if weight is None else weight.double())
        for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 2e-6)):
            close(found("native", x.to(dtype), y.to(dtype), weight), expected, tolerance)


@pytest.mark.parametrize("kinds", [*itertools.product([torch.float16, torch.bfloat16, torch.float32], repeat=2)])
def test_types_and_layouts(kinds: tuple[torch.dtype, torch.dtype]) -> None:
    """Half precision is read as it is; the gradients are of each image's own type."""
    x, y = (torch.randn(2, 20, 17, 13, 3).to(kind).movedim(-1, 1) for kind in kinds)
    ours, theirs = found("native", x, y), found("native", x.float(), y.float())
    kinds = [torch.float32, *kinds, torch.float32, kinds[0], torch.float32, kinds[1]]
    assert [result.dtype for result in ours] == kinds
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other.to(one.dtype))


def test_images_of_unlike_precision() -> None:
    """What is computed in is settled by the input."""
    x, y = torch.randn(1, 2, 9, 8, dtype=torch.float64), torch.randn(1, 2, 9, 8).bfloat16()
    for pair in ((x, y), (y, x)):
        ours, theirs = found("native", *pair), found("reference", *pair)
        assert [result.dtype for result in ours] == [result.dtype for result in theirs]
        close(ours, theirs, 1e-5)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_masks_and_nan(poison: float) -> None:
    x, y, mask = torch.randn(1, 2, 70, 60), torch.randn(1, 2, 70, 60), torch.rand(1, 1, 70, 60) > 0.4
    mask[:, :, :40] = False  # the first block has no voxel that counts
    expected = found("native", x, y, mask)
    dirty = [torch.where(mask, image, poison) for image in (x, y)]
    for one, other in zip(found("native", *dirty, mask), expected, strict=True):
        assert torch.equal(one, other)
    x[0, 1, 50, 7] = poison  # counted, it stays, in its channel
    value, of_x, of_y, *_ = found("native", x, y)
    assert value[0, 1, 1:3].isnan().all()
    assert value[0, 1, 3].isfinite()
    assert of_x[0, 1].isnan().all()
    assert of_y[0, 1].isnan().all()
    assert all(result[0, 0].isfinite().all() for result in (value, of_x, of_y))
    mask[0, 0, 50, 7] = True
    _, of_x, *_ = found("native", x, y, mask)
    assert torch.equal(of_x[0, 1].isnan(), mask[0, 0])  # and nowhere under the mask


@pytest.mark.parametrize("offset", [1000.0, -1e5])
def test_an_offset_costs_no_digits(offset: float) -> None:
    """The images' own digits, which an offset rounds off, are taken first."""
    x, y = ((torch.randn(1, 1, 40, 40, 40) + offset) for _ in range(2))
    y = y + 0.1 * (x - offset)
    weight = torch.rand(1, 1, 40, 40, 40)
    for mask in (None, weight):
        close(found("native", x, y, mask), found("reference", x.double(), y.double(), mask), 2e-6)


def test_an_outlier_that_hardly_counts_costs_no_digits() -> None:
    """Were it the first voxel that is taken off, its square would cover the others'."""
    x, y = (torch.randn(1, 1, 500, dtype=torch.float64) for _ in range(2))
    mask = torch.ones_like(x)
    x[..., 0], mask[..., 0] = 1e6, 1e-12
    close(found("native", x, y, mask), found("reference", x, y, mask), 1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_images(dtype: torch.dtype) -> None:
    """Of no variance at all, whatever the constant, and of no slope; images that nearly are have theirs."""
    x, mask = torch.full((1, 1, 99, 90), 0.1, dtype=dtype), torch.rand(1, 1, 99, 90)
    y = torch.randn(1, 1, 99, 90, dtype=dtype)
    for weight in (None, mask):
        value, of_x, of_y, *_ = found("native", x, y, weight)
        assert (value[..., 1:3] == 0).all()
        assert value[..., 3] > 0.5
        assert (of_x == 0).all()
        assert of_y.any()
    x[..., 3] += 1e-3
    assert found("native", x, y)[0][..., 2] > 1e-9


def test_threads_change_nothing() -> None:
    x, y, before, results = torch.randn(1, 1, 20, 60, 50), torch.randn(1, 1, 20, 60, 50), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(found("native", x, y) + found("native", x, y, x > -1))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(other, results[0], strict=True))


def test_large_gradients_are_streamed() -> None:
    """Past the caches, from 8 MiB on."""
    x, y = torch.randn(1, 1, 130, 130, 127), torch.randn(1, 1, 130, 130, 127)
    close(found("native", x, y)[:3], found("reference", x.double(), y.double())[:3], 2e-6)
