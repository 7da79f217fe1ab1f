"""Folds are contiguous blocks that cover all cases once, and their networks are averaged."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medloss.apps.common.errors import UserError
from medloss.apps.segmentation.case import Case
from medloss.apps.segmentation.cases import split_cases
from medloss.apps.segmentation.data_config import Split
from medloss.apps.segmentation.predict import predict
from medloss.apps.segmentation.train import train

pytestmark = pytest.mark.filterwarnings("ignore")
CASES = [Case(f"case_{number}", (Path("i"),), Path("l")) for number in range(11)]


def test_folds_are_blocks_that_cover_every_case_once():
    held = [[case.id for case in split_cases(CASES, Split(folds=4, fold=fold))[1]] for fold in range(4)]
    assert [name for each in held for name in each] == [case.id for case in CASES]
    assert [len(each) for each in held] == [3, 3, 2, 3]  # round(11 / 4 n): 0, 3, 6, 8, 11


@pytest.mark.parametrize(
    "options", [{"folds": 3}, {"fold": 1}, {"folds": 3, "fold": 3}, {"folds": 2, "fold": 0, "ids": "a"}]
)
def test_folds_that_cannot_be(options):
    with pytest.raises(ValueError, match="fold"):
        Split(**options)


def test_an_ensemble_is_the_mean_of_the_logits(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("medloss.apps.common.history.History._draw", lambda self: None)
    folds = [settings(**{"train.epochs": 1, "data.valid": f"{{folds: 2, fold: {fold}}}"}) for fold in range(2)]
    runs = [train(config, tmp_path / "run", progress=False) for config in folds]
    image = next((tmp_path / "data" / "images").iterdir())

    def logits(run, name, **options):
        mask = predict(run.path, [image], tmp_path / name, probabilities=True, progress=False, **options)[0]
        soft = nib.load(mask.with_name(mask.name.replace(".nii.gz", "_probabilities.nii.gz")))
        return np.log(np.clip(np.asarray(soft.dataobj), 1e-12, None))

    both = logits(runs[0], "both", also=[runs[1].path])
    mean = (logits(runs[0], "first") + logits(runs[1], "second")) / 2
    expected = np.exp(mean) / np.exp(mean).sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(both), expected, atol=2e-3)  # resampled after the softmax here, before it there


def test_runs_that_see_unlike_data_are_no_ensemble(settings, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("medloss.apps.common.history.History._draw", lambda self: None)
    other = train(settings(**{"train.epochs": 1, "data.spacing": "[2,2,2]"}), tmp_path / "run", progress=False)
    with pytest.raises(UserError, match=r"data\.spacing is"):
        predict(trained, [tmp_path / "data" / "images"], tmp_path / "masks", also=[other.path], progress=False)
