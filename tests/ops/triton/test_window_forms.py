"""Forms of the statistics of windows in Triton: signed, mirrored, products, long windows, the error; their sizes."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, compare, move

OPERATORS = sys.modules["medloss.ops.local_moments"]
LNCC, SSIM, ERROR = OPERATORS.OPERATOR, OPERATORS.SSIM_OPERATOR, OPERATORS.ERROR_OPERATOR
SIGNED = sys.modules["medloss.ops.local_correlation"].OPERATOR
SHORT, UNEVEN = [0.3, 0.6, 0.3], [0.2, 0.5, 1.0, 0.5, 0.2]
LINE, PLANE, VOLUME = (2, 1, 7), (1, 1, 4, 7), (1, 1, 2, 3, 5)


def images(shape: tuple[int, ...], mask: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Two images and their mask, with NaN under its zeros."""
    x, y = torch.rand(shape).double() + 3, torch.rand(shape).double()
    if not mask:
        return x, y, None
    kept = torch.rand(shape[0], 1, *shape[2:]) > 0.3
    for image in (x, y):
        image.masked_fill_(~kept, torch.nan)
    return x, y, kept * torch.rand(kept.shape)


def flat(*scales: list[list[float]]) -> tuple[list[float], list[int]]:
    windows = [window for scale in scales for window in scale]
    return [k for window in windows for k in window], [len(window) for window in windows]


@pytest.mark.parametrize(
    ("shape", "mask", "renormalise", "reduce"),
    [(LINE, False, True, True), (PLANE, True, False, False), (VOLUME, False, False, True)],
)
def test_the_signed_correlation(shape, mask, renormalise, reduce) -> None:
    compare(SIGNED, move((*images(shape, mask), SHORT, renormalise, 1e-5, reduce)))


def test_the_signed_correlation_of_the_target_and_of_constants() -> None:
    x, y, _ = images(PLANE, False)
    x[..., :4] = 0.5
    compare(SIGNED, move((x, y, None, [1.0] * 3, True, 1e-3, False)), index=1)
    compare(SIGNED, move((x, y, None, [1.0] * 3, True, 1e-3, False)))


@pytest.mark.parametrize(
    ("shape", "reduce"), [(LINE, True), (PLANE, False), ((1, 1, 2, 3, 4), True)]
)  # fmt: skip
def test_borders_that_mirror(shape, reduce) -> None:
    windows = [UNEVEN, SHORT, SHORT] if len(shape) < 5 else [SHORT, UNEVEN, SHORT]
    compare(SSIM, move((*images(shape, False), *flat(windows[: len(shape) - 2]), "reflect", 1e-3, 2e-3, True, reduce)))


@pytest.mark.parametrize(
    ("shape", "border", "mask", "luminance", "reduce"),
    [
        (LINE, "reflect", False, True, True),
        (LINE, "valid", False, True, False),
        (PLANE, "zero", False, True, True),
        (PLANE, "zero", True, True, False),
        ((1, 1, 2, 3, 4), "renormalise", False, False, True),
    ],
)
def test_products_over_windows(shape, border, mask, luminance, reduce, poisoned) -> None:
    rank = len(shape) - 2
    windows = flat([SHORT] * rank, [[1.0]] * rank) if rank == 3 else flat([SHORT] * rank, [UNEVEN] * rank)
    compare(SSIM, move((*images(shape, mask), *windows, border, 1e-3, 2e-3, luminance, reduce)))


@pytest.mark.parametrize(
    ("shape", "border", "mask", "reduce"),
    [(LINE, "reflect", False, True), (PLANE, "valid", True, False), (PLANE, "valid", False, True)],
)
def test_the_mean_error(shape, border, mask, reduce) -> None:
    compare(ERROR, move((*images(shape, mask), *flat([UNEVEN, SHORT][: len(shape) - 2]), border, reduce)))


def test_the_error_of_equal_voxels_and_of_nan() -> None:
    x, y, _ = images(LINE, False)
    y[0, 0, :4] = x[0, 0, :4]
    y[1, 0, 2] = torch.nan
    compare(ERROR, move((x, y, None, SHORT, [3], "zero", False)))


