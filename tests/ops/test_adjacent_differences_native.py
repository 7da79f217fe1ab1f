"""The CPU kernel of ``adjacent_differences`` beside its reference: every penalty, masks, odd sizes, 1 to 3 axes."""

from __future__ import annotations

import pytest
import torch

from medloss.ops import adjacent_differences, backend, native

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")

PENALTIES = [("absolute", 1.0), ("isotropic", 1.0), ("magnitude", 1.0), ("magnitude", 2.0)]
SHAPES = [(1,), (2,), (37,), (6, 35), (1, 18), (4, 5, 21), (3, 1, 2)]


def taken(
    name: str, x: torch.Tensor, y: torch.Tensor | None, mask: torch.Tensor | None, **options
) -> tuple[torch.Tensor, ...]:
    """The value, and the gradients of the images under a random cotangent."""
    leaves = [image.clone().requires_grad_() for image in (x, y) if image is not None]
    with backend(name):
        value = adjacent_differences(*leaves, *[None] * (2 - len(leaves)), mask, **options)
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
        return value.detach(), *torch.autograd.grad(value, leaves, cotangent)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("penalty", "exponent"), PENALTIES)
def test_the_kernel_is_the_reference(penalty: str, exponent: float, shape: tuple[int, ...]) -> None:
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-5)):
        # steps of integers: no two of them differ by a rounding, where the slope jumps
        x, y = (torch.randint(-9, 9, (2, 3, *shape)).to(dtype) for _ in range(2))
        one = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
        each = torch.rand(1, 3, *shape) * (torch.rand(1, 3, *shape) > 0.3)
        for mask in (None, one, each.expand(2, *each.shape[1:]), torch.zeros_like(one)):
            seen = x if mask is None else torch.where(mask > 0, x, torch.nan)
            for average in (True, False):
                images = (seen, y if penalty == "magnitude" else None, mask)
                options = {"penalty": penalty, "shape": exponent, "axis_scale": [1.0, 0.5, 2.0][: len(shape)]}
                found = taken("native", *images, **options, average=average)
                expected = taken("reference", *images, **options, average=average)
                for ours, theirs in zip(found, expected):
                    scale = theirs.abs().max().item()
                    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize(("penalty", "exponent"), PENALTIES)
def test_the_number_of_threads_changes_nothing(penalty: str, exponent: float) -> None:
    x, y, mask = (torch.rand(1, 1, 40, 41, 42) for _ in range(3))
    results, before = [], torch.get_num_threads()
    images = (x, y if penalty == "magnitude" else None, mask)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(taken("native", *images, penalty=penalty, shape=exponent, axis_scale=[1.0] * 3))
    finally:
        torch.set_num_threads(before)
    for each in results[1:]:
        for ours, theirs in zip(each, results[0]):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("penalty", "exponent"), PENALTIES)
def test_nan_stays_nan(penalty: str, exponent: float) -> None:
    x = torch.randn(1, 2, 8, 9)
    x[0, 1, 4, 4] = torch.nan
    target = torch.randn(1, 2, 8, 9) if penalty == "magnitude" else None
    value, slope, *_ = taken("native", x, target, None, penalty=penalty, shape=exponent, axis_scale=[1.0, 1.0])
    assert torch.isfinite(value[0, 0])
    assert torch.isnan(value[0, 1])
    assert torch.isnan(slope[0, 1, 4, 4])


def test_layouts_and_half_precision() -> None:
    x = torch.randn(2, 3, 8, 9)
    expected = taken("reference", x, None, None, penalty="isotropic", axis_scale=[1.0, 1.0])
    laid = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(taken("native", laid, None, None, penalty="isotropic", axis_scale=[1.0, 1.0]), expected)
    value, slope = taken("native", x.half(), None, None, penalty="isotropic", axis_scale=[1.0, 1.0])
    assert (value.dtype, slope.dtype) == (torch.float32, torch.float16)
    torch.testing.assert_close(value, expected[0], rtol=1e-2, atol=1e-2)


def test_what_the_kernel_leaves_to_the_reference() -> None:
    x = torch.rand(1, 2, 5)
    for options, why in (
        ({"penalty": "edge_aware"}, "edge_aware with shape=1.0 has no kernel"),
        ({"penalty": "magnitude", "shape": 1.5}, "magnitude with shape=1.5 has no kernel"),
    ):
        with backend("native"), pytest.raises(RuntimeError, match=why):
            adjacent_differences(x, x, axis_scale=[1.0], **options)
