"""Points 1 to 4: masks remove voxels, ignored labels are masks, all forms of target agree, background leaves late."""

from __future__ import annotations

import pytest
import torch
from cases import CLASSES, LossCase, box_mask, cases, full_mask, value_and_gradient
from turns import by_turns, numbered, pairwise, ranked, ranks_of

import medloss

UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
LABELS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, *UNSIGNED, torch.float32, torch.float64)


@pytest.mark.parametrize(
    "case,rank,reduction",
    pairwise(cases(cell="box mask", when=lambda case: not case.neighbourhood), ranks_of, ["mean", "sum"]),
)
def test_a_box_mask_equals_the_box(case: LossCase, rank: int, reduction: str) -> None:
    tensors = case.inputs(rank)
    mask, box = box_mask(tensors[0], case.kind)
    loss = case.make(reduction=reduction)
    value, gradient = value_and_gradient(loss, tensors, mask)
    expected, inside = value_and_gradient(loss, [tensor[box] for tensor in tensors])
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient[box], inside)
    gradient[box] = 0
    assert not gradient.any(), "a masked voxel has a gradient"


@pytest.mark.parametrize("case,rank", ranked(cell="window mask", when=lambda case: case.neighbourhood))
def test_a_window_counts_only_valid_voxels(case: LossCase, rank: int) -> None:
    """Under a box mask a local loss equals that of the box, whose border it must treat as the mask's edge."""
    tensors = case.inputs(rank)
    mask, box = box_mask(tensors[0], case.kind)
    loss = case.make()
    # beyond a mask's edge nothing is known: a window of images is renormalised there, a stencil of fields left out
    border = {"image": "renormalise", "field": "interior"}.get(case.kind)
    alone = case.make(border=border) if border and case.accepts("border") else loss
    value, gradient = value_and_gradient(loss, tensors, mask)
    expected, inside = value_and_gradient(alone, [tensor[box] for tensor in tensors])
    if not case.options.get("normalize"):  # whose factors are those of the whole volume
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient[box], inside, rtol=1e-4, atol=1e-6)
    gradient[box] = 0
    assert not gradient.any(), "a masked voxel has a gradient"


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("case,poison", by_turns(cases(cell="poisoned mask"), (NAN, INF), (NAN, -INF), (NAN, 1e30)))
def test_nothing_under_a_mask_is_looked_at(case: LossCase, poison: float) -> None:
    tensors = case.inputs()
    mask, _ = box_mask(tensors[0], case.kind)
    value, gradient = value_and_gradient(case.make(), tensors, mask)
    shown = mask.unsqueeze(-1) if case.kind == "points" else mask
    dirty = [
        torch.where(shown, tensor, torch.full_like(tensor, poison if tensor.is_floating_point() else 99))
        for tensor in tensors
    ]
    dirty_value, dirty_gradient = value_and_gradient(case.make(), dirty, mask)
    assert torch.equal(value, dirty_value)
    assert torch.equal(gradient, dirty_gradient)


@pytest.mark.parametrize("case", cases(cell="full mask"), ids=str)
def test_a_full_mask_changes_nothing_and_weights_scale_out(case: LossCase) -> None:
    tensors = case.inputs()
    full = full_mask(case, tensors[0])
    value, gradient = value_and_gradient(case.make(), tensors, full)
    images = case.kind == "image" and case.accepts("border")
    bare = case.make(border="renormalise") if images else case.make()
    expected, expected_gradient = value_and_gradient(bare, tensors)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-6)
    doubled, _ = value_and_gradient(case.make(), tensors, 2 * full)
    torch.testing.assert_close(doubled, expected, rtol=1e-3, atol=1e-5)  # but for the smoothing terms


