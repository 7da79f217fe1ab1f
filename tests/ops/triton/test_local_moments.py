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
LINE, PLANE, VOLUME = (2, 1, 19), (1, 2, 5, 11), (1, 1, 6, 4, 7)


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
    x, y = images((1, 2, 3, 7))
    weight = mask_of("per channel", x, y)
    compare(LNCC, move((x, y, weight, UNEVEN, False, 1e-3, 1e-5, False)), index=1)
    compare(SSIM, move((x, y, weight, UNEVEN * 2, [5] * 2, "zero", 1e-3, 2e-3, True, True)), index=1)


def test_slabs_of_a_few_planes(monkeypatch, poisoned) -> None:
    """Scratch for a few planes of one volume at a time, which look at those around them again."""
    from medloss.ops.local_moments import slab_launcher

    monkeypatch.setattr(slab_launcher, "SCRATCH_BYTES", 0)
    x, y = images((1, 1, 7, 3, 4))
    compare(LNCC, move((x, y, None, [1.0] * 3, False, 0.0, 1e-5, True)))


def test_the_levels_that_a_forward_pass_keeps() -> None:
    x, y = images((1, 1, 5, 9))
    args, grad = move((x, y, None, UNEVEN, False, 1e-3, 1e-5, True)), move((torch.rand(1, 1).double(),))[0]
    path = LNCC.paths[-1]
    result, kept = path.forward_keeping(LNCC.arguments(*args))
    assert sum(tensor.numel() for tensor in kept) == 8
    assert torch.equal(result, path.forward(LNCC.arguments(*args)))
    assert torch.equal(
        path.backward_from(kept, grad, LNCC.arguments(*args)), path.backward(grad, LNCC.arguments(*args))
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision(dtype) -> None:
    x, y = images((1, 1, 7, 9), dtype)
    compare(LNCC, move((x, y, None, [1.0] * 5, False, 0.0, 1e-5, False)), scale=5)
    if dtype == torch.float32:
        compare(SSIM, move((x, y, None, UNEVEN * 2, [5] * 2, "valid", 1e-4, 9e-4, True, True)), scale=5)


def test_an_offset_costs_no_digits() -> None:
    """Float32 has 7 digits, of which an offset of 1000 takes 4 of the images' and 7 of their squares'."""
    x, y = (torch.rand(1, 1, 7, 8) for _ in range(2))
    x, y = (x * 1024).round() / 1024, (y * 1024).round() / 1024  # the offset rounds nothing off
    plain, far = (
        LNCC.paths[-1].forward(LNCC.arguments(*move((x + by, y + by, None, [1.0] * 3, True, 0.0, 1e-5, False))))
        for by in (0, 1000)
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
    found = LNCC.paths[-1].forward(LNCC.arguments(*move((x, y, None, [1.0] * 3, True, 0.0, 1e-15, False))))
    assert (found[..., :2, :] == 0).all()
    compare(LNCC, move((x, y, None, [1.0] * 3, True, 0.0, 1e-3, False)))
    compare(SSIM, move((x, x.clone(), None, [1.0] * 6, [3, 3], "valid", 0.0, 0.0, True, False)))
    y[0, 0, 4, 4] = torch.nan
    assert LNCC.paths[-1].forward(LNCC.arguments(*move((x, y, None, [1.0] * 3, True, 0.0, 1e-5, True)))).isnan().all()


def test_what_the_kernels_do_not_take() -> None:
    x, y = images((1, 1, 9, 9))
    with backend("triton"):
        with pytest.raises(BackendError, match="mirror more"):
            local_ssim(x, y, windows=[[[1.0] * 19] * 2], c1=1e-4, c2=9e-4, border="reflect")
        with pytest.raises(BackendError, match="not symmetric"):
            local_ssim(x, y, windows=[[[1.0, 2.0, 3.0]] * 2], c1=1e-4, c2=9e-4)


def launch(kind: str, shape: tuple[int, ...], dtype: torch.dtype, length: int, mask: bool, wide: int = 1) -> Launch:
    """A call on tensors that are never written, forward and backward."""

    def call() -> None:
        x, y = torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)
        weight = torch.empty(shape[0], 1, *shape[2:]) if mask else None
        rank, window = len(shape) - 2, [1.0] * length
        args = (
            (x, y, weight, window, False, 0.0, 1e-5, True)
            if kind == "lncc"
            else (x, y, weight, UNEVEN * rank, [5] * rank, "valid", 1e-4, 9e-4, True, True)
        )
        path = (LNCC if kind == "lncc" else SSIM).paths[-1]
        _, kept = path.forward_keeping((LNCC if kind == "lncc" else SSIM).arguments(*args))
        path.backward_from(kept, torch.empty(shape[:2]), (LNCC if kind == "lncc" else SSIM).arguments(*args))

    # A sliding window with many sums has one voxel to a thread: a warp's loads are of whole lines, and no wider. Wide
    # are the levels, and the planes of short windows
    return Launch(call, wide=wide)


LAUNCHES = {
    "lncc, 9": launch("lncc", (1, 1, 160, 160, 160), torch.float32, 9, False),
    "lncc, 3": launch("lncc", (2, 1, 160, 192, 224), torch.float32, 3, False, wide=2),
    "ssim, mask, bf16": launch("ssim", (1, 1, 160, 160, 160), torch.bfloat16, 5, True),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
