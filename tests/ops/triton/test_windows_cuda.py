"""What no interpreter shows of the kernels over images, on a real GPU: large volumes, order of sums, synchronisation.

The parity tests beside this file run on a GPU, too, where there is one; these are the ones that need it.
"""

from __future__ import annotations

import sys

import pytest
import torch
from triton_harness import compare, value_and_gradient

import medloss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
UNIT = [[0.0, 1.0, 0.0, 1.0]] * 2


def operator(name: str):
    return sys.modules[f"medloss.ops.{name}"].OPERATOR


def pair(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.rand(shape, device="cuda").to(dtype) for _ in range(2))


CALLS = {
    "local_moments": lambda x, y: (x, y, None, [1.0] * 9, False, 0.0, 1e-5, True),
    "differences": lambda x, y: (x, None, "bending", "compact", [1.0, 1.0, 2.0], [1.0] * 2, True, "interior", None),
    "joint_histogram": lambda x, y: (x, y, None, torch.tensor(UNIT, device="cuda"), "gaussian", 32, 0.5),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", CALLS)
def test_large_volumes(name, dtype) -> None:
    """Equal to the reference in double, and to themselves, bit by bit."""
    args = CALLS[name](*pair((2, 2, 97, 96, 130), dtype))
    compare(operator(name), args, scale=20)
    first, second = (value_and_gradient(operator(name), "triton", args) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_ssim_of_a_large_volume() -> None:
    x, y = pair((1, 2, 90, 96, 130), torch.float32)
    ssim = sys.modules["medloss.ops.local_moments"].SSIM_OPERATOR
    compare(ssim, (x, y, None, [1.0] * 33, [11] * 3, "valid", 1e-4, 9e-4, True, False), scale=20)


FLAT, SIZES = [0.2, 0.5, 1.0, 0.5, 0.2] * 3, [5] * 3
FORMS = {
    "signed": ("local_correlation", lambda x, y: (x, y, None, [1.0] * 9, False, 1e-5, True)),
    "mirrored": ("SSIM", lambda x, y: (x, y, None, FLAT, SIZES, "reflect", 1e-4, 9e-4, True, True)),
    "product": (
        "SSIM",
        lambda x, y: (x, y, None, FLAT + [1.0] * 99, [*SIZES, 33, 33, 33], "zero", 1e-4, 9e-4, True, True),
    ),
    "without luminance": ("SSIM", lambda x, y: (x, y, None, FLAT, SIZES, "zero", 1e-4, 9e-4, False, True)),
    "error": ("ERROR", lambda x, y: (x, y, None, [1.0] * 99, [33] * 3, "reflect", True)),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_windows(form) -> None:
    """Those beside the plain ones, on volumes of many programs: equal to the reference, and to themselves."""
    name, call = FORMS[form]
    owner = sys.modules["medloss.ops.local_moments"]
    chosen = operator(name) if name == "local_correlation" else getattr(owner, f"{name}_OPERATOR")
    args = call(*pair((1, 2, 70, 66, 130), torch.float32))
    compare(chosen, args, scale=20)
    first, second = (value_and_gradient(chosen, "triton", args) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_more_voxels_than_32_bits_count() -> None:
    """The last planes have the gradient of a volume of these planes alone."""
    if torch.cuda.mem_get_info()[0] < 40 * 2**30:
        pytest.skip("the GPU has less than 40 GiB to spare")
    x, y = pair((1, 1, 2080, 1024, 1024), torch.bfloat16)
    ends = [tensor[:, :, -48:].clone() for tensor in (x, y)]
    path, grad = operator("local_moments").paths[-1], torch.ones(1, 1, device="cuda")
    whole, part = (
        path.backward(grad, operator("local_moments").arguments(*CALLS["local_moments"](*images)))
        for images in ((x, y), ends)
    )
    torch.testing.assert_close(whole[:, :, -32:].float(), part[:, :, -32:].float(), rtol=2e-2, atol=1e-6)


def test_another_gpu_than_the_current_one() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    args = CALLS["local_moments"](*(torch.rand(1, 1, 9, 10, 11, device="cuda:1") for _ in range(2)))
    compare(operator("local_moments"), args, scale=20)


def test_slabs_of_a_large_volume(monkeypatch) -> None:
    """Slabs read what the last ones left: launches follow each other."""
    from medloss.ops.local_moments import slab_launcher

    x, y = pair((2, 2, 97, 96, 130), torch.float32)
    args = CALLS["local_moments"](x, y)
    whole = value_and_gradient(operator("local_moments"), "triton", args)
    monkeypatch.setattr(slab_launcher, "SCRATCH_BYTES", 2**24)
    parts = value_and_gradient(operator("local_moments"), "triton", args)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-6)
    assert torch.equal(parts[1], whole[1])


def test_distances_in_a_large_volume() -> None:
    sources = torch.rand(2, 2, 97, 96, 130, device="cuda") > 0.9999
    distance = operator("distance_map")
    found, expected = (
        value_and_gradient(distance, path, (sources, [1.0, 1.5, 0.7], torch.float64), -1)[0]
        for path in ("triton", "reference")
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LocalNormalizedCrossCorrelationLoss", {}),
        ("LocalNormalizedCrossCorrelationLoss", {"reduction": "none", "signed": True}),
        ("SSIMLoss", {}),
        ("SSIMLoss", {"border": "reflect"}),
        ("MSSSIML1Loss", {"border": "reflect"}),
    ],
)
def test_a_loss_never_waits_for_the_gpu(name, options) -> None:
    loss, (x, y) = getattr(medloss, name)(**options), pair((1, 1, 33, 34, 35), torch.float32)
    x.requires_grad_()
    assert "triton" in medloss.explain(loss, x, y)
    loss(x, y).sum().backward()  # compiled, and its tables handed over, by now
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(x, y).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
