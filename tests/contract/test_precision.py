"""Points 5, 6 and 9: half precision, degenerate volumes, and every form of tensor."""

from __future__ import annotations

import pytest
import torch
from cases import CLASSES, LossCase, cases, full_mask, value_and_gradient
from monai.data import MetaTensor
from turns import pairwise, ranked, ranks_of

HALF = (torch.float16, torch.bfloat16)


def cast(tensors: list[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]


@pytest.mark.parametrize("case,rank,dtype,autocast", pairwise(cases(cell="half"), ranks_of, HALF, [False, True]))
def test_half_precision(case: LossCase, rank: int, dtype: torch.dtype, autocast: bool) -> None:
    """The value is that of the rounded input in float32, the gradient has the input's dtype."""
    tensors = cast(case.inputs(rank), dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value, gradient = value_and_gradient(case.make(), tensors)
    expected, expected_gradient = value_and_gradient(case.make(), cast(tensors, torch.float32))
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient.float(), expected_gradient, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("case", cases("label", cell="many voxels"), ids=str)
def test_a_large_volume_in_float16_is_finite(case: LossCase) -> None:
    """More voxels than float16 counts (65504), all predicted right."""
    target = torch.ones(1, 1, 300, 300, dtype=torch.uint8) if case.indexed else torch.ones(1, CLASSES, 300, 300)
    logits = torch.zeros(1, CLASSES, 300, 300, dtype=torch.float16)
    logits[:, 1] = 8
    value, gradient = value_and_gradient(case.make(), [logits, target])
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("case,rank", ranked(cell="double"))
def test_double_stays_double(case: LossCase, rank: int) -> None:
    tensors = cast(case.inputs(rank), torch.float64)
    value, gradient = value_and_gradient(case.make(), tensors)
    assert value.dtype == gradient.dtype == torch.float64
    torch.testing.assert_close(value.float(), value_and_gradient(case.make(), cast(tensors, torch.float32))[0])


@pytest.mark.parametrize(
    "case,dtype,filling",
    pairwise(cases("label", cell="degenerate"), [torch.float32, *HALF], ["empty", "full", "saturated"]),
)
def test_degenerate_labels(case: LossCase, dtype: torch.dtype, filling: str) -> None:
    logits, target = case.inputs()
    target = torch.full_like(target, {"empty": 0, "full": 1, "saturated": 1}[filling])
    if filling == "saturated":
        logits = torch.where(torch.arange(CLASSES).view(1, -1, 1, 1, 1) == 1, 60.0, -60.0).expand_as(logits)
    for sign in (1, -1):
        value, gradient = value_and_gradient(case.make(), [(sign * logits).to(dtype), target])
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    "case,dtype,level",
    pairwise(cases("image", "field", "points", cell="degenerate"), [torch.float32, *HALF], [0.0, 1.0, 1000.0]),
)
def test_constant_volumes(case: LossCase, level: float, dtype: torch.dtype) -> None:
    tensors = [torch.full_like(tensor, level).to(dtype) for tensor in case.inputs()]
    value, gradient = value_and_gradient(case.make(), tensors)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("case", cases("label", "image", cell="one voxel"), ids=str)
def test_one_voxel(case: LossCase) -> None:
    one = [tensor[:1, :, :1, :1, :1] for tensor in case.inputs()]
    value, gradient = value_and_gradient(case.make(), one)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("case", cases(cell="all masked"), ids=str)
def test_everything_masked_costs_nothing(case: LossCase) -> None:
    tensors = case.inputs()
    mask = full_mask(case, tensors[0], 0.0)
    value, gradient = value_and_gradient(case.make(), tensors, mask)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("case", cases(cell="layouts", when=lambda case: case.kind != "points"), ids=str)
def test_every_layout_gives_the_same(case: LossCase) -> None:
    tensors = case.inputs(3)
    kept = [tensor.clone() for tensor in tensors]
    expected = value_and_gradient(case.make(), tensors)
    layouts = {
        "channels last": [tensor.contiguous(memory_format=torch.channels_last_3d) for tensor in tensors],
        "axes permuted": [tensor.movedim(2, 4).contiguous().movedim(4, 2) for tensor in tensors],
        "strided": [tensor.repeat_interleave(2, 3)[:, :, :, ::2] for tensor in tensors],
    }
    for name, laid in layouts.items():
        assert not laid[0].is_contiguous(), name
        torch.testing.assert_close(value_and_gradient(case.make(), laid), expected, msg=name)
    for tensor, before in zip(tensors, kept):
        assert torch.equal(tensor, before), "an input was changed"


@pytest.mark.parametrize("case", cases(cell="MetaTensor"), ids=str)
def test_a_metatensor_is_a_tensor(case: LossCase) -> None:
    tensors = case.inputs()
    expected = value_and_gradient(case.make(), tensors)
    meta = [MetaTensor(tensor) for tensor in tensors]
    value = case.make()(meta[0].requires_grad_(), *meta[1:])
    assert type(value) is torch.Tensor
    (gradient,) = torch.autograd.grad(value, meta[0])
    torch.testing.assert_close((value.detach(), torch.as_tensor(gradient)), (expected[0], expected[1]))


def test_a_sliced_batch_is_read_in_place() -> None:
    """A view of some samples is contiguous sample by sample, with a stride of its own between samples."""
    from medloss import DiceCELoss, backend

    logits, target = torch.randn(4, 3, 5, 6), torch.randint(0, 3, (4, 1, 5, 6))
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    with backend("native"):
        found = value_and_gradient(loss, [logits[::2], target[::2]])
    torch.testing.assert_close(found, value_and_gradient(loss, [logits[::2].contiguous(), target[::2].contiguous()]))
