"""What is planned for a data set, that it reads back, and that what the user sets stays."""

from __future__ import annotations

import math

import nibabel as nib
import numpy as np
import pytest
import torch

from medloss.apps.cli import main
from medloss.apps.common.config import load_config
from medloss.apps.common.config_text import commented_yaml, keys_of
from medloss.apps.common.errors import UserError
from medloss.apps.registration.config import RegistrationConfig
from medloss.apps.segmentation.config import Config, Network
from medloss.apps.segmentation.network import build_network, units
from medloss.apps.segmentation.plan_files import planned
from medloss.apps.segmentation.planning import Machine, data_section, memory, network_for
from medloss.apps.segmentation.speed import seconds_of_step
from medloss.apps.segmentation.train import dry_run

pytestmark = pytest.mark.filterwarnings("ignore")
CPU = Machine("cpu", 64 * 48 * 48, 16, 256, 5, 3e-3, 2, 4e9)


@pytest.mark.parametrize(
    ("shape", "spacing", "patch", "strides"),
    [
        ((36, 50, 37), (1, 1, 1), (32, 48, 32), None),  # 36 / 8 is still above 4 voxels: three halvings
        ((20, 20, 20), (1, 1, 1), (20, 20, 20), None),
        ((9, 9, 9), (1, 1, 1), (8, 8, 8), None),
        # 3.6 mm is halved when the others have come to 2.4 mm, that is after two levels
        ((320, 320, 20), (0.6, 0.6, 3.6), (80, 80, 16), [(2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2)]),
    ],
)
def test_network_and_patch(shape, spacing, patch, strides):
    network, found = network_for(shape, spacing, CPU)
    assert found == patch and network.strides == strides
    assert all(size % unit == 0 for size, unit in zip(found, units(network), strict=True))
    assert math.prod(found) <= CPU.voxels and found != units(network)
    build_network(network, 3)


def test_memory_grows_with_the_patch_and_the_batch_as_counted():
    network = Network(channels=[4, 8, 8])
    once, twice = (memory(network, 2, 1, (16, 16, 16), batch) for batch in (1, 2))
    weights = sum(each.numel() * 4 for each in build_network(network, 2).parameters())
    assert twice - 4 * weights == pytest.approx(2 * (once - 4 * weights), rel=0.01)
    assert once > 4 * weights + 16**3 * 4 * 4 * 5  # at least five maps of four channels at full resolution


def test_plan_is_written_with_a_comment_at_each_decision_and_trains(dataset, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["segment", "plan", str(dataset), "train.minutes=3", "seed=7", "-o", str(tmp_path / "plan.yaml")])
    assert not end.value.code
    text = (tmp_path / "plan.yaml").read_text()
    config = load_config(Config, [tmp_path / "plan.yaml"])
    assert (config.train.minutes, config.seed, config.model.name) == (3, 7, "dynunet")
    assert config.data.labels == {"label_2": 2, "label_4": 4} and config.data.spacing != "median"
    lines = text.splitlines()
    for key in ("patch:", "batch:", "ema:", "mirror:", "share:"):
        place = next(number for number, line in enumerate(lines) if line.strip().startswith(key))
        assert lines[place - 1].strip().startswith("# ")
    assert "one training step" in dry_run(config)


def test_the_users_keys_stay(dataset, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("loss: {tversky: {}}\nmodel: {name: segresnet, channels: [8, 16]}\n")
    found = planned([str(dataset), str(file), "data.patch=[8,8,8]", "train.mirror=[1]"]).config
    assert list(found.loss) == ["tversky"] and found.model.name == "segresnet"
    assert found.data.patch == (8, 8, 8) and found.train.mirror == [1] and found.train.minutes == 18
    assert planned(["own.yaml", "train.epochs=3"]) is None


def halves(root, axis, names=("one", "two")):
    """A case with two blocks beside each other along an axis; stored from right to left."""
    label = np.zeros((16, 16, 16), np.uint8)
    near, far = [slice(4, 12)] * 3, [slice(4, 12)] * 3
    near[axis], far[axis] = slice(2, 7), slice(9, 14)
    label[tuple(near)], label[tuple(far)] = 1, 2
    affine = np.diag([-1.0, 1, 1, 1])
    for number in range(2):
        for kind, array in (("images", label.astype(np.float32)), ("labels", label)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, affine), root / kind / f"case_{number}.nii.gz")
    return [str(root), f"data.labels={{{names[0]}: 1, {names[1]}: 2}}"]


@pytest.mark.parametrize(
    ("axis", "names", "mirror"),
    [
        (0, ("one", "two"), []),
        (1, ("one", "two"), [0]),
        (1, ("left_kidney", "liver"), []),
        (2, ("cleft", "bright"), [0]),
    ],
)
def test_mirroring_only_where_no_class_is_a_side(tmp_path, axis, names, mirror):
    found = planned(halves(tmp_path / "data", axis, names))
    assert found.config.train.mirror == mirror
    assert found.reasons["train.mirror"].startswith("Left-right" if mirror else "Off")


