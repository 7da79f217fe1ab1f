"""A value and its gradient in one sweep are those of two, the gradient to the last bit."""

from __future__ import annotations

import pytest
import torch

from medloss.ops import backend, native
from medloss.ops.jacobian import PENALTIES, PENALTY
from medloss.ops.local_moments import OPERATOR as LOCAL_MOMENTS
from medloss.ops.operator import Operator

SHAPES = [(2, 13), (1, 7, 20), (2, 33, 6, 19)]
BACKENDS = ("native", "reference")


def mask_of(masked: bool, shape: tuple[int, ...]) -> torch.Tensor | None:
    return (torch.rand(shape[0], 1, *shape[1:]) > 0.2).float() if masked else None


def held_to_two_sweeps(operator: Operator, name: str, *args: object) -> None:
    if name == "native" and (native.unavailable() or native.slow_machine()):
        pytest.skip("no native library")
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            with backend(name):
                wanted = operator(*args)
                grad = torch.rand(wanted.shape)
                named = operator.arguments(*args)
                value, gradient = operator.with_gradient(grad, named)
                assert torch.equal(gradient, operator.gradient(grad, named))
            torch.testing.assert_close(value, wanted, rtol=2e-6, atol=1e-9)  # compiled twice, rounded in another order
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_local_moments(shape, masked, reduce, name) -> None:
    x, y = torch.rand(shape[0], 2, *shape[1:]), torch.rand(shape[0], 2, *shape[1:])
    held_to_two_sweeps(LOCAL_MOMENTS, name, x, y, mask_of(masked, shape), [1.0] * 5, True, 0.0, 1e-5, reduce)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("border", ["interior", "replicate"])
@pytest.mark.parametrize("stencil", ["central", "forward", "backward", "all"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_jacobian_penalty(shape, stencil, border, name) -> None:
    rank = len(shape) - 1
    field = 0.4 * torch.randn(shape[0], rank, *shape[1:])
    for penalty in PENALTIES:
        for masked in (False, True):
            args = (field, mask_of(masked, shape), penalty, 0.3, stencil, [1.0, 0.5, 1.3][:rank], border, True)
            held_to_two_sweeps(PENALTY, name, *args)


@pytest.mark.parametrize("name", BACKENDS)
def test_the_gradient_of_a_later_tensor(name) -> None:
    x, y = torch.rand(1, 1, 9, 11), torch.rand(1, 1, 9, 11, requires_grad=True)
    args = ([1.0] * 3, False, 0.0, 1e-5, True)
    grad = torch.rand(1, 1)
    with backend(name):
        found = LOCAL_MOMENTS.gradient(grad, LOCAL_MOMENTS.arguments(x, y.detach(), None, *args), of="target")
        (wanted,) = torch.autograd.grad(LOCAL_MOMENTS(x, y, None, *args), y, grad)
    torch.testing.assert_close(found, wanted)


def test_rows_that_pass_nothing_on() -> None:
    """A field that folds in one row of stencils alone: the others are left out, and the gradient is the reference's."""
    field = torch.zeros(1, 3, 9, 8, 17)
    field[0, 2, 4, 3, 8] = 3.0
    args = PENALTY.arguments(field, None, "hinge", 0.1, "central", [1.0] * 3, "replicate", True)
    with backend("reference"):
        wanted = PENALTY.gradient(torch.ones(1), args)
    assert wanted.abs().amax() > 0
    torch.testing.assert_close(PENALTY.gradient(torch.ones(1), args), wanted)
