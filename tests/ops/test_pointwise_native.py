"""The CPU kernel of ``pointwise`` beside its reference: every penalty of a residual, small and large ones, masks."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest
import torch

from medloss.ops import backend, native, pointwise
from medloss.ops.pointwise import cpu
from medloss.ops.pointwise.penalties import DIVERGENCE, RESIDUAL

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")

PENALTIES = [(name, 0.7 if name == "huber" else 0.0) for name in RESIDUAL if name != "general"]
PENALTIES += [("general", alpha) for alpha in (2.0, 1.5, 1.0, 0.0, -2.0, 4.0, -math.inf)]
SHAPES = [(1,), (257,), (5, 67), (7, 8, 9)]


def taken(
    name: str, x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor | None, **options
) -> tuple[torch.Tensor, ...]:
    """The value, and the gradients of both images under a random cotangent."""
    leaves = [image.clone().requires_grad_() for image in (x, y)]
    with backend(name):
        value = pointwise(*leaves, mask, **options)
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
        return value.detach(), *torch.autograd.grad(value, leaves, cotangent)


def compared(x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor | None, **options) -> None:
    """To the reference in double precision, within the rounding of each entry."""
    eps = torch.finfo(x.dtype).eps
    found = taken("native", x, y, mask, **options)
    expected = taken("reference", x.double(), y.double(), mask, **options)
    for ours, theirs, least in zip(found, expected, (1e-30, 1e-12, 1e-12)):  # the reference's slopes cancel
        assert ours.dtype == x.dtype
        least = max(least, 4 * eps * theirs.abs().max().item() if options["reduce"] else 0)
        torch.testing.assert_close(ours.double(), theirs, rtol=max(200 * eps, 1e-11), atol=least)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("penalty", "gamma"), PENALTIES)
def test_the_kernel_is_the_reference(penalty: str, gamma: float, dtype: torch.dtype) -> None:
    for shape in SHAPES:
        # residuals of any size: the differences of near images are exact
        y = torch.randint(-8, 8, (2, 3, *shape)).to(dtype)
        size = 10.0 ** torch.randint(-3, 3, y.shape)
        x = y + (size * torch.randn(y.shape)).to(dtype)
        one = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
        each = torch.rand(1, 3, *shape) * (torch.rand(1, 3, *shape) > 0.3)
        for mask in (None, one, each.expand(2, *each.shape[1:]), torch.zeros_like(one)):
            seen = x if mask is None else torch.where(mask > 0, x, torch.nan)
            for reduce, scale in ((False, 1.0), (True, 0.5)):
                compared(seen, y, mask, penalty=penalty, gamma=gamma, reduce=reduce, scale=scale)


@pytest.mark.parametrize(("penalty", "gamma"), PENALTIES)
def test_a_small_residual_keeps_its_digits(penalty: str, gamma: float) -> None:
    x = torch.tensor([1e-7, 1e-4, 1e-3, 0.1, 0.5, 0.999, 1.001, 1.5, 12.0, 13.0, 100.0]).view(1, 1, -1)
    compared(x, torch.zeros_like(x), None, penalty=penalty, gamma=gamma, reduce=False, scale=1.0)


@pytest.mark.parametrize(("penalty", "gamma"), PENALTIES)
def test_nan_stays_nan(penalty: str, gamma: float) -> None:
    x = torch.randn(1, 2, 40)
    x[0, 1, 7] = torch.nan
    value, slope, _ = taken("native", x, torch.zeros_like(x), None, penalty=penalty, gamma=gamma, reduce=True)
    assert torch.isfinite(value[0, 0])
    assert torch.isnan(value[0, 1])
    assert torch.isnan(slope[0, 1, 7])
    assert torch.isnan(slope).sum() == 1


def distributions(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Two, with entries of zero, very small ones, and equal ones."""
    x, t = (torch.rand(2, 3, *shape, dtype=dtype) * (torch.rand(2, 3, *shape) > 0.3) for _ in range(2))
    x[0, 0] *= 1e-30
    x[:, 1, ..., 0] = t[:, 1, ..., 0]
    return x, t


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("penalty", DIVERGENCE)
def test_divergences_are_those_of_the_reference(penalty: str, dtype: torch.dtype) -> None:
    """To some units of the logarithms, whose difference has no more digits; nothing under a mask is looked at."""
    eps = 100 * torch.finfo(dtype).eps
    for shape, reduce, masked in itertools.product(SHAPES, (False, True), (False, True)):
        x, t = distributions(shape, dtype)
        mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3) if masked else None
        seen = x if mask is None else torch.where(mask > 0, x, torch.nan)
        options = {"penalty": penalty, "gamma": 1e-3, "reduce": reduce, "scale": 0.5}
        found = taken("native", seen, t, mask, **options)
        expected = taken("reference", seen.double(), t.double(), mask, **options)
        for ours, theirs in zip(found, expected):
            torch.testing.assert_close(ours.double(), theirs, rtol=eps, atol=eps * x[0, 0].numel() ** reduce)


