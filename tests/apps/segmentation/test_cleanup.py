"""Clean-up: what it removes, that it is chosen on validation cases alone, and that predict does it."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from medloss.apps.commands import app
from medloss.apps.common.errors import UserError
from medloss.apps.common.output import RunFolder, read_json
from medloss.apps.segmentation.classes import Classes, write_classes
from medloss.apps.segmentation.cleanup import choose_cleanup, clean, keep_largest, read_cleanup
from medloss.apps.segmentation.evaluation_pairs import Pair
from medloss.apps.segmentation.predict import predict

pytestmark = pytest.mark.filterwarnings("ignore")
CLASSES = Classes.from_mapping({"label_2": 2, "label_4": 4})


def test_the_largest_component_stays():
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[:2, :2, :2] = 3
    mask[2, 2, 2] = 5  # touches by a corner, and is of the class too
    mask[5, 5, 4:] = 3
    mask[5, 0, 0] = 1
    found = keep_largest(mask, (3, 5))
    assert (found == 3).sum() == 8 and found[2, 2, 2] == 5 and found[5, 0, 0] == 1 and found.dtype == mask.dtype
    assert keep_largest(found, (3, 5)) is found
    assert clean(mask, Classes.from_mapping({"a": [3, 5], "b": 1}), ["a"])[5, 5, 5] == 0


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a run, which may be written to."""
    return RunFolder.open(shutil.copytree(trained, tmp_path / "run"))


def validation_pair(run, dataset, tmp_path, change):
    """A mask made of the reference of the run's validation case."""
    case = read_json(run.path / "made_of.json")["parts"]["valid"][0]
    reference = dataset / "labels" / f"{case}.nii.gz"
    image = nib.load(reference)
    mask = tmp_path / "masks" / reference.name
    mask.parent.mkdir()
    nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj).copy()), image.affine), mask)
    write_classes(mask.parent, CLASSES)
    return Pair(case, mask, reference)


def with_an_island(array):
    """A second, false ball in a corner."""
    array[:2, :2, :2] = 4
    return array


def test_what_gains_is_chosen_and_predict_does_it(run, dataset, tmp_path):
    pair = validation_pair(run, dataset, tmp_path, with_an_island)
    arguments = ["segment", "evaluate", str(pair.prediction), str(pair.reference), "--choose-cleanup", str(run.path)]
    result = CliRunner().invoke(app, [*arguments, "--previews", "0", "--quiet"], catch_exceptions=False)
    assert result.exit_code == 0 and "label_4: mean Dice" in result.output and ": cleaned" in result.output
    assert read_cleanup(run, CLASSES) == ("label_4",)
    content = json.loads((run.path / "cleanup.json").read_text())
    assert content["chosen_on"] == [pair.case] and content["mean_dice"]["label_4"]["cleaned"] == 1
    source = dataset / "images" / pair.prediction.name
    plain = predict(run.path, [source], tmp_path / "plain", progress=False)[0]
    cleaned = predict(run.path, [source], tmp_path / "clean", cleanup=True, previews=True, progress=False)[0]
    arrays = [np.asarray(nib.load(path).dataobj) for path in (plain, cleaned)]
    assert np.array_equal(arrays[1], clean(arrays[0], CLASSES, ["label_4"]))
    assert (cleaned.parent / "previews" / f"{pair.case}.png").stat().st_size > 5000
    with pytest.raises(UserError, match="not made by this run with these options"):
        predict(run.path, [source], tmp_path / "clean", progress=False)


def test_only_validation_data_chooses(run, dataset, tmp_path):
    pair = validation_pair(run, dataset, tmp_path, with_an_island)
    case = read_json(run.path / "made_of.json")["parts"]["train"][0]
    other = pair._replace(reference=dataset / "labels" / f"{case}.nii.gz")
    with pytest.raises(UserError, match="clean-up is chosen on these alone"):
        choose_cleanup(run, [pair, other], CLASSES)
    with pytest.raises(UserError, match="regions that overlap have none"):
        choose_cleanup(run, [pair], Classes.from_mapping({"whole": [2, 4], "ball": 4}))
    assert not (run.path / "cleanup.json").exists()
    with pytest.raises(UserError, match="--choose-cleanup"):
        predict(run.path, [dataset / "images"], tmp_path / "none", cleanup=True, progress=False)
    (run.path / "cleanup.json").write_text('{"largest_component": ["liver"]}')
    with pytest.raises(UserError, match="must list classes of the run"):
        read_cleanup(run, CLASSES)
