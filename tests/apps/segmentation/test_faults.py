"""Through the command line: a fault in the input gives one clear message, exit code 2, and no output at all."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from medloss.apps.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def command(dataset, tmp_path, capsys):
    """Runs ``medloss segment`` and returns (exit code, standard error)."""
    (tmp_path / "run.yaml").write_text(
        f"data: {{root: {dataset}, labels: {{shell: 2, ball: 4}}}}\nloss: {{dice_ce: {{}}}}\n"
        "model: {name: unet, channels: [4, 8]}\ntrain: {epochs: 1}\nvalidate: {previews: 0}\n"
    )

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["segment", *(str(each) for each in arguments)])
        told = capsys.readouterr().err.splitlines(keepends=True)
        return end.value.code or 0, "".join(line for line in told if not line.startswith("note: "))

    return run


def spoil(file, function, affine=None):
    image = nib.load(file)
    array = function(np.asarray(image.dataobj).copy())
    nib.save(nib.Nifti1Image(array, image.affine if affine is None else affine), file)


def spoil_label_2(dataset, function, affine=None):
    spoil(dataset / "labels" / "case_2.nii.gz", function, affine)


def break_image_3(dataset):
    (dataset / "images" / "case_3.nii.gz").write_bytes(b"no")


def faulty_label(dataset):
    def paint(array):
        array[0, 0, 0] = 7
        return array

    spoil(dataset / "labels" / "case_9.nii.gz", paint)


FAULTS = {
    "key": (lambda data: None, ["train.epoch=3"], ["train.epoch", "did you mean 'epochs'"]),
    "loss": (lambda data: None, ["loss={dice_cee: {}}"], ["dice_cee", "dice_ce"]),
    "loss option": (lambda data: None, ["loss.dice_ce.btach=true"], ["btach"]),
    "folder": (lambda data: None, ["data.root=/nowhere"], ["/nowhere"]),
    "missing": (lambda data: (data / "labels" / "case_9.nii.gz").unlink(), [], ["case_9", "label"]),
    "label": (faulty_label, [], ["case_9.nii.gz", "label 7", "[0, 2, 4]"]),
    "shape": (lambda data: spoil_label_2(data, lambda array: array[1:]), [], ["case_2", "shape"]),
    "place": (lambda data: spoil_label_2(data, lambda array: array, np.eye(4)), [], ["case_2", "mm apart"]),
    "unreadable": (break_image_3, [], ["case_3.nii.gz", "cannot read"]),
    "patch": (lambda data: None, ["data.patch=[15,16,16]"], ["data.patch", "multiple of 2"]),
    "channels": (lambda data: None, ["model.name=basicunet"], ["six channels"]),
    "window": (lambda data: None, ["data.intensity.rule=window"], ["low and high"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_in_training(command, dataset, tmp_path, fault):
    prepare, overrides, expected = FAULTS[fault]
    prepare(dataset)
    code, message = command("train", tmp_path / "run.yaml", *overrides, "--output", tmp_path / "run", "--quiet")
    assert code == 2
    assert message.startswith("error: ") and "Traceback" not in message
    for part in expected:
        assert part in message
    assert not (tmp_path / "run").exists()


def test_the_whole_way(command, dataset, tmp_path, capsys):
    assert command("train", tmp_path / "run.yaml", "--output", tmp_path / "run", "--quiet")[0] == 0
    assert command("predict", tmp_path / "run", dataset / "images", "-o", tmp_path / "masks", "--quiet")[0] == 0
    assert command("evaluate", tmp_path / "masks", dataset / "labels", "--quiet")[0] == 0
    assert (tmp_path / "masks" / "metrics.json").is_file()
    assert "case_9" in (tmp_path / "masks" / "metrics.csv").read_text()
    code, message = command("predict", tmp_path / "run", dataset / "images" / "case_1.nii.gz", "--tta", "--quiet")
    assert code == 2 and "train.mirror" in message


def test_resume_needs_a_run(command, tmp_path):
    assert command("train", tmp_path / "run.yaml", "--resume")[0] == 2
    assert command("train", tmp_path / "run.yaml", "--resume", "--output", tmp_path / "none")[0] == 2
    code, message = command("predict", tmp_path, tmp_path / "run.yaml")
    assert code == 2 and "not a run folder" in message


def test_print_config_and_dry_run_write_nothing(command, tmp_path):
    assert command("train", tmp_path / "run.yaml", "--print-config", "-o", tmp_path / "run")[0] == 0
    assert command("train", tmp_path / "run.yaml", "--dry-run", "-o", tmp_path / "run")[0] == 0
    assert not (tmp_path / "run").exists()
