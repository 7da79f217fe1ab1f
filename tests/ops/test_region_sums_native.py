"""The kernel of ``region_sums`` where its short cuts end: large logits, labels of no class, large results."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medloss.ops import Terms, backend, native, region_sums
from medloss.ops.region_sums import Column

pytestmark = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")
ALL = int(
    Terms.SQUARES | Terms.DIFFERENCE | Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL | Terms.ERRORS | Terms.NEGATIVES
)


def sweep(
    input: Tensor, target: Tensor, name: str, mask: Tensor | None = None, **options: object
) -> tuple[Tensor, ...]:
    """Sums and gradient under a random cotangent, by one backend."""
    leaf = input.detach().clone().requires_grad_()
    options = {"activation": "softmax", "indexed": target.shape[1] == 1, "terms": ALL, "gamma": 2.0, **options}
    with backend(name):
        sums = region_sums(leaf, target, mask, **options)
        cotangent = torch.randn(sums.shape, generator=torch.Generator().manual_seed(3)).to(sums.dtype)
        (gradient,) = torch.autograd.grad(sums, leaf, cotangent)
    return [sums.detach(), gradient]


def held_to_the_reference(input: Tensor, target: Tensor, mask: Tensor | None = None, **options: object) -> None:
    expected = sweep(input.double(), target, "reference", mask, **options)
    found = sweep(input, target, "native", mask, **options)
    scale = expected[0].abs().amax().item()
    torch.testing.assert_close(found[0].double(), expected[0], rtol=3e-5, atol=1e-6 * scale)
    torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("terms", [int(Terms.NONE), int(Terms.FOCAL), ALL])
@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (30, 0), (1, 60), (1, -60), (100, 0), (1, 1000), (1, -1000)])
@pytest.mark.parametrize("soft", [False, True])
def test_logits_of_any_size(soft: bool, scale: float, offset: float, classes: int, terms: int) -> None:
    logits = scale * torch.randn(1, classes, 700) + offset
    labels = torch.randint(-1, classes + 1, (1, 1, 700))
    target = torch.rand(1, classes, 700) if soft else labels
    held_to_the_reference(logits, target, terms=terms)
    held_to_the_reference(logits, target, torch.rand(1, 1, 700) * (torch.rand(1, 1, 700) > 0.3), terms=terms)


def test_one_tile_out_of_range_and_the_rest_of_its_block() -> None:
    logits = torch.randn(1, 3, 40000)
    logits[..., 5000:5003] += 300
    logits[..., 20001] -= 300
    held_to_the_reference(logits, torch.randint(0, 3, (1, 1, 40000)))


def test_an_impossible_class_costs_its_logit() -> None:
    """The probability underflows; the likelihood must not."""
    logits = torch.tensor([[[0.0, 0.0], [-150.0, -torch.inf]]])
    sums, gradient = sweep(logits, torch.ones(1, 1, 2, dtype=torch.long), "native", terms=int(Terms.LIKELIHOOD))
    assert sums[0, 1, Column.NLL_TRUE] == 10150  # minus infinity is taken for -1e4
    assert torch.isfinite(gradient).all()
    sums, _ = sweep(logits[..., :1], torch.ones(1, 1, 1, dtype=torch.long), "native", terms=int(Terms.LIKELIHOOD))
    torch.testing.assert_close(sums[0, 1, Column.NLL_TRUE].item(), 150.0)


def test_saturated_logits() -> None:
    """Wrong by so much that the inverse of the probability overflows, though every exponential is in range."""
    labels = torch.randint(0, 3, (1, 1, 600))
    logits = torch.where(labels == torch.arange(3).view(1, 3, 1), -48.0, 48.0)
    for mask in (None, torch.rand(1, 1, 600)):
        held_to_the_reference(logits, labels, mask)
        held_to_the_reference(-logits, labels, mask)


@pytest.mark.parametrize("offset", [0.0, -45.0])
def test_labels_far_from_any_class_are_of_none(offset: float) -> None:
    labels = torch.tensor([0, 1, 2, 3, -1, -(2**31), 2**31, 2**32, 2**32 + 1, 2**40, -(2**40), 2**63 - 1, -(2**63)])
    logits = torch.randn(1, 3, labels.numel()) + offset
    held_to_the_reference(logits, labels.view(1, 1, -1))
    held_to_the_reference(logits, labels.view(1, 1, -1), ignore_index=2)
    small = labels.clamp(-1, 3).view(1, 1, -1)
    for dtype in (torch.int32, torch.int16, torch.float32, torch.float64):
        held_to_the_reference(logits, small.to(dtype))
    held_to_the_reference(logits, small.clamp_min(0).to(torch.uint8), ignore_index=3)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_nan_stays_in_its_voxel(activation: str) -> None:
    logits, labels = torch.randn(1, 3, 900), torch.randint(0, 3, (1, 1, 900))
    logits[0, 1, 77] = torch.nan
    sums, gradient = sweep(logits, labels, "native", activation=activation)
    assert sums[0, 1, Column.INPUT].isnan()
    assert gradient[0, 1, 77].isnan()
    assert gradient[..., torch.arange(900) != 77].isfinite().all()
    mask = torch.ones(1, 1, 900)
    mask[0, 0, 77] = 0
    sums, gradient = sweep(logits, labels, "native", mask, activation=activation)
    assert sums.isfinite().all()
    assert gradient.isfinite().all()
    assert (gradient[..., 77] == 0).all()


@pytest.mark.parametrize("options", [{}, {"activation": "sigmoid"}, {"dtype": torch.bfloat16}, {"last": True}], ids=str)
def test_a_gradient_too_large_for_the_caches(options: dict[str, object]) -> None:
    """It is written past them; rows of an odd length begin anywhere in a cache line."""
    options = dict(options)
    logits = torch.randn(1, 3, 89, 91, 93).to(options.pop("dtype", torch.float32))
    labels = torch.randint(0, 3, (1, 1, 89, 91, 93), dtype=torch.uint8)
    if options.pop("last", False):
        logits = logits.movedim(1, -1).contiguous().movedim(-1, 1)
    options = {"terms": int(Terms.LIKELIHOOD), **options}
    _, expected = sweep(logits, labels, "reference", **options)
    _, found = sweep(logits, labels, "native", **options)
    tolerance = 1e-2 if logits.dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("scale", [1, 60])
def test_threads_change_nothing(scale: float) -> None:
    logits, labels = scale * torch.randn(1, 3, 70000), torch.randint(0, 3, (1, 1, 70000))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(sweep(logits, labels, "native"))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert torch.equal(found[0][0], other[0])
        assert torch.equal(found[0][1], other[1])
