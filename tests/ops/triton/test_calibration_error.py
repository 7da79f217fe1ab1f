"""``calibration_error`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops import BackendError, backend, calibration_error

OPERATOR = sys.modules["medloss.ops.calibration_error"].OPERATOR


def probabilities(bins: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Some beyond 0 and 1; of a class in the middle, on the edges of bins."""
    p = torch.rand(shape, dtype=torch.float64) * 1.2 - 0.1
    p[:, 1] = (p[:, 1] * bins).round() / bins
    return p.to(dtype)


@pytest.mark.parametrize(("bins", "shape"), [(1, (1,)), (5, (67,)), (7, (5, 7, 9)), (40, (17, 16))])
def test_equals_the_reference(bins, shape, poisoned) -> None:
    """Weights of voxels and of classes, soft and hard memberships, a mask of the whole batch, and one of nothing."""
    p, t = probabilities(bins, 2, 2, *shape), torch.rand(2, 2, *shape, dtype=torch.float64)
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    each = (torch.rand(2, 2, *shape) > 0.5) * torch.rand(2, 2, *shape)
    cases = ((t, None), (t > 0.7, mask), (t, each), (t, mask[:1] > 0), (t, 0 * mask))
    for target, weight in cases if bins == 7 else cases[:2]:
        compare(OPERATOR, move((p, target, weight, bins)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_and_layouts(dtype) -> None:
    """In the bins of single precision, where two are near; channels that lie last are read where they are."""
    p = probabilities(10, 2, 3, 7, 9, dtype=dtype).movedim(1, -1).contiguous().movedim(-1, 1)
    t, mask = torch.rand(2, 3, 7, 9) > 0.5, torch.rand(2, 1, 7, 9) > 0.2
    args = move((p, t, mask, 10))
    value, gradient = value_and_gradient(OPERATOR, "triton", args)
    expected = value_and_gradient(OPERATOR, "reference", args)
    torch.testing.assert_close((value, gradient), expected, rtol=1e-2 if dtype == torch.bfloat16 else 2e-3, atol=1e-6)
    assert gradient.stride() == p.stride()


def test_many_steps_of_a_program(monkeypatch) -> None:
    """And at every run the same numbers; what was kept is what is computed again."""
    monkeypatch.setattr(sys.modules["medloss.ops.triton_volume"], "PROGRAMS", 6)
    p, t = torch.rand(1, 2, 3001), (torch.rand(1, 2, 3001) > 0.6).float()
    args, path = move((p, t, None, 12)), OPERATOR.paths[-1]
    compare(OPERATOR, args)
    first, second = (value_and_gradient(OPERATOR, "triton", args) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    grad = torch.rand(1, 2).to(args[0].device)
    assert torch.equal(
        path.backward(grad, OPERATOR.arguments(*args)),
        path.backward_from(path.forward_keeping(OPERATOR.arguments(*args))[1], grad, OPERATOR.arguments(*args)),
    )


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_masks_nan_and_what_is_not_taken(poison) -> None:
    p, t, mask = torch.rand(1, 2, 300), torch.rand(1, 2, 300), torch.rand(1, 1, 300) > 0.4
    clean = value_and_gradient(OPERATOR, "triton", move((p, t, mask, 5)))
    dirty = value_and_gradient(OPERATOR, "triton", move((p.where(mask, poison), t.where(mask, poison), mask, 5)))
    assert all(torch.equal(a, b) for a, b in zip(clean, dirty, strict=True))
    for where in (0, 1):  # counted, a NaN stays
        pair = [p.clone(), t.clone()]
        pair[where][0, 1, 5] = torch.nan
        compare(OPERATOR, move((*pair, mask.fill_(True), 5)))
    with backend("triton"), pytest.raises(BackendError, match="200 bins are more than 128"):
        calibration_error(*move((p, t)), bins=200)


def launch(direction: str, dtype: torch.dtype, masked: bool, bins: int = 20) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        p, t = (torch.empty(1, 14, 128, 128, 128, dtype=dtype) for _ in range(2))
        args = (p, t, torch.empty(1, 1, 128, 128, 128) if masked else None, bins)
        path = OPERATOR.paths[-1]
        if direction == "forward":
            path.forward(OPERATOR.arguments(*args))
        else:
            path.backward_from((torch.empty(14, bins, dtype=dtype),), torch.empty(1, 14), OPERATOR.arguments(*args))

    return Launch(call, wide=1)  # the adding up, or the gradient; who counts has a voxel at a time


LAUNCHES = {
    "bins": launch("forward", torch.float32, False),
    "bins, mask, double": launch("forward", torch.float64, True),
    "gradient, mask": launch("backward", torch.float32, True),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bins", [10, 20, 100])
def test_large_volumes(bins, dtype) -> None:
    """Equal to the reference in double, and to themselves, bit by bit, however threads come; no host waits."""
    p = torch.rand(2, 3, 70, 64, 98, device="cuda").to(dtype)
    t = (torch.rand_like(p) < p**2).to(dtype)
    args = (p, t, (torch.rand(2, 1, 70, 64, 98, device="cuda") > 0.3).to(dtype), bins)
    doubled = value_and_gradient(OPERATOR, "reference", args)
    first = value_and_gradient(OPERATOR, "triton", args)
    for mine, theirs in zip(first, doubled, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())
    torch.cuda.set_sync_debug_mode("error")
    try:
        calibration_error(*args[:3], bins=bins)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    second = value_and_gradient(OPERATOR, "triton", args)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
