"""Losses by configuration: every label loss by its name alone trains a step, or says in one line why it does not."""

from __future__ import annotations

import pytest
import torch

from medloss.apps.common.config import by_name, load_config
from medloss.apps.common.errors import UserError
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.losses import AUXILIARY, Facts, complete_losses, settle_losses
from medloss.apps.segmentation.terms import loss_terms
from medloss.config import WRAPPERS, LossConfigError, build_loss
from medloss.registry import losses

EXCLUSIVE = Classes.from_mapping({"large": 1, "small": 2})
REGIONS = Classes.from_mapping({"whole": [1, 2], "small": 2})
NAMES = [*losses("label"), *WRAPPERS]
NOT_ALONE = {"exclusion": "teaches nothing", "blob": "goes around one loss", "multi_scale": "goes around one loss"}
NOT_ALONE["connected_component"] = NOT_ALONE["blob"]
NOT_OF_REGIONS = {
    "exclusion",
    "generalized_wasserstein_dice",
    "marginal_dice_ce",
    "mbls",
    "nacl",
    "spatially_varying_label_smoothing",
    "symmetric_cross_entropy",
    "target_adaptive",
}


def batch_of(**more):
    label = torch.zeros(2, 1, 10, 10, 10, dtype=torch.uint8)
    label[:, :, 1:6, 1:6, 1:6], label[:, :, 6:9, 6:9, 6:9] = 1, 2
    return {"label": label, **more}


def gradient(mapping, classes, batch):
    logits = torch.randn(2, classes.count, 10, 10, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    terms = loss_terms(build_loss(mapping, kind="label"), classes, logits, batch)
    sum(term.value for term in terms.values()).backward()
    return logits.grad


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_by_name_alone(name):
    facts = Facts(exclusive=True, channels=3, shares=[0.8, 0.15, 0.05], partial=False, spacing=(1, 1, 2))
    if name in NOT_ALONE:
        with pytest.raises((LossConfigError, UserError), match=NOT_ALONE[name]) as fault:
            build_loss(settle_losses(by_name(name), facts), kind="label")
        assert "\n" not in str(fault.value)
        return
    found = gradient(settle_losses(by_name(name), facts), EXCLUSIVE, batch_of())
    assert bool(found.isfinite().all()) and float(found.abs().max()) > 1e-9


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WRAPPERS])
def test_every_loss_of_regions(name):
    facts = Facts(exclusive=False, channels=2, shares=[0.2, 0.05], partial=False)
    try:
        mapping = settle_losses(by_name(name), facts)
        found = gradient(mapping, REGIONS, batch_of())
    except (ValueError, UserError) as fault:
        assert name in NOT_OF_REGIONS, fault
        return
    assert name not in NOT_OF_REGIONS
    assert bool(found.isfinite().all()) and float(found.abs().max()) > 1e-9


def test_names_stand_for_a_mapping(tmp_path):
    assert by_name("dice") == {"dice": {}}
    assert by_name(["dice", {"focal": {"gamma": 1}}]) == {"dice": {}, "focal": {"gamma": 1}}
    config = load_config(Config, [], [f"data.root={tmp_path}", "loss=[dice,focal]"])
    assert config.loss == {"dice": {}, "focal": {}}
    assert load_config(Config, [], [f"data.root={tmp_path}", "loss=dice"]).loss == {"dice": {}}
    with pytest.raises(UserError, match="did you mean"):
        load_config(Config, [], [f"data.root={tmp_path}", "loss=[dicee]"])


def test_what_losses_get_from_the_data():
    facts = Facts(channels=3, shares=[0.81, 0.16, 0.03], spacing=(1, 1, 2))
    mapping = {"dice": {"class_weight": "from_data"}, "cross_entropy": {"weight": "from_data"}}
    completed = complete_losses(mapping, facts)
    weights = completed["dice"]["class_weight"]
    assert sum(weights) == pytest.approx(3, abs=1e-3)
    assert weights[1] / weights[0] == pytest.approx((0.81 / 0.16) ** 0.5, rel=1e-3)  # one over the root of the share
    assert completed["cross_entropy"]["class_weight"] == weights and "weight" not in completed["cross_entropy"]
    assert complete_losses({"boundary": {}}, facts)["boundary"]["spacing"] == [1, 1, 2]
    distances = complete_losses({"generalized_wasserstein_dice": {}}, facts)["generalized_wasserstein_dice"]
    assert distances["dist_matrix"] == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize("options", [{"softmax": True}, {"to_onehot_y": True}, {"include_background": False}])
def test_options_that_regions_forbid(options):
    with pytest.raises(ValueError, match="region"):
        complete_losses({"dice": options}, Facts(exclusive=False))


@pytest.mark.parametrize("name", AUXILIARY)
def test_auxiliary_losses_say_that_they_want_company(name, monkeypatch):
    told = []
    monkeypatch.setattr("medloss.apps.segmentation.losses.note", told.append)
    facts = Facts(channels=3, partial=name == "exclusion")
    settle_losses({name: {}, "marginal_dice_ce": {}} if name == "exclusion" else {name: {}, "dice_ce": {}}, facts)
    assert not told
    settle_losses({name: {}}, facts)
    assert len(told) == 1 and "alone leaves much undecided" in told[0]


def test_partial_labels_reach_the_losses():
    """A case that annotates `large` alone: what lies in its background may be `small` at no cost."""
    partial = Facts(channels=3, partial=True)
    with pytest.raises(UserError, match="marginal_dice_ce or tal"):
        settle_losses({"dice_ce": {}}, partial)
    mapping = settle_losses({"marginal_dice_ce": {}, "exclusion": {}}, partial)
    batch = batch_of(class_present=torch.tensor([[True, True, False], [True, True, True]]))
    batch["label"][batch["label"] == 2] = 0
    label = batch["label"].long()
    bold = torch.nn.functional.one_hot(label[:, 0], 3).movedim(-1, 1).float() * 20
    wrong = bold.clone()
    wrong[:, 2, 7:9, 7:9, 7:9] = 40  # `small` where the label says background
    loss = build_loss(mapping, kind="label")
    each = [
        loss_terms(loss, EXCLUSIVE, logits[at : at + 1], {key: value[at : at + 1] for key, value in batch.items()})
        for logits in (bold, wrong)
        for at in (0, 1)
    ]
    values = [float(terms["marginal_dice_ce"].raw) for terms in each]
    assert values[2] == pytest.approx(values[0], abs=1e-4) and values[3] > values[1] + 0.1
    assert float(each[0]["exclusion"].raw) == pytest.approx(0, abs=1e-4)


def test_of_regions_that_a_case_does_not_annotate_nothing_counts():
    mapping = complete_losses({"dice_ce": {}}, Facts(exclusive=False))
    batch = batch_of(class_present=torch.tensor([[True, False], [True, False]]))
    found = gradient(mapping, REGIONS, batch)
    assert float(found[:, 0].abs().max()) > 0 and float(found[:, 1].abs().max()) == 0
