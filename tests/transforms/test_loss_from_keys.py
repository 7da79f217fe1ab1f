"""LossFromKeys: every loss by a batch, the same number as by its arguments."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor

import medloss
from medloss.config import build_loss
from medloss.transforms import DistanceMapd, LossFromKeys
from medloss.transforms.loss_from_keys import spacing_of

SHAPE = 6, 6, 6
AFFINE = torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0]))


@pytest.fixture
def batch():
    seeded = torch.Generator().manual_seed(0)
    return {
        "pred": torch.randn(2, 3, *SHAPE, generator=seeded),
        "label": torch.randint(0, 3, (2, 1, *SHAPE), generator=seeded),
        "loss_mask": torch.rand(2, 1, *SHAPE, generator=seeded) > 0.3,
        "weights": torch.rand(2, 1, *SHAPE, generator=seeded),
        "ddf": torch.randn(2, 3, *SHAPE, generator=seeded),
        "annotated": torch.tensor([[1, 1, 0], [1, 1, 1]], dtype=torch.bool),
        "scan": MetaTensor(torch.zeros(2, 1, *SHAPE), affine=AFFINE.repeat(2, 1, 1)),
    }


def test_mask_weights_and_further_arguments(batch):
    loss = medloss.DiceCELoss(softmax=True, to_onehot_y=True)
    pred, label, mask, weights = (batch[key] for key in ("pred", "label", "loss_mask", "weights"))
    torch.testing.assert_close(LossFromKeys(loss)(batch), loss(pred, label))
    torch.testing.assert_close(LossFromKeys(loss, mask="loss_mask")(batch), loss(pred, label, mask))
    torch.testing.assert_close(LossFromKeys(loss, weight="weights")(batch), loss(pred, label, weights))
    both = LossFromKeys(loss, mask="loss_mask", weight="weights")
    torch.testing.assert_close(both(batch), loss(pred, label, mask * weights))
    torch.testing.assert_close(sum(term.value for term in both.terms(batch).values()), both(batch))
    partial = medloss.MarginalDiceCELoss(softmax=True, to_onehot_y=True)
    found = LossFromKeys(partial, class_present="annotated")(batch)
    torch.testing.assert_close(found, partial(pred, label, class_present=batch["annotated"]))


def test_a_field_and_the_spacing_of_an_image(batch):
    loss = medloss.DiffusionLoss()
    found = LossFromKeys(loss, field="ddf", spacing="scan")(batch)
    torch.testing.assert_close(found, loss(batch["ddf"], spacing=(1.0, 2.0, 3.0)))
    assert "input" not in LossFromKeys(loss, field="ddf").keys


def test_a_composite_and_any_callable(batch):
    pytest.importorskip("pydantic")  # losses from a mapping, of the applications
    sum_of_two = build_loss({"dice": {"softmax": True, "to_onehot_y": True}, "focal": {"to_onehot_y": True}})
    found = LossFromKeys(sum_of_two, input="pred", target="label", mask="loss_mask")(batch)
    torch.testing.assert_close(found, sum_of_two(batch["pred"], batch["label"], mask=batch["loss_mask"]))
    plain = LossFromKeys(torch.nn.MSELoss(), input="weights", target="weights")
    assert plain(batch) == 0


def test_from_the_transform_through_the_loader_to_the_loss():
    """The map that a transform made is that which the loss would make."""
    case = {"label": MetaTensor((torch.rand(1, *SHAPE) > 0.6).float(), affine=AFFINE), "pred": torch.randn(1, *SHAPE)}
    batch = next(iter(DataLoader(Dataset([case, case], DistanceMapd("label")), batch_size=2)))
    loss = medloss.BoundaryLoss(sigmoid=True)
    found = LossFromKeys(loss, distance_map="distance_map", spacing="label")(batch)
    torch.testing.assert_close(found, loss(batch["pred"], batch["label"], spacing=(1.0, 2.0, 3.0)))


def test_spacings():
    assert spacing_of((1, 2)) == (1, 2) and spacing_of(torch.tensor([[1.0, 2], [1, 2]])) == [1, 2]
    assert spacing_of(torch.tensor(2.0)) == [2]
    with pytest.raises(ValueError, match="unlike spacings"):
        spacing_of(torch.tensor([[1.0, 2], [1, 3]]))


def test_errors_and_repr(batch):
    with pytest.raises(TypeError, match="DiceLoss takes no distance_map: its arguments are input, target, mask"):
        LossFromKeys(medloss.DiceLoss(), distance_map="x")
    with pytest.raises(TypeError, match="takes no mask"):
        LossFromKeys(torch.nn.MSELoss(), weight="weights")
    with pytest.raises(KeyError, match="has no 'nothing'"):
        LossFromKeys(medloss.DiceLoss(), mask="nothing")(batch)
    assert "mask='loss_mask'" in repr(LossFromKeys(medloss.DiceLoss(), mask="loss_mask"))
