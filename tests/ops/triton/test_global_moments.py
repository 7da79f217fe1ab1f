"""``global_moments`` in Triton: held to the reference in value and in both gradients, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, device, move, value_and_gradient

import medloss
from medloss.ops.global_moments import triton_launch

OPERATOR = sys.modules["medloss.ops.global_moments"].OPERATOR


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small volume has many, more than are joined at once."""
    monkeypatch.setattr(triton_launch, "TILE", {torch.float32: 64, torch.float64: 64})
    monkeypatch.setattr(triton_launch, "AT_ONCE", 2)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("shape", [(9, 15), (2, 1, 3, 1, 2)])
def test_equals_the_reference(shape: tuple[int, ...]) -> None:
    """Without a mask, weights of voxels and of channels, truth values, nothing at all; a constant image."""
    x, y = (torch.randn(2, 2, *shape, dtype=torch.float64) + 3 for _ in range(2))
    y[0, 1] = 0.3
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    each = torch.rand(2, 2, *shape) * (torch.rand(2, 2, *shape) > 0.6)
    for weight, index in ((None, 0), (mask, 1), (each, 0), (mask[:1] > 0, 0), (0 * mask, 1)):
        compare(OPERATOR, move((x, y, weight)), index)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_types_and_layouts(dtype: torch.dtype) -> None:
    x, y = (torch.randn(1, 7, 11, 2).to(dtype).movedim(-1, 1) for _ in range(2))
    compare(OPERATOR, move((x, y, None)))
    compare(OPERATOR, move((x, y.float(), None)), 1)


@pytest.mark.parametrize("offset", [1000.0, -1e5])
def test_an_offset_costs_no_digits(offset: float) -> None:
    """Five of them stay in the moments of float32 images, with a tile to a row of them and many tiles."""
    x = torch.randn(1, 1, 9, 4096) + offset
    y = torch.randn(1, 1, 9, 4096) + 0.1 * x
    for mask in (None, torch.rand(1, 1, 9, 4096)):
        found, expected = (
            value_and_gradient(OPERATOR, path, move((*(image.to(kind) for image in (x, y)), mask)))
            for path, kind in (("triton", torch.float32), ("reference", torch.float64))
        )
        torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-5, atol=1e-5)
        largest = expected[1].abs().max().item()
        torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.usefixtures("small_tiles")
def test_an_outlier_that_hardly_counts_costs_no_digits() -> None:
    """Were nothing but it taken off, its square would cover the others'."""
    x, y = (torch.randn(1, 1, 150, dtype=torch.float64) for _ in range(2))
    mask = torch.ones_like(x)
    x[..., 70], mask[..., 70] = 1e6, 1e-12
    compare(OPERATOR, move((x, y, mask)))


@pytest.mark.usefixtures("small_tiles")
def test_what_lies_under_a_mask_and_what_counts() -> None:
    x, y, mask = torch.randn(1, 2, 12, 15), torch.randn(1, 2, 12, 15), torch.rand(1, 1, 12, 15) > 0.4
    mask[:, :, :8] = False  # whole tiles have no voxel that counts
    dirty = [torch.where(mask, image, torch.nan) for image in (x, y)]
    for one, other in zip(*(value_and_gradient(OPERATOR, "triton", move((*p, mask))) for p in (dirty, (x, y)))):
        assert torch.equal(one, other)
    x[0, 1, 10, 7] = torch.nan  # counted, it stays, in its channel
    value, gradient = value_and_gradient(OPERATOR, "triton", move((x, y, None)))
    assert value[0, 1, 1:3].isnan().all()
    assert gradient[0, 1].isnan().all()
    assert value[0, 0].isfinite().all()
    assert gradient[0, 0].isfinite().all()
    mask[0, 0, 10, 7] = True
    _, gradient = value_and_gradient(OPERATOR, "triton", move((x, y, mask)))
    assert torch.equal(gradient[0, 1].isnan().cpu(), mask[0, 0])  # and nowhere under the mask


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_images(dtype: torch.dtype) -> None:
    """Of no variance at all, whatever the constant, and of no slope; images that nearly are have theirs."""
    constants = torch.tensor([0.1, 1 / 3, 7.7, -1000.1, 3e4], dtype=dtype).view(1, -1, 1, 1)
    x, mask = constants.expand(1, 5, 11, 13).clone(), torch.rand(1, 1, 11, 13)
    y = torch.randn(1, 5, 11, 13, dtype=dtype)
    for weight in (None, mask):
        value, gradient = value_and_gradient(OPERATOR, "triton", move((x, y, weight)))
        assert (value[..., 1:3] == 0).all()
        assert (value[..., 3] > 0.5).all()
        assert (gradient == 0).all()
    x[..., 3] += 1e-3
    assert (value_and_gradient(OPERATOR, "triton", move((x, y, None)))[0][0, :3, 2] > 1e-8).all()


@pytest.mark.skipif(device() == "cpu", reason="there is no GPU")
def test_large_volumes_on_a_gpu() -> None:
    """Equal to the reference in double, and to themselves, bit by bit; and the host never waits."""
    x, y = (torch.rand(2, 2, 97, 96, 130, device="cuda") for _ in range(2))
    for index in (0, 1):
        compare(OPERATOR, (x, y, None), index)
    first, second = (value_and_gradient(OPERATOR, "triton", (x, y, None)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    loss, x = medloss.NormalizedCrossCorrelationLoss(), x.requires_grad_()
    assert "triton" in medloss.explain(loss, x, y)
    loss(x, y).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(x, y).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(device() == "cpu", reason="there is no GPU")
def test_more_voxels_than_32_bits_count_on_a_gpu() -> None:
    """The moments of two halves whose means are equal are the mean of theirs."""
    if torch.cuda.mem_get_info()[0] < 40 * 2**30:
        pytest.skip("the GPU has less than 40 GiB to spare")
    half = torch.rand(1, 1, 1040, 1024, 1024, device="cuda").bfloat16()
    whole, path = torch.cat([half, half], 2), OPERATOR.paths[-1]
    expected, found = (
        path.forward(OPERATOR.arguments(half, half.flip(2), None)),
        path.forward(OPERATOR.arguments(whole, whole.flip(2), None)),
    )
    torch.testing.assert_close(found[..., 1:], expected[..., 1:], rtol=1e-4, atol=1e-7)
    grad = torch.ones_like(found)
    of_whole, of_half = (
        path.backward(grad, OPERATOR.arguments(whole, whole, None)),
        path.backward(grad, OPERATOR.arguments(half, half, None)),
    )
    torch.testing.assert_close(2 * of_whole[:, :, 1040:].float(), of_half.float(), rtol=2e-2, atol=1e-12)


def launch(shape: tuple[int, ...], dtype: torch.dtype, mask: bool, wide: int) -> Launch:
    """A call on tensors that are never written, forward and backward."""

    def call() -> None:
        x, y = torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)
        args, path = (x, y, torch.empty(shape) if mask else None), OPERATOR.paths[-1]
        _, kept = path.forward_keeping(OPERATOR.arguments(*args))
        path.backward_from(kept, torch.empty(*shape[:2], 4), OPERATOR.arguments(*args))

    return Launch(call, wide=wide)


LAUNCHES = {
    "float32": launch((2, 1, 160, 192, 224), torch.float32, mask=False, wide=2),
    "bfloat16 and weights": launch((1, 2, 128, 128, 128), torch.bfloat16, mask=True, wide=2),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
