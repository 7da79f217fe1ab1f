"""Two processes (gloo), with what ``torchrun`` tells them, train as one on the joined batch, in both applications.

One of the two is stopped after the first epoch and resumed. Every loss here sums over its batch.
"""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from training_in_two import train_in_two

from medloss.apps.common import processes
from medloss.apps.common.batches import Batches
from medloss.apps.common.output import read_csv

TRAIN = {"epochs": 2, "optimizer": {"lr": 1e-2}, "schedule": {"name": "constant"}, "clip": None}


def ball(centre, radius):
    return np.linalg.norm(np.indices((16, 16, 16)) - np.reshape(centre, (3, 1, 1, 1)), axis=0) < radius


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)


def write_data(folder):
    """Six volumes with a ball each: the cases of a segmentation, and in twos the pairs of a registration."""
    for number in range(6):
        label = ball((7 + number % 3, 8, 8), 4 + number % 2).astype(np.uint8)
        image = (label + np.random.default_rng(number).normal(0, 0.1, label.shape)).astype(np.float32)
        save(folder / "images" / f"case_{number}.nii.gz", image)
        save(folder / "labels" / f"case_{number}.nii.gz", label)
        for side, pair in (("fixed", number), ("moving", (number + 1) % 6)):
            save(folder / "train" / f"{side}_images" / f"case_{pair}.nii.gz", image)
            save(folder / "train" / f"{side}_labels" / f"case_{pair}.nii.gz", label)


def configurations(folder):
    register = {
        "data": {"root": str(folder), "labels": {"kind": "masks"}, "valid_fraction": 0.34},
        "loss": {"label": {"dice": {"batch": True}}, "image": {"mse": {}}, "field": {"diffusion": {"weight": 0.1}}},
        "model": {"name": "voxelmorph", "channels": 4, "depth": 2},
        "train": {**TRAIN, "batch": 1},
    }
    segment = {
        "data": {"root": str(folder), "labels": {"ball": 1}, "patch": [16, 16, 16], "valid": {"fraction": 0.34}},
        "loss": {"dice_ce": {"batch": True}},
        "model": {"name": "unet", "channels": [4, 8]},
        "validate": {"previews": 0},
        # a bias before an instance norm has no gradient but rounding errors, which Adam would scale up
        "train": {**TRAIN, "batch": 1, "augment": "none", "optimizer": {"name": "sgd", "lr": 1e-2}},
    }
    return {"register": register, "segment": segment}


def train_alone(command, config, folder):
    from medloss.apps.common.config import validate
    from medloss.apps.registration import train as registration
    from medloss.apps.registration.config import RegistrationConfig
    from medloss.apps.segmentation import train as segmentation
    from medloss.apps.segmentation.config import Config

    model, module = {"register": (RegistrationConfig, registration), "segment": (Config, segmentation)}[command]
    config["train"]["batch"] = 2
    return module.train(validate(model, config, "the test"), folder / f"{command}-one", progress=False).path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_processes_train_as_one_on_the_joined_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("medloss.apps.common.history.History._draw", lambda self: None)
    monkeypatch.setattr("medloss.apps.registration.validation.Validator.draw", lambda self: None)
    write_data(tmp_path)
    configs = configurations(tmp_path)
    for command, config in configs.items():
        (tmp_path / f"{command}.yaml").write_text(yaml.safe_dump(config))
    told = train_in_two(tmp_path)
    assert "2 processes" in told[0] and "epoch" not in told[1]
    for command, config in configs.items():
        one, two = train_alone(command, config, tmp_path), tmp_path / f"{command}-two"
        weights = [torch.load(run / "checkpoints" / "last.pt", weights_only=True)["network"] for run in (one, two)]
        assert not any(torch.equal(a, a.new_zeros(())) for a in weights[0].values())
        for name, expected in weights[0].items():
            torch.testing.assert_close(weights[1][name], expected, atol=2e-5, rtol=1e-4, msg=f"{command}: {name}")
        rows = [read_csv(run / "history.csv") for run in (one, two)]
        assert [row["epoch"] for row in rows[1]] == ["1", "2"]
        for key in ("loss", "dice"):
            expected = [float(row[key]) for row in rows[0]]
            assert [float(row[key]) for row in rows[1]] == pytest.approx(expected, abs=1e-4), f"{command}: {key}"
        assert json.loads((two / "best.json").read_text()) == json.loads((one / "best.json").read_text())


def test_one_process_is_alone():
    assert processes.count() == 1 and processes.is_main() and processes.share(3) == [0, 1, 2]
    assert processes.gathered(["a", "b"], 2) == ["a", "b"] and processes.from_main(5) == 5
    assert processes.mean({"loss": 1.0}) == {"loss": 1.0}


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize(
    ("cases", "size", "options"), [(6, 1, {}), (7, 2, {}), (7, 2, {"drop_last": True}), (5, 2, {"steps": 9})]
)
def test_processes_share_the_batches_of_one(monkeypatch, together, cases, size, options):
    whole = Batches(cases, size * together, seed=3, **options)
    whole.set_epoch(4)
    monkeypatch.setattr(processes, "count", lambda: together)
    parts = []
    for number in range(together):
        monkeypatch.setattr(processes, "rank", lambda number=number: number)
        mine = Batches(cases, size, seed=3, **options)
        mine.set_epoch(4)
        parts.append(list(mine))
    monkeypatch.undo()
    for expected, *shares in zip(whole, *parts, strict=True):
        assert len({len(each) for each in shares}) == 1
        joined = [case for each in shares for case in each]
        assert joined[: len(expected)] == expected and set(joined) == set(expected)


def test_the_order_depends_on_seed_and_epoch():
    batches = Batches(20, 4, seed=1)
    first = [case for batch in batches for case in batch]
    batches.set_epoch(1)
    assert first != [case for batch in batches for case in batch] and sorted(first) == list(range(20))
    assert first != [case for batch in Batches(20, 4, seed=2) for case in batch]
    assert first == [case for batch in Batches(20, 4, seed=1) for case in batch]
