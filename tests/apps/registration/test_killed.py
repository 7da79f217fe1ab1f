"""``register train``, ``pair`` and ``predict`` are killed at random moments, and give what they give undisturbed."""

from __future__ import annotations

from random import Random

import pytest
from killing import assert_equal_folders, assert_whole, killed, names_of, run
from registration_phantoms import blobs, oblique, save

from medloss.apps.common.config import dump_config
from medloss.apps.common.output import UNFINISHED
from medloss.apps.registration.config import RegistrationConfig

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
TIMES = 3


@pytest.fixture
def config(training, tmp_path):
    changes = {"device": "cpu", "validate": {"keep": 2}}
    (tmp_path / "run.yaml").write_text(dump_config(RegistrationConfig.model_validate(training | changes)))
    return tmp_path / "run.yaml"


def test_training_and_predicting(config, tmp_path):
    random, log, whole = Random(2), tmp_path / "log", tmp_path / "whole"
    undisturbed = run(["register", "train", config, "-o", whole, "--quiet"], log)
    assert undisturbed.code == 0, undisturbed.told
    died = 0
    for number in range(TIMES):
        folder = tmp_path / f"killed{number}"
        died += killed(["register", "train", config, "-o", folder, "--quiet"], log, undisturbed.seconds, random)
        assert_whole(folder)
        if not (folder / "checkpoints" / "last.pt").is_file():  # killed before the training began: there is no run
            continue
        ended = run(["register", "train", "-o", folder, "--resume", "--quiet"], log)
        assert ended.code == 0, ended.told
        assert_equal_folders(folder, whole)
    assert died
    command = ["register", "predict", whole, "--quiet", "-o"]
    undisturbed = run([*command, tmp_path / "pairs"], log)
    assert undisturbed.code == 0, undisturbed.told
    for number in range(TIMES):
        folder = tmp_path / f"pairs{number}"
        died += killed([*command, folder], log, undisturbed.seconds, random)
        assert_whole(folder)
        ended = run([*command, folder], log)
        assert ended.code == 0, ended.told
        assert_equal_folders(folder, tmp_path / "pairs")
    assert died > 1


def test_a_pair(tmp_path):
    """Nothing goes on here: what stands after a kill is whole, and the next run takes another folder."""
    random, log = Random(3), tmp_path / "log"
    files = [save(tmp_path / f"{seed}.nii.gz", blobs((16, 15, 14), seed=seed), oblique()) for seed in (0, 1)]
    command = ["register", "pair", *files, "pyramid=[2,1]", "iterations=[4,3]", "device=cpu", "--quiet", "-o"]
    undisturbed = run([*command, tmp_path / "whole"], log)
    assert undisturbed.code == 0, undisturbed.told
    died = 0
    for number in range(TIMES):
        folder = tmp_path / f"killed{number}"
        died += killed([*command, folder], log, undisturbed.seconds, random)
        assert_whole(folder)
        finished = {name for name in names_of(folder) if not name.startswith(UNFINISHED)}
        assert finished <= set(names_of(tmp_path / "whole"))
    assert died
    ended = run([*command, folder], log)
    assert ended.code == 0, ended.told
    assert_equal_folders(tmp_path / f"killed{TIMES - 1}-2", tmp_path / "whole")