@pytest.mark.parametrize("penalty", DIVERGENCE)
def test_what_is_no_distribution_shows(penalty: str) -> None:
    """A negative entry is NaN, an infinite one is as in the reference; without an epsilon a zero may be infinite."""
    x = torch.tensor([-0.25, 0.5, 0.0, torch.inf, torch.nan, 0.5, 0.0, 1e-40]).view(1, 1, -1)
    t = torch.tensor([0.5, -0.25, 0.5, 0.5, 0.5, 0.0, 0.0, 1e-41]).view(1, 1, -1)
    for gamma in (0.0, 1e-6):
        options = {"penalty": penalty, "gamma": gamma, "reduce": False}
        found = taken("native", x, t, None, **options)
        expected = taken("reference", x.double(), t.double(), None, **options)
        for ours, theirs in zip(found, expected):
            torch.testing.assert_close(ours.double(), theirs, equal_nan=True, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("penalty", ["tukey", *DIVERGENCE])
def test_gradcheck(penalty: str) -> None:
    x, t = (torch.rand(1, 2, 7, dtype=torch.float64) + 0.1 for _ in range(2))
    with backend("native"):
        assert torch.autograd.gradcheck(
            lambda x, t: pointwise(x, t, penalty=penalty, gamma=1e-3), (x.requires_grad_(), t.requires_grad_())
        )


def test_the_table_of_the_kernel_is_that_of_the_reference() -> None:
    """The same names in the same order, which are the codes."""
    text = (Path(cpu.__file__).parent / "penalties.hpp").read_text()
    assert [name.lower() for name in re.findall(r"PENALTY\(([A-Z_]+),", text)] == [*RESIDUAL, *DIVERGENCE]


def test_the_number_of_threads_changes_nothing() -> None:
    x, y, before = torch.randn(2, 1, 40, 41, 42), torch.randn(2, 1, 40, 41, 42), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(taken("native", x, y, None, penalty="charbonnier", reduce=True))
    finally:
        torch.set_num_threads(before)
    for each in results[1:]:
        for ours, theirs in zip(each, results[0]):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layouts_and_half_precision(dtype: torch.dtype) -> None:
    x, y = torch.randn(2, 3, 8, 9).to(dtype), torch.randn(2, 3, 8, 9)
    laid = x.to(memory_format=torch.channels_last)
    value, slope, other = taken("native", laid[..., ::2], y[..., ::2], None, penalty="cauchy")
    expected = taken("reference", x.float()[..., ::2], y[..., ::2], None, penalty="cauchy")
    assert (value.dtype, slope.dtype, other.dtype) == (torch.float32, dtype, torch.float32)
    torch.testing.assert_close(value, expected[0])
    torch.testing.assert_close(slope, expected[1].to(dtype))
    torch.testing.assert_close(other, expected[2])


def test_what_the_kernel_leaves_to_the_reference() -> None:
    x = torch.rand(1, 2, 5)
    for target, options, why in (
        (x, {"penalty": "kullback_leibler", "joined": True}, "the sum over the channels is asked for"),
        (x[:, :1], {"penalty": "squared"}, "target is not an image of the input's shape"),
    ):
        with backend("native"), pytest.raises(RuntimeError, match=why):
            pointwise(x, target, **options)
