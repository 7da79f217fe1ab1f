"""``squared_errors``: the kernel beside the reference, and the reference beside a sum by hand."""

from __future__ import annotations

import itertools

import pytest
import torch

from medloss.ops import backend, native, squared_errors

needs_library = pytest.mark.skipif(
    bool(native.unavailable()) or native.slow_machine(), reason=f"no native library: {native.unavailable()}"
)
ACTIVATIONS = ("softmax", "sigmoid", "none")
SHAPES = [(1,), (63,), (17, 31), (11, 13, 17)]


def found(name: str, input: torch.Tensor, *args: object, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums and gradient under a random cotangent, by one backend."""
    leaf = input.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with backend(name):
        sums = squared_errors(leaf, *args, **options)
        cotangent = torch.rand(sums.shape, generator=torch.Generator().manual_seed(3)).to(sums.dtype)
        return sums.detach(), torch.autograd.grad(sums, leaf, cotangent)[0]


def close(one: tuple[torch.Tensor, ...], two: tuple[torch.Tensor, ...], tolerance: float) -> None:
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=tolerance, atol=tolerance)


def test_opcheck_and_gradients() -> None:
    input, target, cost = (torch.rand(2, 3, 3, 2, dtype=torch.float64, requires_grad=True) for _ in range(3))
    mask = torch.rand(2, 1, 3, 2)
    labels, fewer = torch.randint(0, 3, (2, 1, 3, 2)), cost.detach()[:, 1:]
    operator = torch.ops.medloss.squared_errors.default
    torch.library.opcheck(operator, (input, labels, fewer, mask, "softmax", True, None, 1))
    torch.autograd.gradcheck(squared_errors, (input, target, cost))
    torch.autograd.gradgradcheck(squared_errors, (input, target, cost))


def test_a_sum_by_hand() -> None:
    input, target, cost = torch.tensor([[[1.0, 2, 0]]]), torch.tensor([[[0.0, 4, 0]]]), torch.tensor([[[3.0, 0.5, 9]]])
    input.requires_grad_()
    total = squared_errors(input, target, cost)
    assert total.tolist() == [[5]]  # 3 * 1 + 0.5 * 4
    assert torch.autograd.grad(total.sum(), input)[0].tolist() == [[[6, -2, 0]]]
    assert squared_errors(input, target, cost, torch.tensor([[[2.0, 0.0, 1.0]]])).tolist() == [[6]]  # 2 * 3 * 1


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(("classes", "shape"), [*itertools.product((1, 2, 5), SHAPES), (3, (26, 27, 29))])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_kernel_is_the_reference(activation: str, classes: int, shape: tuple[int, ...]) -> None:
    """Labels beyond the classes, weights of 0 and others, an ignored label, memberships, the background left out."""
    labels = torch.randint(-1, classes + 2, (2, 1, *shape))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-5)):
        logits, cost = 3 * torch.randn(2, classes, *shape).to(dtype), torch.rand(2, classes, *shape)
        first = int(classes > 1)
        for target, options in [
            (labels, {"indexed": True}),
            (labels.to(torch.int16), {"indexed": True, "ignore_index": -1, "mask": mask}),
            (labels, {"indexed": True, "mask": mask > 0, "first": first}),
            (torch.rand(2, classes, *shape), {"mask": mask}),
        ]:
            given = (logits, target, cost[:, options.get("first", 0) :])
            options = {"activation": activation, **options}
            close(found("native", *given, **options), found("reference", *given, **options), tolerance)


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "batch sliced"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types_and_layouts(dtype: torch.dtype, layout: str) -> None:
    logits, cost = (4 * torch.randn(4, 3, 5, 6, 131)).to(dtype), torch.rand(2, 3, 5, 6, 131).mT.contiguous().mT
    logits = logits.to(memory_format=torch.channels_last_3d) if layout == "channels last" else logits
    logits = logits[::2] if layout == "batch sliced" else logits[:2]
    labels = torch.randint(0, 3, (2, 1, 5, 6, 131))
    options = {"activation": "softmax", "indexed": True}
    expected = found("native", logits.float().contiguous(), labels, cost, **options)
    ours = found("native", logits, labels, cost, **options)
    assert ours[1].dtype == dtype
    assert torch.equal(ours[0], expected[0])
    torch.testing.assert_close(ours[1], expected[1].to(dtype), rtol=1e-5, atol=0)


@needs_library
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_nothing_under_a_mask_is_looked_at(activation: str, poison: float) -> None:
    logits, cost, labels = torch.randn(1, 3, 600), torch.rand(1, 3, 600), torch.randint(0, 3, (1, 1, 600))
    keep = (torch.arange(600) % 5 > 0).view(1, 1, -1)
    inside, options = keep[0, 0], {"activation": activation, "indexed": True}
    kept = (logits[..., inside], labels[..., inside], cost[..., inside])
    expected = found("native", *kept, **options)
    logits[..., ~inside] = cost[..., ~inside] = poison
    for name in ("native", "reference"):
        for more in ({"mask": keep}, {"ignore_index": 9}):
            target = torch.where(keep, labels, 9) if "ignore_index" in more else labels
            sums, gradient = found(name, logits, target, cost, **options, **more)
            close((sums, gradient[..., inside]), expected, 1e-5)
            assert not gradient[..., ~inside].any()


@needs_library
def test_threads_change_nothing_and_nan_stays() -> None:
    input, cost, labels = torch.rand(2, 3, 30, 40, 31), torch.rand(2, 3, 30, 40, 31), torch.ones(2, 1, 30, 40, 31)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two = found("native", input, labels, cost, activation="sigmoid", indexed=True)
    finally:
        torch.set_num_threads(before)
    one = found("native", input, labels, cost, activation="sigmoid", indexed=True)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    input[0, 1, 3, 3, 3] = torch.nan
    sums, gradient = found("native", input, labels, cost, activation="sigmoid", indexed=True)
    assert sums.isnan().nonzero().tolist() == [[0, 1]]
    assert gradient.isnan().nonzero().tolist() == [[0, 1, 3, 3, 3]]
