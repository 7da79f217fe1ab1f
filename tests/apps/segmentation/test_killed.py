"""``segment train`` and ``segment predict`` are killed at random moments, and go on to what they give undisturbed."""

from __future__ import annotations

from random import Random

import pytest
from killing import assert_equal_folders, assert_whole, killed, run

from medloss.apps.common.config import dump_config

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
TIMES = 3


@pytest.fixture
def config(settings, tmp_path):
    changes = {"train.epochs": 3, "validate.previews": 1, "validate.keep": 2, "train.mirror": "[0]", "device": "cpu"}
    (tmp_path / "run.yaml").write_text(dump_config(settings(**changes)))
    return tmp_path / "run.yaml"


@pytest.mark.parametrize("seed", [0])
def test_training(config, tmp_path, seed):
    random, log, whole = Random(seed), tmp_path / "log", tmp_path / "whole"
    undisturbed = run(["segment", "train", config, "-o", whole, "--quiet"], log)
    assert undisturbed.code == 0, undisturbed.told
    died = 0
    for number in range(TIMES):
        folder = tmp_path / f"killed{number}"
        command = ["segment", "train", config, "-o", folder, "--quiet"]
        died += killed(command, log, undisturbed.seconds, random)
        for _ in range(1 + number % 2):  # some are killed again when they go on
            assert_whole(folder)
            if (folder / "checkpoints" / "last.pt").is_file():
                command = ["segment", "train", "-o", folder, "--resume", "--quiet"]
                killed(command, log, undisturbed.seconds, random)
        assert_whole(folder)
        if not (folder / "checkpoints" / "last.pt").is_file():  # killed before the training began: there is no run
            continue
        ended = run(["segment", "train", "-o", folder, "--resume", "--quiet"], log)
        assert ended.code == 0, ended.told
        assert_equal_folders(folder, whole)
    assert died


def test_predicting(trained, dataset, tmp_path):
    random, log, whole = Random(1), tmp_path / "log", tmp_path / "whole"
    command = ["segment", "predict", trained, dataset / "images", "--quiet", "--probabilities", "-o"]
    undisturbed = run([*command, whole], log)
    assert undisturbed.code == 0, undisturbed.told
    died = 0
    for number in range(TIMES):
        folder = tmp_path / f"killed{number}"
        died += killed([*command, folder], log, undisturbed.seconds, random)
        assert_whole(folder)
        ended = run([*command, folder], log)
        assert ended.code == 0, ended.told
        assert_whole(folder)
        assert_equal_folders(folder, whole)
    assert died
