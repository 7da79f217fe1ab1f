"""``squared_errors``: the kernel beside the reference, and the reference beside a sum by hand."""

from __future__ import annotations

import pytest
import torch

from medloss.ops import backend, native, squared_errors

needs_library = pytest.mark.skipif(
    bool(native.unavailable()) or native.slow_machine(), reason=f"no native library: {native.unavailable()}"
)


def maps(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.rand(2, 3, *shape).to(dtype) for _ in range(3)]


def test_opcheck_and_gradients() -> None:
    input, target, cost = (map.requires_grad_() for map in maps((3, 2)))
    torch.library.opcheck(torch.ops.medloss.squared_errors.default, (input, target, cost.detach()))
    torch.autograd.gradcheck(squared_errors, (input, target, cost))
    torch.autograd.gradgradcheck(squared_errors, (input, target, cost))


def test_a_sum_by_hand() -> None:
    input, target, cost = torch.tensor([[[1.0, 2, 0]]]), torch.tensor([[[0.0, 4, 0]]]), torch.tensor([[[3.0, 0.5, 9]]])
    input.requires_grad_()
    total = squared_errors(input, target, cost)
    assert total.tolist() == [[5]]  # 3 * 1 + 0.5 * 4
    assert torch.autograd.grad(total.sum(), input)[0].tolist() == [[[6, -2, 0]]]


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("shape", [(1,), (9,), (5, 7), (31, 33, 17)])
def test_the_kernel_is_the_reference(shape: tuple[int, ...]) -> None:
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5), (torch.bfloat16, 1e-2)):
        input, target, cost = maps(shape, dtype)
        input = input.mT.contiguous().mT if len(shape) > 1 else input
        results = []
        for path in ("native", "reference"):
            one, two = input.clone().requires_grad_(), target.float().requires_grad_()
            with backend(path):
                value = squared_errors(one, two, cost)
                gradients = torch.autograd.grad((value * torch.arange(6).view(2, 3)).sum(), (one, two))
            results.append((value.detach(), *gradients))
        torch.testing.assert_close(*results, rtol=tolerance, atol=tolerance)


@needs_library
def test_threads_change_nothing_and_nan_stays() -> None:
    input, target, cost = maps((30, 40, 31), torch.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two = squared_errors(input, target, cost)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(squared_errors(input, target, cost), two)
    input[0, 1, 3, 3, 3] = torch.nan
    assert squared_errors(input, target, cost).isnan().nonzero().tolist() == [[0, 1]]
