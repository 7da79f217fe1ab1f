"""The code of CONTRIBUTING.md's walk-through "Add a loss" is a loss, and keeps the contract as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from cases import MULTICLASS, LossCase
from contract import test_masks, test_modules, test_precision

import medloss
from medloss.base import RegionLoss
from medloss.sums import RegionSums

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def written(section: str) -> str:
    """The first block of Python code of a section."""
    text = TEXT.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    block = re.search(r"^( *)```python\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    assert block, f"{section} shows no code"
    return re.sub(f"^{block[1]}", "", block[2], flags=re.MULTILINE)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> LossCase:
    """The loss of the walk-through, exported."""
    names = {"RegionLoss": RegionLoss, "RegionSums": RegionSums, "Tensor": torch.Tensor, "__name__": "shown"}
    exec(written("Add a loss"), names)
    monkeypatch.setattr(medloss, "ForegroundErrorLoss", names["ForegroundErrorLoss"], raising=False)
    return LossCase("ForegroundErrorLoss", "label", MULTICLASS)


def test_its_value(shown: LossCase) -> None:
    """p = (1, 1, 0), t = (1, 0, 1): two of the four voxels that either has are wrong."""
    p, t = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    assert shown.without(*MULTICLASS).make(smooth_dr=0.0)(p, t).item() == 0.5


def test_it_keeps_the_contract(shown: LossCase) -> None:
    """What the class does not say, its base does: masks, labels, activation, precision, gradients."""
    test_masks.test_a_box_mask_equals_the_box(shown, 3, "mean")
    test_masks.test_nothing_under_a_mask_is_looked_at(shown, float("nan"))
    test_masks.test_an_ignored_label_is_a_mask(shown, 1)
    test_masks.test_indices_and_one_hot_agree(shown, 0, 2)
    test_masks.test_background_leaves_after_the_activation(shown)
    test_modules.test_gradients(shown, 2, True)
    test_precision.test_half_precision(shown, 2, torch.bfloat16, True)
