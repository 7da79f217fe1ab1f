"""The kernel of ``power_sums`` beside the reference: every error, exponent and target, and where short cuts end."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from medloss.ops import backend, native, power_sums

pytestmark = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")
KINDS = [*itertools.product(["difference"], ["softmax", "sigmoid", "none"]), ("likelihood", "softmax"),
         ("likelihood", "sigmoid")]  # fmt: skip
VOLUMES = [(1, (1,)), (2, (63,)), (5, (17, 31)), (3, (9, 11, 13)), (19, (700,))]
EXPONENTS = [0.3, 0.5, 1.0, 1.5, 2.0, 2.7, 3.0]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def sweep(name: str, input: Tensor, target: Tensor, mask: Tensor | None = None, **options: object) -> list[Tensor]:
    """Sums and gradient under a random cotangent, by one backend."""
    leaf = input.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    options = {"activation": "softmax", "indexed": target.shape[1] == 1 < input.shape[1], **options}
    with backend(name):
        sums = power_sums(leaf, target, mask, **options)
        cotangent = torch.randn(sums.shape, generator=torch.Generator().manual_seed(3)).to(sums.dtype)
        (gradient,) = torch.autograd.grad(sums, leaf, cotangent)
    return [sums.detach(), gradient]


def held_to_the_reference(input: Tensor, target: Tensor, mask: Tensor | None = None, **options: object) -> None:
    expected = sweep("reference", input.double(), target, mask, **options)
    found = sweep("native", input, target, mask, **options)
    for one, other, dtype in zip(found, expected, (found[0].dtype, input.dtype), strict=True):
        assert one.dtype == dtype
        scale = max(other[other.isfinite()].abs().amax().item(), 1e-3)
        # a low power of 1 - p has a steep slope, to which a digit of p that float32 lacks is much
        tolerance = TOLERANCE[dtype] * (100 if options["exponent"] < 1 and dtype == torch.float32 else 1)
        torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("classes", "shape"), VOLUMES)
@pytest.mark.parametrize(("error", "activation"), KINDS)
def test_the_kernel_is_the_reference(
    error: str, activation: str, classes: int, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Labels beyond the classes, an ignored one, weights of 0 and others, memberships, empty classes.

    By volumes in turn every other exponent: each is met by every error, activation and type.
    """
    input, labels = 3 * torch.randn(2, classes, *shape, dtype=dtype), torch.randint(-1, classes + 1, (2, 1, *shape))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    single = {"error": error, "activation": activation, "indexed": True}
    if classes == 1 and error == "likelihood" and activation == "softmax":
        labels = labels * 0  # of nothing else there is a likelihood
    exponents = EXPONENTS[(VOLUMES.index((classes, shape)) + (dtype == torch.float64)) % 2 :: 2]
    for exponent, regions, both in zip(exponents, itertools.cycle([True, False]), itertools.cycle([True, True, False])):
        options = {**single, "exponent": exponent, "regions": regions, "both": both}
        held_to_the_reference(input, labels, **options)
        held_to_the_reference(input, labels.to(torch.int16), mask, **options, ignore_index=-1)
        held_to_the_reference(input, labels.clamp(0, 0), mask > 0, **options)
        if classes > 1:
            held_to_the_reference(input, torch.rand(2, classes, *shape), mask, **{**options, "indexed": False})
            held_to_the_reference(input, labels, **{**options, "regions": False, "both": False})


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(("scale", "offset"), [(30, 0), (1, 60), (100, 0), (300, 0), (1, -1000)])
@pytest.mark.parametrize("soft", [False, True])
def test_likelihoods_of_logits_of_any_size(soft: bool, scale: float, offset: float, both: bool) -> None:
    """The other classes' share of the sum vanishes, and its logarithm must not."""
    input, labels = scale * torch.randn(1, 4, 700) + offset, torch.randint(-1, 5, (1, 1, 700))
    target = torch.rand(1, 4, 700) if soft else labels
    for exponent, activation in itertools.product((0.3, 1.0, 1.5), ("softmax", "sigmoid")):
        options = {"error": "likelihood", "exponent": exponent, "activation": activation, "both": both}
        expected = sweep("reference", input.double(), target, **options)
        found = sweep("native", input, target, **options)
        assert found[1].isfinite().all()
        torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-4, atol=1e-4)
        if exponent >= 1:  # below, the slope at no error is as large as the least number that a type has
            torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "batch sliced"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("error", ["difference", "likelihood"])
