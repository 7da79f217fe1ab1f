"""A training leaves a whole run folder, resumes bit for bit, and learns."""

from __future__ import annotations

import json

import pytest
import torch

from medloss.apps.common.output import read_csv
from medloss.apps.segmentation import train as training

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def no_curves(request, monkeypatch):
    """Drawing takes longer than training here; the test of the run folder draws."""
    if "folder" not in request.node.name:
        monkeypatch.setattr("medloss.apps.common.history.History._draw", lambda self: None)


def run(settings, path, resume=False):
    return training.train(settings, path, resume=resume, progress=False)


def weights(folder):
    return torch.load(folder.checkpoints / "last.pt", weights_only=True)["network"]


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_epochs_and_two_more_are_four_with_augmentation(settings, tmp_path):
    constant = {"train.schedule.name": "constant", "train.mirror": "[0,1]", "model.dropout": 0.1}
    whole = run(settings(**constant, **{"train.epochs": 4}), tmp_path / "whole")
    run(settings(**constant, **{"train.epochs": 2}), tmp_path / "run")
    resumed = run(settings(**constant, **{"train.epochs": 4}), tmp_path / "run", resume=True)
    assert_equal(weights(resumed), weights(whole))
    assert len(read_csv(resumed.path / "history.csv")) == 4


def test_stopped_by_the_user_and_resumed_is_undisturbed(settings, tmp_path, monkeypatch):
    whole = run(settings(**{"train.epochs": 3}), tmp_path / "whole")
    steps = iter(range(100))
    once = training.Terms.__call__

    def stop(self, batch):
        if next(steps) == 3:  # two steps per epoch: in the middle of the second one
            raise KeyboardInterrupt
        return once(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.Terms, "__call__", stop)
        run(settings(**{"train.epochs": 3}), tmp_path / "run")
    resumed = run(settings(**{"train.epochs": 3}), tmp_path / "run", resume=True)
    assert_equal(weights(resumed), weights(whole))


def test_an_epoch_of_steps_with_averaged_weights_resumes_exactly(settings, tmp_path):
    """More steps than cases, so that an epoch goes over them again; the data set has four to train on."""
    planned = {"train.epoch_steps": 5, "train.ema": 0.9, "model.name": "dynunet", "model.channels": "[4,4,8]"}
    planned |= {"model.deep_supervision": "{outputs: 1, resize: soft}", "train.batch": 1}
    planned |= {"train.schedule.name": "constant", "validate.every": 2}
    whole = run(settings(**planned, **{"train.epochs": 2}), tmp_path / "whole")
    first = run(settings(**planned, **{"train.epochs": 1}), tmp_path / "run")
    assert torch.load(first.checkpoints / "last.pt", weights_only=True)["iteration"] == 5
    resumed = run(settings(**planned, **{"train.epochs": 2}), tmp_path / "run", resume=True)
    assert_equal(weights(resumed), weights(whole))


def test_run_folder_is_complete(settings, tmp_path):
    folder = run(settings(**{"validate.previews": 1}), tmp_path / "run")
    written = {str(file.relative_to(folder.path)) for file in folder.path.rglob("*") if file.is_file()}
    for name in (
        "config.yaml",
        "environment.json",
        "log.txt",
        "metrics.csv",
        "metrics.json",
        "history.csv",
        "progress.png",
        "checkpoints/last.pt",
    ):
        assert name in written
    assert folder.best() is not None
    assert any(name.startswith("tensorboard/") for name in written)
    assert any(name.startswith("previews/") and name.endswith("case_10.png") for name in written)
    assert not any("/." in f"/{name}" for name in written)  # no temporary file is left
    rows = read_csv(folder.path / "metrics.csv")
    assert {(row["case"], row["label"]) for row in rows} == {("case_10", "label_2"), ("case_10", "label_4")}
    made_of = json.loads((folder.path / "made_of.json").read_text())
    assert made_of["parts"]["valid"] == ["case_10"] and len(made_of["cases"]) == 5


def test_saved_configuration_is_complete_and_loads(settings, tmp_path):
    folder = run(settings(), tmp_path / "run")
    again = training.load_run(folder.path)[1]
    assert again.data.labels == {"label_2": 2, "label_4": 4}
    assert again.data.patch is not None
    assert again.loss["dice_ce"]["softmax"] is True and again.loss["dice_ce"]["to_onehot_y"] is True


