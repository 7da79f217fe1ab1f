"""``local_moments`` and ``local_ssim`` in Triton: held to the reference, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, compare, move

from medloss.ops import BackendError, backend, local_ssim

OPERATORS = sys.modules["medloss.ops.local_moments"]
LNCC, SSIM = OPERATORS.OPERATOR, OPERATORS.SSIM_OPERATOR
UNEVEN = [0.2, 0.5, 1.0, 0.5, 0.2]
LINE, PLANE, VOLUME = (2, 2, 19), (1, 3, 7, 11), (2, 1, 6, 5, 9)


def images(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return (torch.rand(shape) + 3).to(dtype), torch.rand(shape).to(dtype)


def mask_of(kind: str, x: Tensor, y: Tensor) -> Tensor | None:
    """A mask, with NaN in both images under its zeros."""
    if kind == "none":
        return None
    channels = x.shape[1] if kind == "per channel" else 1
    kept = torch.rand(x.shape[0], channels, *x.shape[2:]) > 0.3
    for image in (x, y):
        image.masked_fill_(~kept, torch.nan)
    return kept if kind == "bool" else kept * torch.rand(kept.shape)


@pytest.mark.parametrize(
    ("shape", "mask", "renormalise", "reduce"),
    [
        (LINE, "none", False, True),
        (LINE, "per channel", False, False),
        (PLANE, "none", True, False),
        (PLANE, "bool", False, True),
        (VOLUME, "none", False, False),
        (VOLUME, "per channel", False, True),
    ],
)
def test_lncc_equals_the_reference(shape, mask, renormalise, reduce) -> None:
    x, y = images(shape)
    weight = mask_of(mask, x, y)
    compare(LNCC, move((x, y, weight, UNEVEN, renormalise, 1e-3, 1e-5, reduce)))


@pytest.mark.parametrize(
    ("shape", "border", "luminance", "reduce"),
    [
        (LINE, "valid", True, False),
        (LINE, "masked", True, True),
        (PLANE, "zero", True, True),
        (PLANE, "renormalise", False, False),
        (VOLUME, "valid", True, True),
        (VOLUME, "masked", True, False),
    ],
)
def test_ssim_equals_the_reference(shape, border, luminance, reduce) -> None:
    x, y = images(shape)
    weight = mask_of("per channel", x, y) if border == "masked" else None
    windows = [UNEVEN, [0.3, 0.6, 0.3], [1.0, 2.0, 1.0]][: len(shape) - 2]
    flat, sizes = [k for window in windows for k in window], [len(window) for window in windows]
    border = "valid" if border == "masked" else border
    compare(SSIM, move((x, y, weight, flat, sizes, border, 1e-3, 2e-3, luminance, reduce)))


def test_the_gradient_of_the_target() -> None:
    x, y = images((1, 2, 6, 7))
    weight = mask_of("per channel", x, y)
    compare(LNCC, move((x, y, weight, UNEVEN, False, 1e-3, 1e-5, False)), index=1)
    compare(SSIM, move((x, y, weight, UNEVEN * 2, [5] * 2, "valid", 1e-3, 2e-3, True, True)), index=1)


def test_slabs_that_share_what_is_left_of_the_last(monkeypatch, poisoned) -> None:
    """Scratch for a few planes of one volume at a time."""
    from medloss.ops.local_moments import walk

    monkeypatch.setattr(walk, "SCRATCH_BYTES", 0)
    x, y = images((1, 2, 7, 3, 4))
    compare(LNCC, move((x, y, None, [1.0] * 3, False, 0.0, 1e-5, True)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision(dtype) -> None:
    x, y = images((1, 2, 8, 9), dtype)
    compare(LNCC, move((x, y, None, [1.0] * 5, False, 0.0, 1e-5, False)), scale=5)
    if dtype == torch.float32:
        compare(SSIM, move((x, y, None, UNEVEN * 2, [5] * 2, "valid", 1e-4, 9e-4, True, True)), scale=5)


def test_an_offset_costs_no_digits() -> None:
    """Float32 has 7 digits, of which an offset of 1000 takes 4 of the images' and 7 of their squares'."""
    x, y = (torch.rand(1, 1, 7, 8) for _ in range(2))
    x, y = (x * 1024).round() / 1024, (y * 1024).round() / 1024  # the offset rounds nothing off
    plain, far = (
        LNCC.paths[-1].forward(move((x + by, y + by, None, [1.0] * 3, True, 0.0, 1e-5, False))) for by in (0, 1000)
    )
    torch.testing.assert_close(far, plain, rtol=1e-3, atol=1e-4)


def test_variances_below_the_least() -> None:
    """Which are clamped, and have no slope, in some windows of either image."""
    x, y = images((1, 1, 9, 9))
    compare(LNCC, move((x, y, None, [1.0] * 3, True, 1e-2, 0.6, False)))


def test_constant_images_and_nan() -> None:
    """A constant background, far from the mean, has no correlation, however little a variance may be."""
    x, y = torch.full((1, 1, 9, 9), 0.3), torch.full((1, 1, 9, 9), 0.7)
    x[..., 4:6, 4:6], y[..., 4:6, 3:5] = torch.rand(2, 2) + 1, torch.rand(2, 2) + 2
    found = LNCC.paths[-1].forward(move((x, y, None, [1.0] * 3, True, 0.0, 1e-15, False)))
    assert (found[..., :2, :] == 0).all()
    compare(LNCC, move((x, y, None, [1.0] * 3, True, 0.0, 1e-3, False)))
    compare(SSIM, move((x, x.clone(), None, [1.0] * 6, [3, 3], "valid", 0.0, 0.0, True, False)))
    y[0, 0, 4, 4] = torch.nan
    assert LNCC.paths[-1].forward(move((x, y, None, [1.0] * 3, True, 0.0, 1e-5, True))).isnan().all()


def test_what_the_kernels_do_not_take() -> None:
    x, y = images((1, 1, 9, 9))
    window = [[[1.0, 1.0, 1.0]] * 2]
    with backend("triton"):
        with pytest.raises(BackendError, match="several windows"):
            local_ssim(x, y, windows=window * 2, c1=1e-4, c2=9e-4)
        with pytest.raises(BackendError, match="reflects"):
            local_ssim(x, y, windows=window, c1=1e-4, c2=9e-4, border="reflect")
        with pytest.raises(BackendError, match="not symmetric"):
            local_ssim(x, y, windows=[[[1.0, 2.0, 3.0]] * 2], c1=1e-4, c2=9e-4)


def launch(kind: str, direction: str, shape: tuple[int, ...], dtype: torch.dtype, length: int, mask: bool) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        x, y = torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)
        weight = torch.empty(shape[0], 1, *shape[2:]) if mask else None
        rank, window = len(shape) - 2, [1.0] * length
        args = (
            (x, y, weight, window, False, 0.0, 1e-5, True)
            if kind == "lncc"
            else (x, y, weight, window * rank, [length] * rank, "valid", 1e-4, 9e-4, True, True)
        )
        path = (LNCC if kind == "lncc" else SSIM).paths[-1]
        path.forward(args) if direction == "forward" else path.backward(torch.empty(shape[:2]), args)

    # sums along the rows are of shifted rows, which do not lie at multiples of 16 bytes
    return Launch(call, wide=2 if direction == "forward" else 3)


LARGE = (1, 1, 160, 160, 160)
LAUNCHES = {
    "lncc": launch("lncc", "backward", LARGE, torch.float32, 9, False),
    "ssim, mask, bf16": launch("ssim", "backward", LARGE, torch.bfloat16, 11, True),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