def test_types_and_layouts(error: str, dtype: torch.dtype, layout: str) -> None:
    input = (4 * torch.randn(4, 3, 5, 6, 131)).to(dtype)
    input = input.to(memory_format=torch.channels_last_3d) if layout == "channels last" else input
    input, labels = input[::2] if layout == "batch sliced" else input[:2], torch.randint(0, 3, (2, 1, 5, 6, 131))
    for exponent, both in ((1.5, True), (0.3, False)):
        options = {"error": error, "exponent": exponent, "both": both}
        expected = sweep("native", input.float().contiguous(), labels, **options)
        found = sweep("native", input, labels, **options)
        assert torch.equal(found[0], expected[0])
        assert found[1].stride() == torch.empty_like(input).stride()
        torch.testing.assert_close(found[1], expected[1].to(dtype), rtol=1e-5, atol=0)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
@pytest.mark.parametrize(("error", "activation"), KINDS)
def test_nothing_under_a_mask_is_looked_at(error: str, activation: str, poison: float) -> None:
    input, labels = torch.rand(1, 3, 600), torch.randint(0, 3, (1, 1, 600))
    inside = torch.arange(600) % 5 > 0
    for both in (True, False):
        options = {"error": error, "exponent": 1.5, "activation": activation, "both": both}
        expected = sweep("native", input[..., inside], labels[..., inside], **options)
        dirty = input.masked_fill(~inside, poison)
        for mask, target in ((inside.view(1, 1, -1), labels), (None, labels.masked_fill(~inside, 9))):
            sums, gradient = sweep("native", dirty, target, mask, **options, ignore_index=9)
            torch.testing.assert_close(sums, expected[0])
            torch.testing.assert_close(gradient[..., inside], expected[1])
            assert not gradient[..., ~inside].any()
        sums, gradient = sweep("native", dirty, labels, **options)
        if poison != poison:  # counted, it stays
            assert sums.isnan().any()
            assert gradient[..., ~inside].isnan().all()
            assert gradient[..., inside].isfinite().all()


@pytest.mark.parametrize("error", ["difference", "likelihood"])
def test_threads_change_nothing(error: str) -> None:
    input, labels, threads = torch.randn(2, 3, 70000), torch.randint(-3, 7, (2, 1, 70000)) * 2**29, []
    labels = torch.where(labels.abs() > 2**30, labels, labels % 3)
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            threads.append([sweep("native", input, labels, error=error, exponent=0.7, both=b) for b in (False, True)])
    finally:
        torch.set_num_threads(before)
    for found, both in itertools.product(threads[1:], (False, True)):
        assert all(torch.equal(a, b) for a, b in zip(found[both], threads[0][both], strict=True))


def test_a_gradient_too_large_for_the_caches() -> None:
    """It is written past them, as that of each half is not; rows of an odd length begin anywhere in a cache line."""
    input, labels = torch.randn(1, 3, 90, 91, 93), torch.randint(0, 3, (1, 1, 90, 91, 93), dtype=torch.uint8)
    for error, both in (("difference", True), ("likelihood", False)):
        options = {"error": error, "exponent": 1.5, "both": both}
        _, whole = sweep("native", input, labels, **options)
        for part in (slice(0, 45), slice(45, None)):
            _, half = sweep("native", input[:, :, part].contiguous(), labels[:, :, part], **options)
            torch.testing.assert_close(whole[:, :, part], half)
