"""Deep supervision: weights, every form of outputs, resized targets, masks, and MONAI's numbers."""

from __future__ import annotations

import monai.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import medloss
from medloss.supervision import DeepSupervisionLoss, largest, nearest, shares

DICE_CE = {"softmax": True, "to_onehot_y": True}


def pyramid(sizes: tuple[int, ...] = (16, 8, 4), rank: int = 2, classes: int = 3, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, classes, *[size] * rank, generator=generator) for size in sizes]


def labels(size: int = 16, rank: int = 2, classes: int = 3) -> torch.Tensor:
    return torch.randint(0, classes, (2, 1, *[size] * rank), generator=torch.Generator().manual_seed(9))


def test_by_hand() -> None:
    """Squared error 1/4 at the first level and 1 at the second, weights 2/3 and 1/3."""
    outputs = [torch.full((1, 1, 4), 0.5), torch.ones(1, 1, 2)]
    loss = DeepSupervisionLoss(torch.nn.MSELoss())
    assert loss(outputs, torch.zeros(1, 1, 4)).item() == pytest.approx(2 / 3 / 4 + 1 / 3)
    terms = loss.terms({"fine": outputs[0], "coarse": outputs[1]}, torch.zeros(1, 1, 4))
    assert list(terms) == ["fine", "coarse"]
    assert terms["coarse"].weight == pytest.approx(1 / 3)
    assert terms["coarse"].raw == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [8 / 15, 4 / 15, 2 / 15, 1 / 15]),
        ({"drop_last": True}, [4 / 7, 2 / 7, 1 / 7, 0]),  # nnU-Net
        ({"normalise": False, "least": 0.2}, [1, 0.5, 0.25, 0.2]),
        ({"weights": "same"}, [0.25] * 4),
        ({"weights": "two", "normalise": False}, [1, 0.5, 0.5, 0.5]),
        ({"weights": [3, 0, 1, 0]}, [0.75, 0, 0.25, 0]),
    ],
)
def test_weights(options: dict, expected: list[float]) -> None:
    assert DeepSupervisionLoss(torch.nn.MSELoss(), **options).level_weights(4) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(
    rank=st.integers(1, 3),
    seed=st.integers(0, 99),
    mode=st.sampled_from(["exp", "same", "two"]),
    levels=st.integers(1, 6),
)
def test_monai_equals_ours_not_normalised(rank: int, seed: int, mode: str, levels: int) -> None:
    outputs = pyramid((13, 7, 4, 3, 2, 1)[:levels], rank, seed=seed)
    target = labels(13, rank).float()
    theirs = monai.losses.DeepSupervisionLoss(monai.losses.DiceCELoss(**DICE_CE), weight_mode=mode)
    ours = DeepSupervisionLoss(medloss.DiceCELoss(**DICE_CE), weights=mode, normalise=False, least=0.0625)
    results = []
    for loss in (ours, theirs):
        given_ = [output.clone().requires_grad_() for output in outputs]
        value = loss(given_, target)
        results.append((value.detach(), *torch.autograd.grad(value, given_)))
    torch.testing.assert_close(results[0], results[1], rtol=2e-4, atol=2e-6)


def test_every_form_of_outputs_gives_the_same() -> None:
    outputs, target = pyramid((8, 8, 8)), labels(8)
    loss = DeepSupervisionLoss(medloss.DiceCELoss(**DICE_CE))
    expected = loss(outputs, target)
    dense = torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1).float()
    of_memberships = DeepSupervisionLoss(medloss.DiceCELoss(softmax=True))
    for found in (
        loss(tuple(outputs), target),
        loss(torch.stack(outputs, 1), target),  # as DynUNet gives them
        loss(torch.stack(outputs, 1), target[:, 0]),
        loss({"a": outputs[0], "b": outputs[1], "c": outputs[2]}, {"c": target, "b": target, "a": target}),
        loss(outputs, [target] * 3),
        of_memberships(torch.stack(outputs, 1), dense),
    ):
        torch.testing.assert_close(found, expected)
    alone = medloss.DiceCELoss(**DICE_CE)(outputs[0], target)
    for found in (loss(outputs[0], target), loss(outputs[0], target[:, 0]), loss(outputs[:1], target)):
        torch.testing.assert_close(found, alone)
    entropy = DeepSupervisionLoss(torch.nn.CrossEntropyLoss())
    torch.testing.assert_close(
        entropy(outputs[0], target[:, 0]), torch.nn.functional.cross_entropy(outputs[0], target[:, 0])
    )


