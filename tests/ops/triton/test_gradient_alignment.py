"""``gradient_alignment`` in Triton: held to the reference in value and both gradients, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops import BackendError, backend, gradient_alignment

OPERATOR = sys.modules["medloss.ops.gradient_alignment"].OPERATOR
SCALE = [1.0, 0.4, 2.5]
CASES = [
    ((1,), None, True, True, 0),
    ((23,), None, True, True, 1),
    ((23,), "voxels", False, False, 0),
    ((5, 9), "channels", True, True, 1),
    ((5, 9), "batch", True, False, 0),
    ((3, 4, 5), None, True, False, 0),
    ((3, 4, 5), "voxels", True, True, 0),
    ((3, 4, 5), "channels", False, True, 0),
    ((3, 1, 2), "voxels", True, False, 1),
]
"""Shape, mask, whether the edge is relative and the result a sum, and the image whose gradient is asked for."""


@pytest.mark.parametrize(("shape", "masked", "relative", "reduce", "index"), CASES)
def test_equals_the_reference(shape, masked, relative, reduce, index, poisoned) -> None:
    """Volumes of unlike contrast; under the masks, which leave lone voxels, NaN and Inf."""
    x, y = (torch.randn(2, 2, *shape, dtype=torch.float64) * torch.rand(2, 2, *[1] * len(shape)) for _ in range(2))
    mask = None
    if masked:
        size = {"voxels": (2, 1), "channels": (2, 2), "batch": (1, 1)}[masked]
        mask = torch.rand(*size, *shape) * (torch.rand(*size, *shape) > 0.4)
        mask = mask > 0 if masked == "batch" else mask
        x, y = x.masked_fill(mask == 0, torch.nan), y.masked_fill(mask == 0, torch.inf)
    compare(OPERATOR, move((x, y, mask, SCALE[: len(shape)], 0.3, relative, reduce)), index)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_and_layouts(dtype) -> None:
    x, y = (torch.randn(1, 2, 9, 7).to(dtype).mT for _ in range(2))
    compare(OPERATOR, move((x, y, torch.rand(1, 1, 7, 9) > 0.2, SCALE[:2], 0.1, True, True)))


def test_degenerate_images() -> None:
    """A constant image has no direction, and nothing is compared where nothing counts."""
    x, y = torch.ones(1, 1, 2, 5), torch.randn(1, 1, 2, 5)
    for edge, mask, index in ((0.0, None, 0), (0.0, None, 1), (0.1, None, 0), (0.1, torch.zeros(1, 1, 2, 5), 1)):
        args = move((x, y, mask, [1.0, 1.0], edge, True, False))
        value, gradient = value_and_gradient(OPERATOR, "triton", args, index)
        assert (value == (1 if mask is None else 0)).all()
        assert gradient.isfinite().all()
        assert index == 0 or not gradient.any()


def test_nan_stays_one_and_what_is_not_taken() -> None:
    """Also at every run the same numbers, and what was kept is what is computed again."""
    x, y = torch.randn(1, 2, 6, 7, dtype=torch.float64), torch.randn(1, 2, 6, 7, dtype=torch.float64)
    args, path = move((x, y, None, [1.0, 1.0], 0.1, True, True)), OPERATOR.paths[-1]
    first, second = (value_and_gradient(OPERATOR, "triton", args) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    grad = torch.rand(1, 2, dtype=torch.float64).to(args[0].device)
    assert torch.equal(
        path.backward(grad, OPERATOR.arguments(*args)),
        path.backward_from(path.forward_keeping(OPERATOR.arguments(*args))[1], grad, OPERATOR.arguments(*args)),
    )
    x[0, 1, 3, 3] = torch.nan
    compare(OPERATOR, move((x, y, None, [1.0, 1.0], 0.1, False, False)))
    with backend("triton"), pytest.raises(BackendError, match=r"target is torch\.int64"):
        gradient_alignment(*move((x, y.long())), axis_scale=[1.0, 1.0], edge=0.1)


def launch(direction: str, dtype: torch.dtype, masked: bool, reduce: bool = True, wide: int = 0) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        x, y = (torch.empty(1, 2, 96, 96, 96, dtype=dtype) for _ in range(2))
        mask = torch.empty(1, 1, 96, 96, 96) if masked else None
        args = (x, y, mask, [1.0] * 3, 0.1, True, reduce)
        grad = torch.empty((1, 2) if reduce else x.shape)
        path = OPERATOR.paths[-1]
        path.forward(OPERATOR.arguments(*args)) if direction == "forward" else path.backward(
            grad, OPERATOR.arguments(*args)
        )

    return Launch(call, wide)


LAUNCHES = {
    "sums": launch("forward", torch.float32, False, wide=-1),
    "gradient of sums, mask, bf16": launch("backward", torch.bfloat16, True),
    "gradient of a map, double": launch("backward", torch.float64, False, reduce=False),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_volumes(dtype, reduce) -> None:
    """Equal to the reference in double, and to themselves, bit by bit, however threads come; no host waits."""
    x, y = (torch.rand(2, 2, 70, 64, 98, device="cuda").to(dtype) for _ in range(2))
    args = (x, y, (y[:, :1] > 0.1).to(dtype), SCALE, 0.1, True, reduce)
    for index in (0, 1):
        compare(OPERATOR, args, index, scale=20)
        first = value_and_gradient(OPERATOR, "triton", args, index)
        torch.cuda.set_sync_debug_mode("error")
        try:
            gradient_alignment(x, y, args[2], axis_scale=SCALE, edge=0.1, reduce=reduce)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        second = value_and_gradient(OPERATOR, "triton", args, index)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.mem_get_info()[0] < 30 * 2**30, reason="needs 30 GB of a GPU's memory"
)
def test_offsets_beyond_32_bits() -> None:
    """The last of many volumes, whose offset is beyond 2^31, is as it is alone."""
    x = torch.rand(1, 129, 256, 256, 256, dtype=torch.bfloat16, device="cuda")
    path, options = OPERATOR.paths[-1], (None, SCALE, 0.1, True, True)
    alone = (x[:, -1:].clone(), x[:, -1:].flip(-1))
    grad = torch.rand(1, 129, device="cuda")
    found, expected = (
        path.forward(OPERATOR.arguments(x, x.flip(-1), *options)),
        path.forward(OPERATOR.arguments(*alone, *options)),
    )
    torch.testing.assert_close(found[:, -1:], expected)
    found = path.backward(grad, OPERATOR.arguments(x, x.flip(-1), *options))[:, -1:]
    torch.testing.assert_close(found, path.backward(grad[:, -1:].contiguous(), OPERATOR.arguments(*alone, *options)))