def test_what_is_no_data_set_is_told(tmp_path):
    with pytest.raises(UserError, match="folder with images/ and labels/"):
        data_section(tmp_path / "absent")


@pytest.mark.parametrize("model", [Config, RegistrationConfig])
def test_every_key_is_listed_with_its_default(model):
    keys = {key.path: key for key in keys_of(model)}
    assert keys["train.optimizer.lr"].kind == "number, > 0 and <= 1000000"
    assert keys["seed"].default == "0" and keys["train"].kind == "section" and keys["train"].told
    assert all(key.kind == "section" or key.default for key in keys.values())


def test_commented_yaml_reads_back_to_the_same(dataset, tmp_path):
    config = Config(data={"root": dataset, "labels": {"a": [1, 3], "b": 2}}, loss={"dice": {}}, train={"minutes": 0.5})
    file = tmp_path / "run.yaml"
    file.write_text(commented_yaml(config, {"train.minutes": "a reason: with # and {signs}"}))
    assert load_config(Config, [file]) == config


def test_a_planned_training_reads_each_case_once_to_look_and_once_to_cache(dataset, tmp_path, monkeypatch):
    from medloss.apps.segmentation import scan, volumes

    looked, cached = [], []
    look, read = scan.look_at, volumes.PrepareCase.__call__
    monkeypatch.setattr(scan, "look_at", lambda case, *rest: looked.append(case.id) or look(case, *rest))
    monkeypatch.setattr(volumes.PrepareCase, "__call__", lambda own, item: cached.append(item["id"]) or read(own, item))
    quick = ["model.channels=[4,8,8]", "model.deep_supervision.outputs=0", "data.patch=[8,8,8]", "train.minutes=null"]
    quick += ["train.steps=1", "train.epoch_steps=1", "validate.previews=0"]
    with pytest.raises(SystemExit) as end:
        main(["segment", "train", str(dataset), *quick, "--output", str(tmp_path / "run"), "--quiet"])
    names = [f"case_{number}" for number in (1, 2, 3, 9, 10)]
    assert not end.value.code and looked == names and sorted(cached) == sorted(names)
    # the split of the plan, not that of the configuration before it
    config = load_config(Config, [tmp_path / "run" / "config.yaml"])
    assert config.data.patch == (8, 8, 8) and config.model.channels == [4, 8, 8]


def test_a_plan_holds_the_data_with_its_own_split(dataset):
    found = planned([str(dataset), "data.valid.ids=[case_1, case_2]"])
    assert [case.id for case in found.prepared.valid] == ["case_1", "case_2"]
    assert [case.id for case in found.prepared.train] == ["case_3", "case_9", "case_10"]
    assert found.prepared.config == found.config
    with pytest.raises(UserError, match="must be a multiple"):
        planned([str(dataset), "data.patch=[7,8,8]"])


@pytest.mark.parametrize(
    ("second", "first_level"),  # of a step with 8 channels; four times that with twice the channels
    [(1.0, 8), (0.1, 16), (0.01, 32)],
)
def test_the_network_is_the_largest_that_has_time_for_its_steps(dataset, monkeypatch, second, first_level):
    # 18 minutes are 918 s of steps: 918 of 1 s; 2295 of 0.4 s and 573 of 1.6 s; 5737 of 0.16 s
    timed = []

    def seconds(network, *rest):
        timed.append(network.channels[0])
        return second * (network.channels[0] / 8) ** 2

    monkeypatch.setattr("medloss.apps.segmentation.planning.seconds_of_step", seconds)
    found = planned([str(dataset), "device=cpu"])
    assert found.config.model.channels[0] == first_level and timed == [8, 16, 32][: len(timed)]
    assert f"{second * (first_level / 8) ** 2:.2g} s a step" in found.reasons["model"]
    assert (
        f"twice the channels would leave {int(918 / second / (first_level / 4) ** 2)}" in found.reasons["model"]
    ) == (first_level < 32)


def test_a_length_in_steps_is_no_length_in_minutes_and_times_nothing(dataset, monkeypatch):
    monkeypatch.setattr("medloss.apps.segmentation.planning.seconds_of_step", None)
    found = planned([str(dataset), "device=cpu", "train.steps=40"])
    assert found.config.train.minutes is None and found.config.train.steps == 40
    assert found.config.model.channels[0] == 16 and "train.minutes" not in found.reasons


def test_a_step_is_timed_without_touching_the_random_numbers():
    before = torch.random.get_rng_state()
    network = Network(channels=[4, 8, 8], deep_supervision={"outputs": 1})
    assert 0 < seconds_of_step(network, 3, 2, (16, 16, 16), 2, "cpu", None) < 60
    assert torch.equal(before, torch.random.get_rng_state())
