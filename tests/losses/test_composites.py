"""Sums with named terms, schedules, masks for any loss, losses as functions, and losses from a mapping."""

from __future__ import annotations

import re

import pytest
import torch

import medloss
from medloss import functional
from medloss.config import LossConfigError, build_loss, loss_names
from medloss.ops.dispatch import listen
from medloss.registry import losses

LABELS = {"softmax": True, "to_onehot_y": True}


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 3, 6, 7), torch.randint(0, 3, (2, 1, 6, 7))


def test_a_weighted_sum_names_its_terms(batch) -> None:
    dice, entropy = medloss.DiceLoss(**LABELS), medloss.CrossEntropyLoss(to_onehot_y=True)
    loss = medloss.WeightedSum({"overlap": dice, "entropy": entropy}, weights={"entropy": 0.5})
    terms = loss.terms(*batch)
    torch.testing.assert_close(terms["overlap"].raw, dice(*batch))
    torch.testing.assert_close(terms["entropy"].value, 0.5 * entropy(*batch))
    torch.testing.assert_close(loss(*batch), dice(*batch) + 0.5 * entropy(*batch))
    assert not loss.state_dict()


def test_losses_that_look_alike_share_a_sweep(batch) -> None:
    alike = {"dice": medloss.DiceLoss(**LABELS), "ce": medloss.CrossEntropyLoss(to_onehot_y=True)}
    mask = torch.rand(2, 1, 6, 7)
    for extra, sweeps in (({}, 1), ({"other": medloss.DiceLoss(sigmoid=True, to_onehot_y=True)}, 2)):
        loss = medloss.WeightedSum({**alike, **extra})
        with listen() as heard:
            value = loss(*batch, mask)
        assert len(heard) == sweeps
        torch.testing.assert_close(value, sum(part(*batch, mask) for part in loss.losses.values()))


def test_a_schedule_moves_with_the_epoch(batch) -> None:
    dice = medloss.DiceLoss(**LABELS)
    loss = medloss.WeightedSum({"dice": dice}, {"dice": medloss.Schedule(start=1.0, end=0.0, epochs=4)})
    for epoch, weight in ((0, 1.0), (1, 0.75), (4, 0.0), (9, 0.0)):
        loss.set_epoch(epoch)
        assert loss.weight("dice") == weight
        torch.testing.assert_close(loss(*batch), weight * dice(*batch))
        assert loss.terms(*batch)["dice"].raw > 0


def test_a_map_goes_to_the_terms_that_know_it(batch) -> None:
    dice, entropy = medloss.DiceLoss(**LABELS), medloss.CrossEntropyLoss(to_onehot_y=True)
    far = medloss.BoundaryLoss(**LABELS)
    loss = medloss.WeightedSum({"dice": dice, "entropy": entropy, "far": far})
    distances, mask = torch.randn(2, 3, 6, 7), torch.rand(2, 1, 6, 7).gt(0.3)
    terms = loss.terms(*batch, mask, distance_map=distances)
    torch.testing.assert_close(terms["dice"].raw, dice(*batch, mask))
    torch.testing.assert_close(terms["entropy"].raw, entropy(*batch, mask))
    torch.testing.assert_close(terms["far"].raw, far(*batch, mask, distance_map=distances))
    nested = medloss.WeightedSum({"inner": loss, "dice": dice})
    torch.testing.assert_close(
        nested(*batch, distance_map=distances), loss(*batch, distance_map=distances) + dice(*batch)
    )
    loss.losses["far"] = medloss.HausdorffDTLoss(**LABELS)
    assert loss.terms(*batch, spacing=[1.0, 2.0])["far"].raw != loss.terms(*batch)["far"].raw
    loss.losses["far"] = medloss.FocalLoss(**LABELS)
    for unknown in ({"distance_map": distances}, {"class_present": torch.ones(2, 3)}):  # what counts is never dropped
        with pytest.raises(TypeError, match=next(iter(unknown))):
            loss(*batch, **unknown)


def test_faults_of_a_weighted_sum() -> None:
    with pytest.raises(ValueError, match="no loss"):
        medloss.WeightedSum({})
    with pytest.raises(ValueError, match="weights name b, and the losses are a"):
        medloss.WeightedSum({"a": medloss.MSELoss()}, {"b": 1.0})
    with pytest.raises(ValueError, match="at least 0"):
        medloss.WeightedSum({"a": medloss.MSELoss()}, {"a": -1.0})
    with pytest.raises(ValueError, match="cannot be added"):
        medloss.WeightedSum({"a": medloss.MSELoss(reduction="none")})