def test_nearest_is_that_of_torch() -> None:
    for old, new in ((13, 7), (7, 13), (16, 4), (5, 5), (9, 2)):
        target = torch.rand(2, 1, old, old)
        expected = torch.nn.functional.interpolate(target, size=(new, old), mode="nearest-exact")
        assert torch.equal(nearest(target, (new, old)), expected)
    large = torch.tensor([[[2**40 + 1, 0]]])
    assert nearest(large, (1,)).item() in (2**40 + 1, 0)


def test_a_small_lesion_is_not_deleted() -> None:
    """One voxel of the lesion in 64: the nearest voxel of a coarse cell misses it, the largest label does not."""
    target = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    target[0, 0, 2, 5] = 1
    assert not nearest(target, (2, 2)).any()
    assert largest(target, (2, 2), None).tolist() == [[[[0, 1], [0, 0]]]]
    target[0, 0, :4, :4], target[0, 0, 7, 0] = 255, 255
    assert largest(target, (2, 2), 255).tolist() == [[[[255, 1], [0, 0]]]]
    output = torch.zeros(1, 2, 2, 2)
    found, held = shares(target, output, 255)
    assert found[0, 1].tolist() == [[0, 1 / 16], [0, 0]]
    assert found[0, 0, 1].tolist() == [1, 1]
    assert held.tolist() == [[[[False, True], [True, True]]]]


def test_the_gradient_of_a_coarse_output_sees_the_lesion() -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[0, 0, 2, 5] = 1
    coarse = torch.zeros(1, 2, 2, 2)
    values = {}
    for resize in ("nearest", "max", "soft"):
        given_ = coarse.clone().requires_grad_()
        loss = DeepSupervisionLoss(medloss.CrossEntropyLoss(to_onehot_y=True), resize=resize, weights=[0, 1])
        (values[resize],) = torch.autograd.grad(loss([torch.zeros(1, 2, 8, 8), given_], target), given_)
    # cross-entropy of four cells: (p - t) / 4 at the lesion's cell
    assert values["nearest"][0, 1, 0, 1].item() == pytest.approx(0.5 / 4)
    assert values["max"][0, 1, 0, 1].item() == pytest.approx(-0.5 / 4)
    assert values["soft"][0, 1, 0, 1].item() == pytest.approx((0.5 - 1 / 16) / 4)


def test_soft_shares_of_an_ignored_label_count_what_is_left() -> None:
    outputs, target = pyramid((8, 4)), labels(8)
    target[:, :, :4] = 255
    loss = DeepSupervisionLoss(
        medloss.CrossEntropyLoss(to_onehot_y=True, ignore_index=255), resize="soft", weights="same"
    )
    dense = torch.nn.functional.one_hot(target[:, 0, 4:], 3).movedim(-1, 1).float()
    half = torch.nn.functional.avg_pool2d(dense, 2)
    entropy = medloss.CrossEntropyLoss()
    expected = entropy(outputs[0][:, :, 4:], dense) / 2 + entropy(outputs[1][:, :, 2:], half) / 2
    torch.testing.assert_close(loss(outputs, target), expected)