@pytest.mark.parametrize(
    "case,ignore",
    by_turns(cases("label", cell="ignored label", when=lambda case: case.indexed), (1, 255), (1, -1), (1, -100)),
)
def test_an_ignored_label_is_a_mask(case: LossCase, ignore: int) -> None:
    logits, target = case.inputs()
    mask, _ = box_mask(logits)
    marked = torch.where(mask, target, torch.full_like(target, ignore))
    loss = case.make(ignore_index=ignore)
    valid = mask & (marked != ignore)
    value, gradient = value_and_gradient(loss, [logits, marked])
    expected, expected_gradient = value_and_gradient(case.make(), [logits, target], valid)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize(
    "case,dtype",
    by_turns(cases("label", cell="ignored label"), *([dtype] for dtype in (torch.uint16, torch.uint32, torch.uint64))),
)
def test_labels_without_a_sign(case: LossCase, dtype: torch.dtype) -> None:
    """As readers of images hand them over; the largest label of the type may be ignored, and -1 is nowhere."""
    backend = "reference" if dtype == torch.uint32 else None
    logits, target = case.inputs(max(2, case.row.least))
    mask, _ = box_mask(logits)
    with medloss.backend(backend):
        for ignored in (255, torch.iinfo(dtype).max):
            shown = ignored - 2**64 if ignored >= 2**63 else ignored
            marked = torch.where(mask, target.long(), torch.full_like(target, shown, dtype=torch.int64))
            found = case.make(ignore_index=ignored)(logits, marked.to(dtype))
            expected = case.make(ignore_index=shown)(logits, marked)
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
        if case.indexed:
            plain = case.make()(logits, marked.to(dtype))
            torch.testing.assert_close(case.make(ignore_index=-1)(logits, marked.to(dtype)), plain)


@pytest.mark.parametrize("case", cases("label", cell="nothing ignored"), ids=str)
def test_with_nothing_ignored_the_value_is_the_plain_one(case: LossCase) -> None:
    tensors = case.inputs()
    torch.testing.assert_close(case.make(ignore_index=255)(*tensors), case.make()(*tensors))


@pytest.mark.parametrize("case", cases("label", cell="ignored label", when=lambda case: not case.indexed), ids=str)
def test_an_ignored_value_of_a_membership_target_is_a_mask(case: LossCase) -> None:
    logits, target = case.inputs()
    mask, _ = box_mask(logits)
    marked = torch.where(mask, target, torch.full_like(target, 255.0))
    value, gradient = value_and_gradient(case.make(ignore_index=255), [logits, marked])
    expected, expected_gradient = value_and_gradient(case.make(), [logits, target], mask)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("case", cases("label", cell="ignored label", when=lambda case: case.indexed), ids=str)
def test_an_ignored_class_agrees_between_indices_and_one_hot(case: LossCase) -> None:
    logits, target = case.inputs()
    dense = torch.nn.functional.one_hot(target[:, 0], CLASSES).movedim(-1, 1).float()
    index = value_and_gradient(case.make(ignore_index=2), [logits, target])
    one_hot = value_and_gradient(case.make(ignore_index=2, to_onehot_y=False), [logits, dense])
    torch.testing.assert_close(index, one_hot)


ONE_HOT = [
    pytest.param(case, number, rank, id=f"{case}-{rank}D")
    for case, number in numbered(cases("label", cell="one-hot", when=lambda case: case.indexed))
    for rank in ranks_of(case)
]


@pytest.mark.parametrize("case,number,rank", ONE_HOT)
def test_indices_and_one_hot_agree(case: LossCase, number: int, rank: int) -> None:
    """Labels of every type at each rank; for cases that prepare them as another does, of every type at some rank."""
    logits, target = case.inputs(rank)
    dense = torch.nn.functional.one_hot(target[:, 0], CLASSES).movedim(-1, 1)
    expected = value_and_gradient(case.make(), [logits, target])
    labels = LABELS if number == 0 else LABELS[(number + rank) % 3 :: 3]
    for dtype in labels:
        torch.testing.assert_close(
            value_and_gradient(case.make(), [logits, target.to(dtype)]), expected, rtol=0, atol=0
        )
    for dtype in (*labels, torch.bool):
        found = value_and_gradient(case.make(to_onehot_y=False), [logits, dense.to(dtype)])
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "case", cases("label", cell="background", when=lambda case: case.accepts("include_background")), ids=str
)
def test_background_leaves_after_the_activation(case: LossCase) -> None:
    """Under a softmax the background's logit still shapes the other classes."""
    case = case.without("label_smoothing").with_options(include_background=False)  # smoothing spreads over all classes
    logits, target = case.inputs()
    _, gradient = value_and_gradient(case.make(), [logits, target])
    tied = bool(case.options.get("softmax")) or (case.name == "CrossEntropyLoss" and not case.options.get("sigmoid"))
    if case.name == "DiceCELoss":  # whose cross-entropy counts every channel
        tied = True
    assert bool(gradient[:, 0].any()) == tied
    assert gradient[:, 1:].any()


@pytest.mark.parametrize("name", ["DiceLoss", "TverskyLoss", "FocalLoss", "DiceCELoss", "CrossEntropyLoss"])
def test_a_loss_without_channels_raises(name: str) -> None:
    loss = getattr(medloss, name)(sigmoid=True, include_background=False)
    with pytest.raises(ValueError, match="leaves no channel"):
        loss(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4))
