"""Bounds of sizes from the training cases, for losses that ask for them."""

from __future__ import annotations

import pytest

from medloss.apps.segmentation.case import Case
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.data import prepare
from medloss.apps.segmentation.data_config import Data
from medloss.apps.segmentation.losses import Facts, complete_losses
from medloss.apps.segmentation.plan_files import planned
from medloss.apps.segmentation.scan import Look
from medloss.apps.segmentation.sizes import size_bounds
from medloss.config import build_loss

CLASSES = Classes.from_mapping({"large": 1, "small": [2, 3]})
ASKED = {"size_constraint": {"lower": "from_data", "upper": "from_data", "tolerance": None}}


def look(case, counts, shape=(10, 10, 10), spacing=(1.0, 1.0, 1.0)):
    return Look(case, shape, spacing, 1, counts, [(0, 1, 2)], [])


def case(name, annotated=None):
    return Case(name, (), "", annotated=annotated)


def test_bounds_by_hand(tmp_path):
    data = Data(root=tmp_path, patch=(10, 10, 10), spacing=(1, 1, 1))
    # the second case has voxels of 2 mm^3 and half the planes: 50 of them are 100 of the network's
    looks = [look("a", {0: 890, 1: 100, 2: 10}), look("b", {0: 440, 1: 50, 3: 10}, (10, 10, 5), (1, 1, 2))]
    cases = [case("a"), case("b")]
    found = size_bounds(cases, looks, CLASSES, data)
    assert found == {"lower": [0.88, 0.1, 0.01], "upper": [0.89, 0.1, 0.02]}
    # what is scaled may be cut, and is up to so many times larger
    found = size_bounds(cases, looks, CLASSES, data, largest=2.0)
    assert found == {"lower": [pytest.approx(1 - 0.96, abs=1e-5), 0, 0], "upper": [1, 0.8, 0.16]}
    # a patch that is smaller than a volume may lie beside a class
    small = data.model_copy(update={"patch": (5, 10, 10)})
    assert size_bounds(cases, looks, CLASSES, small)["lower"][1:] == [0, 0]
    # a case that does not annotate a class says nothing about its size
    partial = [case("a"), case("b", ("small",))]
    looks[1] = look("b", {0: 480, 3: 10}, (10, 10, 5), (1, 1, 2))
    assert size_bounds(partial, looks, CLASSES, data)["lower"][1] == 0.1
    regions = Classes.from_mapping({"whole": [1, 2], "core": 2})
    assert size_bounds(cases, looks[:1], regions, data)["upper"] == [0.11, 0.01]


def test_a_loss_gets_them_and_the_plan_those_of_its_own_patch(dataset, settings):
    assert complete_losses(ASKED, Facts(channels=3))["size_constraint"].keys() == {
        "tolerance",
        "softmax",
        "to_onehot_y",
    }
    found = prepare(settings(**{"loss": "null", "loss.size_constraint.upper": "from_data", "loss.dice_ce": "{}"}))
    upper = found.config.loss["size_constraint"]["upper"]
    assert len(upper) == 3 and all(0 < each <= 1 for each in upper)
    build_loss(found.config.loss, kind="label")
    two = [
        planned([str(dataset), "loss.size_constraint.upper=from_data", "loss.dice_ce={}", f"data.patch={patch}"])
        for patch in ("[16,16,16]", "[32,32,32]")
    ]
    small, large = (each.config.loss["size_constraint"]["upper"] for each in two)
    assert large[1] == pytest.approx(small[1] / 8, abs=1e-5) or small[1] == 1
