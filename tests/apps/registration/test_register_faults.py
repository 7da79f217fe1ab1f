"""Whatever is wrong with the input: one clear message, exit code 2, and nothing written."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from registration_phantoms import SHAPE, blobs, oblique, save

from medloss.apps.cli import main


@pytest.fixture
def files(tmp_path):
    image = blobs()
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"not an image")
    far_away = np.eye(4)
    far_away[:3, 3] = 900.0
    hole = image.copy()
    hole[3, 3, 3] = np.nan
    return {
        "image": save(tmp_path / "image.nii.gz", image),
        "label": save(tmp_path / "label.nii.gz", (image > 50).astype(np.uint8)),
        "small": save(tmp_path / "small.nii.gz", image[:-1]),
        "far": save(tmp_path / "far.nii.gz", image, far_away),
        "shifted": save(tmp_path / "shifted.nii.gz", (image > 50).astype(np.uint8), oblique()),
        "series": save(tmp_path / "series.nii.gz", np.zeros((*SHAPE, 2), np.float32)),
        "hole": save(tmp_path / "hole.nii.gz", hole),
        "empty": save(tmp_path / "empty.nii.gz", np.zeros(SHAPE, np.uint8)),
        "broken": broken,
        "absent": tmp_path / "absent.nii.gz",
    }


def fault_of(arguments, capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["register", *map(str, arguments)])
    captured = capsys.readouterr()
    assert stop.value.code == 2, captured
    assert "Traceback" not in captured.err
    return captured.err


PAIR_FAULTS = [
    (["{absent}", "{image}"], "absent.nii.gz"),
    (["{broken}", "{image}"], "cannot read"),
    (["{series}", "{image}"], "expected a 3D"),
    (["{image}", "{hole}"], "NaN"),
    (["{image}", "{far}"], "do not overlap"),
    (["{image}", "{image}", "--mask", "{small}"], "shape"),
    (["{image}", "{image}", "--mask", "{empty}"], "mask is empty"),
    (["{image}", "{image}", "--fixed-label", "{label}"], "--moving-label"),
    (["{image}", "{image}", "--fixed-label", "{label}", "--moving-label", "{small}"], "shape"),
    (["{image}", "{image}", "--fixed-label", "{label}", "--moving-label", "{shifted}"], "mm apart"),
    (["{image}", "{image}", "--fixed-label", "{label}", "--moving-label", "{image}"], "not a label map"),
    (["{image}", "{image}", "loss.label.dice.weight=1"], "no labels"),
    (["{image}", "{image}", "itarations=[1]"], "did you mean 'iterations'"),
    (["{image}", "{image}", "loss.image.lnc.weight=1"], "lncc"),
    (["{image}", "{image}", "loss.image.dice.weight=1"], "dice"),
    (["{image}", "{image}", "iterations=[1,2]"], "one number per level"),
    (["{image}", "{image}", "regularise=velocity", "transform=ddf"], "velocity"),
    (["{image}", "{image}", "lr=fast"], "lr"),
    (["{image}", "{image}", "--config", "{absent}"], "does not exist"),
]


@pytest.mark.parametrize(("arguments", "message"), PAIR_FAULTS, ids=[message for _, message in PAIR_FAULTS])
def test_pair(files, tmp_path, capsys, arguments, message):
    quick = [] if any("iterations" in each for each in arguments) else ["iterations=[1,1,1]"]
    given = [each.format(**files) for each in arguments]
    assert message in fault_of(["pair", *given, *quick, "-o", tmp_path / "out", "-q"], capsys)
    assert not (tmp_path / "out").exists()


def remove_a_label(root, training):
    next((root / "train" / "moving_labels").iterdir()).unlink()


def no_labels_configured(root, training):
    del training["data"]["labels"]


def wrong_shape(root, training):
    path = sorted((root / "train" / "fixed_labels").iterdir())[0]
    save(path, np.zeros((5, 5, 5), np.uint8))


def not_a_mask(root, training):
    path = sorted((root / "train" / "fixed_labels").iterdir())[0]
    save(path, np.full((16, 14, 12), 4, np.uint8))


def unlike_regions(root, training):
    path = sorted((root / "train" / "fixed_labels").iterdir())[0]
    save(path, np.zeros((16, 14, 12, 3), np.uint8))


def no_such_folder(root, training):
    training["data"]["root"] = str(root / "nowhere")


def no_such_network(root, training):
    training["model"]["name"] = "transformer"


def nothing_attracts(root, training):
    training["loss"] = {"field": {"bending": {}}}


def typing_error(root, training):
    training["train"]["epoch"] = 3


TRAIN_FAULTS = {
    remove_a_label: "equal names",
    no_labels_configured: "data.labels is missing",
    wrong_shape: "must agree",
    not_a_mask: "kind: map",
    unlike_regions: "one to one",
    no_such_folder: "no folder for the split",
    no_such_network: "model.name",
    nothing_attracts: "nothing draws",
    typing_error: "did you mean 'epochs'",
}


@pytest.mark.parametrize("fault", TRAIN_FAULTS, ids=lambda fault: fault.__name__)
def test_train(deepreg_data, training, tmp_path, capsys, fault):
    import shutil

    root = tmp_path / "data"
    shutil.copytree(deepreg_data, root)
    training["data"]["root"] = str(root)
    fault(root, training)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(training))
    assert TRAIN_FAULTS[fault] in fault_of(["train", tmp_path / "run.yaml", "-o", tmp_path / "out", "-q"], capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [["predict", "{folder}"], ["evaluate", "{folder}"], ["train"], ["train", "{folder}/a.yaml"]]
)
def test_no_run(tmp_path, capsys, arguments):
    fault_of([each.format(folder=tmp_path) for each in arguments], capsys)