def test_any_loss_can_be_masked(batch) -> None:
    x, y = torch.rand(2, 1, 5, 5), torch.rand(2, 1, 5, 5)
    mask = torch.zeros(2, 1, 5, 5)
    mask[:, :, 1:4, 2:] = 1
    expected = torch.nn.functional.l1_loss(x[:, :, 1:4, 2:], y[:, :, 1:4, 2:])
    torch.testing.assert_close(medloss.MaskedLoss(torch.nn.L1Loss())(x, y, mask), expected)
    torch.testing.assert_close(medloss.MaskedLoss(medloss.MSELoss())(x, y, mask), medloss.MSELoss()(x, y, mask))
    assert medloss.MaskedLoss(torch.nn.L1Loss())(x.requires_grad_(), y, 0 * mask) == 0
    with pytest.raises(medloss.ShapeError, match="mask has shape"):
        medloss.MaskedLoss(torch.nn.L1Loss())(x, y, mask[..., 1:])


def test_every_loss_is_a_function_too(batch) -> None:
    assert functional.__all__ == sorted(losses())
    torch.testing.assert_close(functional.dice(*batch, **LABELS), medloss.DiceLoss(**LABELS)(*batch))
    field = torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(functional.diffusion(field, spacing=2.0), medloss.DiffusionLoss(spacing=2.0)(field))


def test_a_mapping_makes_the_loss_that_it_says(batch) -> None:
    loss = build_loss(
        {
            "dice": {"weight": 1.0, **LABELS, "include_background": False},
            "edges": {"name": "focal", "to_onehot_y": True, "schedule": {"from": 0.0, "to": 0.5, "epochs": 2}},
            "ce": {"to_onehot_y": True, "class_weight": [1, 2, 3]},
        },
        kind="label",
    )
    loss.set_epoch(1)
    expected = (
        medloss.DiceLoss(**LABELS, include_background=False)(*batch)
        + 0.25 * medloss.FocalLoss(to_onehot_y=True)(*batch)
        + medloss.CrossEntropyLoss(to_onehot_y=True, weight=[1, 2, 3])(*batch)
    )
    torch.testing.assert_close(loss(*batch), expected)


def test_all_faults_of_a_mapping_are_told_at_once() -> None:
    mapping = {
        "dice": {"softmx": True, "smooth_nr": "much"},
        "focl": None,
        "lncc": {},
        "focal": {"gamma": -1, "weight": -2},
        "tversky": 3,
    }
    with pytest.raises(LossConfigError) as fault:
        build_loss(mapping, kind="label")
    message = str(fault.value)
    for part in (
        "loss.dice.softmx: unknown option of DiceLoss; did you mean softmax?",
        "loss.dice.smooth_nr: input should be a valid number",
        "loss.focl: no loss is named 'focl'; did you mean focal?",
        "loss.lncc: lncc is no label loss",
        "loss.focal.weight: expected a number of at least 0, not -2",
        "loss.focal: gamma=-1.0 is too small",
        "loss.tversky: expected a mapping of options, not 3",
    ):
        assert part in message
    with pytest.raises(LossConfigError, match="at least one loss"):
        build_loss({})


def test_a_mapping_may_go_around_a_loss(batch) -> None:
    loss = build_loss({"lesions": {"name": "blob", "weight": 0.5, "beta": 2.0, "loss": {"dice": LABELS}}}, "label")
    expected = 0.5 * medloss.BlobLoss(medloss.DiceLoss(**LABELS), beta=2.0)(*batch)
    torch.testing.assert_close(loss(*batch), expected)
    images = torch.rand(1, 1, 9, 9), torch.rand(1, 1, 9, 9)
    loss = build_loss({"multi_scale": {"scales": [0, 1], "loss": {"mse": None}}}, "image")
    torch.testing.assert_close(loss(*images), medloss.MultiScaleLoss(medloss.MSELoss(), scales=[0, 1])(*images))


@pytest.mark.parametrize(
    ("mapping", "kind", "message"),
    [
        ({"blob": {}}, "label", "loss.blob.loss: blob goes around one loss"),
        ({"blob": {"loss": {"dcie": {}}}}, "label", "loss.blob.loss.dcie: no loss is named 'dcie'; did you mean dice?"),
        ({"blob": {"loss": {"dice": {"weight": 2}}}}, "label", "loss.blob.loss.dice.weight: the weight of a term"),
        ({"blob": {"loss": {"dice": {}}, "bta": 1}}, "label", "loss.blob.bta: unknown option of BlobLoss"),
        ({"blb": {"loss": {"dice": {}}}}, "label", "did you mean blob"),
        ({"multi_scale": {"loss": {"ce": {}}}}, "label", "loss.multi_scale: CrossEntropyLoss is a loss of logits"),
        ({"multi_scale": {"loss": {"bending": {}}}}, "field", "loss.multi_scale: multi_scale is no field loss"),
    ],
)
def test_faults_around_a_loss(mapping, kind, message) -> None:
    with pytest.raises(LossConfigError, match=re.escape(message)):
        build_loss(mapping, kind)


def test_names_are_those_of_the_namespace() -> None:
    assert loss_names("image")["lncc"] is medloss.LocalNormalizedCrossCorrelationLoss
    assert loss_names("field")["bending"] is medloss.BendingEnergyLoss
    assert {"bending", "bending_energy", "diffusion"} <= set(loss_names("field"))
