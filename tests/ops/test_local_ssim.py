"""Structural similarity and error in windows: the definition, voxel by voxel, and what opcheck asks."""

from __future__ import annotations

import itertools

import pytest
import torch

from medloss.ops import local_error, local_ssim

GAUSS = [0.2, 0.6, 0.2]
WIDE = [0.05, 0.25, 0.4, 0.25, 0.05]
CONSTANTS = {"c1": 1e-4, "c2": 9e-4}


SHAPES_ALONE = ("test_schema", "test_faketensor")
ALL = (*SHAPES_ALONE, "test_autograd_registration", "test_aot_dispatch_dynamic")


@pytest.mark.parametrize(("border", "masked", "asked"), [("valid", False, ALL), ("reflect", True, SHAPES_ALONE)])
def test_opcheck(border: str, masked: bool, asked: tuple[str, ...]) -> None:
    x, y = (torch.rand(1, 2, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    args = (x, y, torch.rand(1, 1, 6) if masked else None, GAUSS, [3], border)
    torch.library.opcheck(torch.ops.medloss.local_ssim.default, (*args, 1e-4, 9e-4, True, False), test_utils=asked)
    torch.library.opcheck(torch.ops.medloss.local_error.default, (*args, True), test_utils=asked)


def windows_of(image: torch.Tensor, weights: list[list[float]], border: str, mask: torch.Tensor | None):
    """Every voxel's window over one channel: (position, voxels, weights), by looking up one voxel after the other."""
    for centre in itertools.product(*(range(size) for size in image.shape)):
        reach = [range(-(len(axis) // 2), len(axis) // 2 + 1) for axis in weights]
        voxels, kernel = [], []
        for offset in itertools.product(*reach):
            k = torch.tensor([axis[o + len(axis) // 2] for axis, o in zip(weights, offset)]).prod().item()
            place = [c + o for c, o in zip(centre, offset)]
            if border == "reflect":  # the outermost voxel stands once
                place = [abs(p) if p < size else 2 * (size - 1) - p for p, size in zip(place, image.shape)]
            inside = all(0 <= p < size for p, size in zip(place, image.shape))
            if inside:
                voxels.append(tuple(place))
                kernel.append(k * (1.0 if mask is None else mask[tuple(place)].item()))
            elif border == "zero":
                voxels.append(None)
                kernel.append(k)
        yield centre, voxels, torch.tensor(kernel, dtype=torch.float64)


def defined(x, y, windows, border, mask, c1, c2, luminance):
    """1 - l prod cs of one channel, from the moments of each window as the paper defines them."""
    result = torch.ones_like(x)
    for scale, weights in enumerate(windows):
        for centre, voxels, kernel in windows_of(x, weights, border, mask):
            kernel = kernel / kernel.sum().clamp_min(1e-300)
            u, v = (torch.stack([z.new_zeros(()) if i is None else z[i] for i in voxels]) for z in (x, y))
            mu, mv = (kernel * u).sum(), (kernel * v).sum()
            var_u, var_v = (kernel * (u - mu) ** 2).sum(), (kernel * (v - mv) ** 2).sum()
            covariance = (kernel * (u - mu) * (v - mv)).sum()
            result[centre] *= (2 * covariance + c2) / (var_u + var_v + c2)
            if luminance and scale == len(windows) - 1:
                result[centre] *= (2 * mu * mv + c1) / (mu**2 + mv**2 + c1)
    return (1 - result) * (1 if mask is None else mask)


@pytest.mark.parametrize("border", ["zero", "reflect", "renormalise"])
@pytest.mark.parametrize("shape", [(7,), (5, 4), (3, 4, 3)])
def test_the_map_is_the_definition(shape: tuple[int, ...], border: str) -> None:
    x, y = (torch.rand(shape, dtype=torch.float64) + 3 for _ in range(2))
    windows = [[GAUSS] * len(shape), [WIDE, *[GAUSS] * (len(shape) - 1)]]
    weights = torch.rand(shape, dtype=torch.float64) * (torch.rand(shape) > 0.3)
    for mask, luminance in ((None, True), (None, False), (weights, True)):
        seen = border if mask is None else "renormalise"
        expected = defined(x, y, windows, seen, mask, 1e-4, 9e-4, luminance)
        batched = None if mask is None else mask[None, None]
        found = local_ssim(
            x[None, None], y[None, None], batched, windows=windows, border=border, luminance=luminance, **CONSTANTS
        )
        torch.testing.assert_close(found[0, 0], expected)


@pytest.mark.parametrize("border", ["zero", "reflect", "renormalise"])
def test_the_error_is_the_definition(border: str) -> None:
    x, y = (torch.rand(5, 4, dtype=torch.float64) for _ in range(2))
    for mask in (None, torch.rand(5, 4, dtype=torch.float64) * (torch.rand(5, 4) > 0.3)):
        expected = torch.zeros_like(x)
        for centre, voxels, kernel in windows_of(x, [WIDE, GAUSS], border if mask is None else "renormalise", mask):
            errors = torch.stack([x.new_zeros(()) if i is None else (x[i] - y[i]).abs() for i in voxels])
            expected[centre] = (kernel * errors).sum() / kernel.sum().clamp_min(1e-300)
        batched = None if mask is None else mask[None, None]
        found = local_error(x[None, None], y[None, None], batched, window=[WIDE, GAUSS], border=border)
        torch.testing.assert_close(found[0, 0], expected if mask is None else mask * expected)


def test_valid_windows_are_the_inner_ones() -> None:
    x, y = torch.rand(2, 1, 8, 9), torch.rand(2, 1, 8, 9)
    windows = [[GAUSS, GAUSS], [WIDE, GAUSS]]
    whole = local_ssim(x, y, windows=windows, border="zero", **CONSTANTS)
    valid = local_ssim(x, y, windows=windows, border="valid", **CONSTANTS)
    torch.testing.assert_close(valid, whole[:, :, 2:-2, 1:-1])
    torch.testing.assert_close(
        local_ssim(x, y, windows=windows, border="valid", reduce=True, **CONSTANTS), valid.sum((2, 3))
    )
    error = local_error(x, y, window=windows[1], border="zero")[:, :, 2:-2, 1:-1]
    torch.testing.assert_close(local_error(x, y, window=windows[1], border="valid"), error)
    torch.testing.assert_close(local_error(x, y, window=windows[1], border="valid", reduce=True), error.sum((2, 3)))


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e4])
def test_an_offset_costs_no_digits(offset: float) -> None:
    """Each image on its own offset: what is left is the rounding of the images themselves."""
    x, y = torch.rand(1, 1, 12, 13) + offset, torch.rand(1, 1, 12, 13) + 2 * offset
    windows = [[[1 / 7] * 7] * 2]
    for luminance in (False, True):
        exact = local_ssim(x.double(), y.double(), windows=windows, luminance=luminance, **CONSTANTS)
        found = local_ssim(x, y, windows=windows, luminance=luminance, **CONSTANTS)
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)


def test_images_that_are_nearly_equal_keep_their_digits() -> None:
    """1 - SSIM of images that differ by 1e-3 is about 1e-5: as one minus a ratio it would have two digits left."""
    x = torch.rand(1, 1, 20, 20)
    y = x + 1e-3 * torch.randn(1, 1, 20, 20)
    exact = local_ssim(x.double(), y.double(), windows=[[WIDE, WIDE]], **CONSTANTS)
    found = local_ssim(x, y, windows=[[WIDE, WIDE]], **CONSTANTS)
    assert exact.mean() < 1e-4
    torch.testing.assert_close(found.double(), exact, rtol=2e-3, atol=0)
    assert not local_ssim(x, x, windows=[[WIDE, WIDE]], **CONSTANTS).any()


def test_constants_of_zero_are_finite() -> None:
    x = torch.rand(1, 1, 6, 6)
    flat = torch.full_like(x, 0.3)
    for one, two, expected in ((flat, flat, 0.0), (flat, x, None), (0 * flat, 0 * flat, 0.0)):
        one = one.clone().requires_grad_()
        found = local_ssim(one, two, windows=[[GAUSS, GAUSS]], c1=0.0, c2=0.0)
        (gradient,) = torch.autograd.grad(found.sum(), one)
        assert torch.isfinite(found).all()
        assert torch.isfinite(gradient).all()
        assert expected is None or not found.any()


def test_an_unknown_border_is_told() -> None:
    x = torch.rand(1, 1, 6)
    with pytest.raises(ValueError, match="border 'same' is unknown"):
        local_ssim(x, x, windows=[[GAUSS]], border="same", **CONSTANTS)
