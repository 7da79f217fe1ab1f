"""``mind`` in Triton: held to the reference in value and both gradients, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

OPERATOR = sys.modules["medloss.ops.mind"].OPERATOR
PATH = sys.modules["medloss.ops.mind.triton_launch"]


def images(shape: tuple[int, ...], masked: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """One of them so flat in part that the least noise is in force, and NaN where nothing counts."""
    x, y = torch.rand(shape, dtype=torch.float64) + 5, torch.rand(shape, dtype=torch.float64)
    x[:, :, : shape[2] // 2] *= 0.01
    if masked == "none":
        return x, y, None
    kept = torch.rand(shape[0], shape[1] if masked == "channel" else 1, *shape[2:]) > 0.3
    mask = kept.double() * torch.rand(kept.shape, dtype=torch.float64)
    return torch.where((mask > 0).expand(shape), x, torch.nan), y, mask


@pytest.mark.parametrize(
    ("shape", "masked", "radius", "dilation", "penalty", "reduce", "index"),
    [
        ((2, 1, 13), "none", 2, 1, "squared", False, 0),
        ((2, 2, 13), "voxel", 0, 2, "absolute", True, 1),
        ((1, 2, 7, 6), "channel", 1, 2, "squared", True, 0),
        ((1, 2, 7, 6), "none", 1, 1, "absolute", False, 1),
        ((1, 1, 4, 3, 5), "none", 0, 1, "squared", True, 0),
        ((1, 1, 4, 3, 5), "voxel", 1, 2, "absolute", False, -1),
    ],
)
def test_equals_the_reference(shape, masked, radius, dilation, penalty, reduce, index, poisoned) -> None:
    """Patches that reach beyond the border, and neighbours beyond it; weights of voxels and of channels."""
    compare(OPERATOR, move((*images(shape, masked), radius, dilation, penalty, reduce)), index=index, scale=10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_on_an_offset(dtype) -> None:
    """Only differences enter: an offset as of CT costs what it costs the images themselves."""
    offset = 1000 if dtype == torch.float32 else 0
    x, y = ((torch.rand(1, 1, 8, 9) + offset).to(dtype) for _ in range(2))
    compare(OPERATOR, move((x.mT, y.mT, None, 1, 1, "squared", True)), scale=10)


def test_ties_share_the_gradient() -> None:
    """Whole numbers: least distances are often equal, and their slope is shared as the reference shares it."""
    x, y = (torch.randint(0, 3, (1, 1, 6, 7)).double() for _ in range(2))
    compare(OPERATOR, move((x, y, None, 0, 1, "squared", True)))


@pytest.mark.filterwarnings("ignore:All-NaN")  # of NumPy, in the interpreter
def test_constant_images_and_nan() -> None:
    x, y = torch.full((1, 1, 5, 6), 0.3), torch.rand(1, 1, 5, 6)
    for pair in ((x, x), (x, y)):
        compare(OPERATOR, move((*pair, None, 1, 1, "squared", False)), scale=10)
    y[0, 0, 2, 3] = torch.nan
    assert value_and_gradient(OPERATOR, "triton", move((x, y, None, 1, 1, "squared", True)), -1)[0].isnan().all()


def test_under_a_mask_there_is_nothing() -> None:
    x, y = torch.full((2, 1, 1, 5, 6), torch.nan)
    for found in value_and_gradient(OPERATOR, "triton", move((x, y, torch.zeros(1, 1, 5, 6), 1, 1, "squared", True))):
        assert not found.any()


def test_what_is_kept_changes_nothing() -> None:
    x, y, mask = images((2, 1, 11), "voxel")
    args, path = move((x, y, mask, 1, 1, "squared", True)), OPERATOR.paths[-1]
    cotangent = torch.randn(2, 1, dtype=torch.float64).to(args[0])
    value, kept = path.forward_keeping(OPERATOR.arguments(*args))
    assert sum(tensor.numel() for tensor in kept) == 4
    assert torch.equal(value, path.forward(OPERATOR.arguments(*args)))
    assert torch.equal(
        path.backward_from(kept, cotangent, OPERATOR.arguments(*args)),
        path.backward(cotangent, OPERATOR.arguments(*args)),
    )


def slabs(depth: int, gradient: bool) -> list[list]:
    """Of a volume for which there is no room."""
    x = torch.rand(1, 1, depth, 1, 2)
    return list(
        PATH._SlabLauncher(x, x, OPERATOR.arguments(x, x, None, 1, 1, "squared", True), x.dtype).groups(gradient)
    )


def test_slabs_change_nothing(monkeypatch) -> None:
    """The noise is that of the whole volume, and patches reach into the next part."""
    monkeypatch.setattr(PATH, "SCRATCH_BYTES", 1)
    x, y = torch.rand(2, 1, 1, 4, 1, 2, dtype=torch.float64)
    assert len(slabs(4, False)[0]) == 2
    compare(OPERATOR, move((x, y, None, 1, 1, "squared", True)), index=-1)


def test_slabs_of_the_gradient_see_far_enough(monkeypatch) -> None:
    """Each plane's gradient depends on descriptors so far off, and these on distances further away."""
    monkeypatch.setattr(PATH, "SCRATCH_BYTES", 1)
    (parts,) = slabs(30, True)
    assert [part.low for part in parts[1:]] == [part.high for part in parts[:-1]]
    for part in parts:
        assert (part.from_plane, part.to_plane) == (max(0, part.low - 3), min(30, part.high + 3))
        assert (part.first, part.last) == (max(0, part.from_plane - 1), min(30, part.to_plane + 1))


def test_what_the_kernels_do_not_take() -> None:
    x, path = torch.ones(1, 1, 4), OPERATOR.paths[-1]
    rest = (1, 1, "squared", True)
    assert any(
        "4 spatial axes" in why for why in path.reasons(OPERATOR.arguments(x[..., None, None, None], x, None, *rest))
    )
    assert any("input is torch.int64" in why for why in path.reasons(OPERATOR.arguments(x.long(), x, None, *rest)))
    needs = ("mask",)
    assert "a gradient of mask is asked for" in path.reasons(OPERATOR.arguments(x, x, x, *rest), needs)


def launch(direction: str, dtype: torch.dtype, masked: bool, reduce: bool) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        x, y = (torch.empty(1, 2, 64, 64, 64, dtype=dtype) for _ in range(2))
        args = (x, y, torch.empty(1, 1, 64, 64, 64) if masked else None, 2, 2, "squared", reduce)
        if direction == "forward":
            OPERATOR.paths[-1].forward(OPERATOR.arguments(*args))
        else:
            OPERATOR.paths[-1].backward(torch.empty((1, 2) if reduce else x.shape), OPERATOR.arguments(*args))

    return Launch(call, wide=1)


LAUNCHES = {
    "values, double": launch("forward", torch.float64, False, False),
    "gradient, mask": launch("backward", torch.bfloat16, True, True),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