@pytest.mark.parametrize("border", ["zero", "reflect", "renormalise"])
def test_windows_too_long_to_march(monkeypatch, poisoned, border) -> None:
    from medloss.ops.local_moments import slab_launcher, windows_triton_kernels

    monkeypatch.setattr(slab_launcher, "HELD", dict.fromkeys(slab_launcher.HELD, 0))
    monkeypatch.setattr(windows_triton_kernels, "UNROLLED", type(windows_triton_kernels.UNROLLED)(1))
    monkeypatch.setattr(slab_launcher, "SCRATCH_BYTES", 0)
    windows = flat([SHORT, SHORT, UNEVEN])
    compare(SSIM, move((*images((1, 1, 5, 2, 4), False), *windows, border, 1e-3, 2e-3, True, True)))


def test_a_volume_without_a_voxel_that_counts(poisoned) -> None:
    x, y, mask = images((2, 1, 7), True)
    mask[0] = 0
    x[0] = y[0] = torch.nan
    compare(LNCC, move((x, y, mask, SHORT, False, 1e-3, 1e-5, False)))
    compare(SSIM, move((x, y, mask, *flat([SHORT], [UNEVEN]), "zero", 1e-3, 2e-3, True, True)))


def launches(monkeypatch, call) -> int:
    """Kernels that a call starts."""
    from triton.runtime.interpreter import GridExecutor
    from triton.runtime.jit import JITFunction

    started = []
    for owner, name in ((GridExecutor, "__call__"), (JITFunction, "run")):
        monkeypatch.setattr(owner, name, lambda *args, **kwargs: started.append(args))
    call()
    return len(started)


def test_few_launches(monkeypatch) -> None:
    """A few small volumes: levels, sums along rows and columns, scores, their sum; and three for the gradient."""
    x, y = (torch.rand(4, 1, 16, 16, 16) for _ in range(2))
    args = move((x, y, None, [1.0] * 9, False, 0.0, 1e-5, True))
    path, grad = LNCC.paths[-1], move((torch.ones(4, 1),))[0]
    assert launches(monkeypatch, lambda: path.forward_keeping(LNCC.arguments(*args))) == 4
    level = args[0].new_zeros(4, 8)
    assert launches(monkeypatch, lambda: path.backward_from((level,), grad, LNCC.arguments(*args))) == 3


def test_sizes() -> None:
    """Every voxel has its place; small volumes still are many programs, and large ones fill the GPU but once."""
    from medloss.ops.local_moments.sliding_window import sliding_window

    for voxels, groups, extent, length, dtype in [
        (1024, 1, 32, 9, torch.float32),
        (25600, 1, 160, 9, torch.float32),
        (25600, 1, 160, 9, torch.float64),
        (256, 4, 16, 9, torch.float32),
        (5, 2, 3, 3, torch.float32),
        (43008, 2, 160, 3, torch.float32),
    ]:
        found = sliding_window(voxels, groups, extent, length - 1, 5 * (length - 1), dtype, 132, "score")
        assert found.tiles * found.tile >= groups * voxels
        assert (found.chunks - 1) * found.chunk < extent <= found.chunks * found.chunk
        assert found.tile % (32 * found.warps) == 0
    small = sliding_window(1024, 1, 32, 8, 40, torch.float32, 132, "rows")
    assert math.prod(small.grid) >= 64
    large = sliding_window(25600, 1, 160, 8, 40, torch.float32, 132, "rows")
    assert 3 * 132 <= math.prod(large.grid) <= 8 * 132
    assert large.chunk >= 4 * 8  # little is done twice


def gaussian(length: int) -> list[float]:
    return [math.exp(-((i - length // 2) ** 2) / 4) for i in range(length)]


def launch(kind: str, border: str, lengths: list[int], dtype: torch.dtype) -> Launch:
    """A call on tensors that are never written, forward and backward."""

    def call() -> None:
        x, y = (torch.empty(1, 1, 160, 160, 160, dtype=dtype) for _ in range(2))
        windows = flat(*[[gaussian(length)] * 3 for length in lengths])
        operator, *options = {
            "ssim": (SSIM, *windows, border, 1e-4, 9e-4, True, True),
            "error": (ERROR, *windows, border, True),
            "signed": (SIGNED, windows[0][: lengths[0]], False, 1e-5, True),
        }[kind]
        path, args = operator.paths[-1], operator.arguments(x, y, None, *options)
        _, kept = path.forward_keeping(args)
        path.backward_from(kept, torch.empty(1, 1), args)

    return Launch(call, wide=0)


LAUNCHES = {
    "mirrored": launch("ssim", "reflect", [11], torch.float32),
    "product": launch("ssim", "zero", [7, 7], torch.float32),
    "error": launch("error", "zero", [33], torch.float32),
    "signed, double": launch("signed", "zero", [9], torch.float64),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