def test_masks_follow_their_outputs() -> None:
    outputs, target = pyramid((8, 4)), labels(8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., :4] = 1
    loss = DeepSupervisionLoss(medloss.DiceCELoss(**DICE_CE))
    cropped = loss([outputs[0][..., :4], outputs[1][..., :2]], target[..., :4])
    torch.testing.assert_close(loss(outputs, target, mask), cropped)
    torch.testing.assert_close(loss(outputs, target, mask=[mask, nearest(mask, (4, 4))]), cropped)
    dirty = [torch.where(nearest(mask, output.shape[2:]) > 0, output, torch.nan) for output in outputs]
    torch.testing.assert_close(loss(dirty, target, mask), cropped)


def test_it_wraps_sums_of_losses_and_compiles() -> None:
    outputs, target = pyramid((8, 4)), labels(8)
    whole = medloss.WeightedSum({"dice": medloss.DiceLoss(**DICE_CE), "ce": medloss.CrossEntropyLoss(to_onehot_y=True)})
    expected = DeepSupervisionLoss(medloss.DiceCELoss(**DICE_CE))(outputs, target)
    torch.testing.assert_close(DeepSupervisionLoss(whole)(outputs, target), expected)
    for resize in ("nearest", "max", "soft"):
        loss = DeepSupervisionLoss(medloss.DiceCELoss(**DICE_CE), resize=resize)
        torch._dynamo.reset()
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(outputs, target), loss(outputs, target))
    assert "resize='soft'" in repr(loss)
    assert not loss.state_dict()


def test_a_label_to_ignore_is_found_in_a_part_even_if_it_is_0() -> None:
    """The largest label of a cell would be that of the ignored one, or a 0 that no loss looks at."""
    target = torch.tensor([[[0, 0, 0, 2, 1, 1, 0, 1]]])
    whole = medloss.WeightedSum({"ce": medloss.CrossEntropyLoss(to_onehot_y=True, ignore_index=2)})
    loss = DeepSupervisionLoss(whole, resize="max")
    assert loss._resized(target, torch.zeros(1, 3, 2))[0].tolist() == [[[0, 1]]]
    zero = DeepSupervisionLoss(medloss.CrossEntropyLoss(to_onehot_y=True, ignore_index=0), resize="soft")
    assert zero._resized(target, torch.zeros(1, 3, 2))[0][0, 2].tolist() == [1, 0]


def test_errors() -> None:
    outputs, target = pyramid((8, 4)), labels(8)
    dice = medloss.DiceLoss(**DICE_CE)
    with pytest.raises(ValueError, match="weights='half' is unknown"):
        DeepSupervisionLoss(dice, weights="half")
    with pytest.raises(ValueError, match="there are 3 weights for 2 outputs"):
        DeepSupervisionLoss(dice, weights=[1, 2, 3])(outputs, target)
    with pytest.raises(ValueError, match="no output has a weight above 0"):
        DeepSupervisionLoss(dice, weights=[0, 0])(outputs, target)
    with pytest.raises(ValueError, match="target holds 3 tensors for 2 outputs"):
        DeepSupervisionLoss(dice)(outputs, [target] * 3)
    with pytest.raises(ValueError, match="has the names a and the outputs a, b"):
        DeepSupervisionLoss(dice)({"a": outputs[0], "b": outputs[1]}, {"a": target})
    with pytest.raises(ValueError, match="reduction='none'"):
        DeepSupervisionLoss(medloss.DiceLoss(reduction="none"))
    with pytest.raises(ValueError, match="there is no output"):
        DeepSupervisionLoss(dice)([], target)
    with pytest.raises(TypeError, match=r"target is list and must be a torch\.Tensor"):
        DeepSupervisionLoss(dice)(outputs, [])
    dense = torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1).float()
    with pytest.raises(ValueError, match="makes classes overlap"):
        DeepSupervisionLoss(medloss.DiceLoss(softmax=True), resize="max")(outputs, dense)
    with pytest.raises(ValueError, match="cannot tell ignored voxels from memberships"):
        DeepSupervisionLoss(medloss.DiceLoss(softmax=True, ignore_index=255), resize="soft")(outputs, dense)