def test_a_second_run_goes_beside_the_first(settings, tmp_path):
    first, second = run(settings(), tmp_path / "run"), run(settings(), tmp_path / "run")
    assert (first.path.name, second.path.name) == ("run", "run-2")
    assert_equal(weights(first), weights(second))  # same seed, same weights


def test_it_learns(settings, tmp_path):
    folder = run(settings(**{"train.epochs": 12, "train.augment": "none", "train.batch": 1}), tmp_path / "run")
    losses = [float(row["loss"]) for row in read_csv(folder.path / "history.csv")]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    "network",
    [
        {"model.name": "basicunet", "model.channels": "[4,4,4,4,4,4]"},
        {"model.name": "dynunet", "model.channels": "[4,8,8]"},
        {"model.name": "segresnet", "model.channels": "[8,16]"},
    ],
)
def test_networks_by_name(settings, network):
    text = training.dry_run(settings(**network))
    assert network["model.name"] in text and "one training step" in text


@pytest.mark.parametrize(
    "network",
    [
        {"model.name": "dynunet", "model.channels": "[4,4,8]"},
        {"model.name": "segresnet", "model.channels": "[8,16,32]"},
    ],
)
def test_deep_supervision_trains_and_predicts(settings, tmp_path, network):
    coarser = {"model.deep_supervision": "{outputs: 1, weights: [2, 1], resize: max}"}
    folder = run(settings(**network, **coarser, **{"train.epochs": 1}), tmp_path / "run")
    row = read_csv(folder.path / "history.csv")[-1]
    assert float(row["loss"]) > 0 and 0 <= float(row["dice"]) <= 1
    assert training.load_run(folder.path)[1].model.deep_supervision.weights == [2, 1]


def test_deep_supervision_is_the_weighted_mean_over_the_outputs():
    from medloss import DiceLoss
    from medloss.apps.segmentation.config import DeepSupervision
    from medloss.apps.segmentation.supervision import supervised
    from medloss.config import build_loss
    from medloss.supervision import nearest

    fine, coarse = torch.randn(1, 3, 8, 8, 8), torch.randn(1, 3, 4, 4, 4)
    target = torch.randint(0, 3, (1, 1, 8, 8, 8))
    options = {"softmax": True, "to_onehot_y": True}
    loss = supervised(build_loss({"dice": {"weight": 0.5, **options}}, "label"), DeepSupervision(outputs=1))
    dice = DiceLoss(**options)
    expected = 0.5 * (2 * dice(fine, target) + dice(coarse, nearest(target, (4, 4, 4)))) / 3
    torch.testing.assert_close(loss([fine, coarse], target), expected)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "unet", "deep_supervision": {"outputs": 1}}, "unet has one output"),
        ({"name": "dynunet", "channels": [4, 8, 8], "deep_supervision": {"outputs": 2}}, "3 channels leave 1"),
        ({"name": "dynunet", "deep_supervision": {"outputs": 1, "weights": [1]}}, "1 numbers for 1 coarser"),
        ({"name": "segresnet", "dropout": 0.1, "deep_supervision": {"outputs": 1}}, "no dropout"),
    ],
)
def test_deep_supervision_that_cannot_be(model, message):
    from medloss.apps.segmentation.config import Network

    with pytest.raises(ValueError, match=message):
        Network(**model)


def test_ignored_voxels_do_not_count(settings, dataset, tmp_path):
    import nibabel as nib
    import numpy as np

    for file in (dataset / "labels").iterdir():
        image = nib.load(file)
        array = np.asarray(image.dataobj).copy()
        array[: array.shape[0] // 2] = 255
        nib.save(nib.Nifti1Image(array, image.affine), file)
    folder = run(settings(**{"data.ignore": 255, "data.labels": "{shell: 2, ball: 4}"}), tmp_path / "run")
    assert training.load_run(folder.path)[1].data.labels == {"shell": 2, "ball": 4}
    assert float(read_csv(folder.path / "history.csv")[-1]["loss"]) > 0
