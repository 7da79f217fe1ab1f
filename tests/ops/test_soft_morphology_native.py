"""The CPU kernels of ``soft_morphology`` beside the reference: value and gradient, ties above all, of every form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from medloss.ops import (
    BackendError,
    backend,
    boundary_sums,
    erosion_hausdorff,
    max_pool,
    native,
    skeleton_sums,
    soft_skeleton,
)

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")

SHAPES = [(1,), (2,), (17,), (1, 9), (7, 34), (5, 1, 6), (9, 10, 11), (24, 3, 9)]
MASKS = ("none", "per voxel", "per class", "nothing")
CALLS: dict[str, Callable[..., Tensor]] = {
    "skeleton": lambda x, t, m, n: soft_skeleton(x, m, iterations=n),
    "sums": lambda x, t, m, n: skeleton_sums(x, t, m, iterations=n),
    "pool": lambda x, t, m, n: max_pool(x, m, size=2 * n + 1),
    "boundaries": lambda x, t, m, n: boundary_sums(x, t, m, inner=3 if n < 2 else 5, outer=2 * n + 1),
    "erosions": lambda x, t, m, n: erosion_hausdorff(x, t, m, alpha=1.5, k=n + 1),
}
FORMS = [
    (name, shape, mask)
    for number, name in enumerate(CALLS)
    for row, shape in enumerate(SHAPES)
    for mask in MASKS[(number + row) % 2 :: 2]
]
"""Each call with each shape and with each mask, and each shape with each mask."""


def maps(shape: tuple[int, ...], levels: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Values of a few levels, so that most windows hold several of the largest; a class is empty and one is full."""
    x, t = (torch.randint(0, levels, (2, 3, *shape)).to(dtype) / (levels - 1) for _ in range(2))
    t[0, 0], t[1, 1] = 0, 1
    return x, t


def mask_of(kind: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor | None:
    if kind == "none":
        return None
    weight = torch.rand(2, 3 if kind == "per class" else 1, *shape, dtype=dtype) + 0.1
    weight[torch.rand(weight.shape) < 0.3] = 0
    weight[1] = 0 if kind == "nothing" else weight[1]
    return weight


def found(path: str, call: Callable[..., Tensor], x: Tensor, t: Tensor, mask: Tensor | None, n: int) -> list[Tensor]:
    """Value, and the gradients of both maps under a random cotangent."""
    x, t = (map.detach().clone(memory_format=torch.preserve_format).requires_grad_() for map in (x, t))
    with backend(path):
        value = call(x, t, mask, n)
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        gradients = torch.autograd.grad(value, (x, t), cotangent.to(value.dtype), allow_unused=True)
    return [value.detach(), *(gradient for gradient in gradients if gradient is not None)]


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(("name", "shape", "mask"), FORMS, ids=str)
def test_the_kernel_is_the_reference(name: str, shape: tuple[int, ...], mask: str) -> None:
    """Of several equal values the same one has the gradient: any other choice changes it."""
    weight = mask_of(mask, shape)
    for levels in (2, 3, 1000):
        x, t = maps(shape, levels)
        for n in (0, 1, 3, 6):
            results = [found(path, CALLS[name], x, t, weight, n) for path in ("native", "reference")]
            torch.testing.assert_close(*results, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CALLS)
def test_single_precision(name: str) -> None:
    x, t = maps((12, 9, 21), 100000, torch.float32)
    results = [found(path, CALLS[name], x, t, None, 3) for path in ("native", "reference")]
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())


@pytest.mark.parametrize("name", CALLS)
def test_threads_and_strides_change_nothing(name: str) -> None:
    """One volume, cut into runs of planes; entries enough for threads."""
    x, t = (map[:1, :1] for map in maps((40, 30, 34), 1000, torch.float32))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(found("native", CALLS[name], x, t, None, 1))
    finally:
        torch.set_num_threads(before)
    results.append(found("native", CALLS[name], x.transpose(2, 4).contiguous().transpose(2, 4), t, None, 1))
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_finite_is_the_reference_s(name: str, value: float) -> None:
    """Under a mask it touches nothing; where it counts it spreads as the reference lets it."""
    x, t = maps((6, 7), 1000)
    mask = torch.ones(2, 1, 6, 7, dtype=torch.float64)
    mask[:, :, 2, 3] = 0
    clean = found("native", CALLS[name], x, t, mask, 1)
    x[:, :, 2, 3] = value
    for one, other in zip(found("native", CALLS[name], x, t, mask, 1), clean, strict=True):
        assert torch.equal(one, other)
    results = [found(path, CALLS[name], x, t, None, 1) for path in ("native", "reference")]
    torch.testing.assert_close(*results, equal_nan=True)
    assert not results[0][0].isfinite().all() or (name == "pool" and value < 0)


def test_half_precision_keeps_its_type() -> None:
    x, t = maps((6, 7), 1000, torch.float32)
    for dtype in (torch.float16, torch.bfloat16):
        value, *gradients = found("native", CALLS["sums"], x.to(dtype), t, None, 2)
        assert (value.dtype, gradients[0].dtype, gradients[1].dtype) == (torch.float32, dtype, torch.float32)
        expected = found("reference", CALLS["sums"], x.to(dtype).float(), t, None, 2)
        torch.testing.assert_close(gradients[0].float(), expected[1], rtol=1e-2, atol=1e-2)


def test_four_dimensions_are_the_reference_s() -> None:
    x = torch.rand(1, 1, 2, 3, 4, 2)
    with backend("native"), pytest.raises(BackendError, match="4 spatial axes, the kernel takes 1 to 3"):
        soft_skeleton(x, iterations=1)
