"""What is measured of a registered pair: overlap, surfaces, landmarks, and what becomes of a region that is missed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from medloss.apps.common.errors import UserError
from medloss.apps.registration.config import Losses
from medloss.apps.registration.evaluate import report, summarise_cases
from medloss.apps.registration.losses import RegistrationLoss
from medloss.apps.registration.measure import landmark_errors, overlap_rows, regions, similarity
from medloss.apps.registration.report import _note

SPACING = (1.0, 2.0, 2.0)


def cube(start: int, shape=(12, 12, 12)) -> torch.Tensor:
    label = torch.zeros(shape, dtype=torch.int32)
    label[start : start + 4, 2:6, 2:6] = 1
    return label


def measured(fixed, before, after):
    return overlap_rows(*(regions(each, (1,)) for each in (fixed, before, after)), SPACING)[0]


def test_overlap_and_distances_of_a_shifted_cube():
    row = measured(cube(2), cube(4), cube(3))
    assert row["dice_before"] == pytest.approx(2 * 32 / 128) and row["dice"] == pytest.approx(2 * 48 / 128)
    assert row["hd95_mm"] == pytest.approx(1.0) and 0 < row["asd_mm"] < 1 and row["missed"] is False


def test_a_missed_region_costs_the_diagonal_and_an_absent_one_nothing():
    nothing = torch.zeros_like(cube(2))
    diagonal = math.sqrt(12**2 + 24**2 + 24**2)
    for pair in ((cube(2), nothing), (nothing, cube(2))):
        row = measured(pair[0], cube(2), pair[1])
        assert row["missed"] and row["dice"] == 0.0 and row["hd95_mm"] == row["asd_mm"] == pytest.approx(diagonal)
    row = measured(nothing, nothing, nothing)
    assert not row["missed"] and math.isnan(row["dice"]) and math.isnan(row["hd95_mm"])


def test_landmarks_before_and_after():
    affine = np.diag([1.0, 2.0, 2.0, 1.0])
    fixed = np.array([[2.0, 4.0, 4.0], [3.0, 6.0, 8.0]])
    moving = fixed + np.array([1.0, 0.0, 0.0])
    still = torch.zeros(3, 12, 12, 12)
    field = still.clone()
    field[0] = 1.0
    found = landmark_errors(field, still, (fixed, moving), affine)
    assert found["tre_before_mm"] == pytest.approx(1.0) and found["tre_mm"] == pytest.approx(0.0)
    assert found["landmarks"] == 2


def case(name, dice, missed=False, **others):
    row = {"label": "1", "dice_before": 0.5, "dice": dice, "hd95_mm": 2.0, "asd_mm": 1.0, "missed": missed}
    numbers = {"tre_mm": 1.5, "folding_percent": 0.0, "folding_inside_percent": 0.0, "seconds": 3.0}
    return {"case": name, "labels": [row], **numbers, **others}


def write(folder, found):
    (folder / found["case"]).mkdir(parents=True)
    (folder / found["case"] / "metrics.json").write_text(json.dumps(found))


def test_the_table_counts_what_is_missed(tmp_path):
    write(tmp_path, case("a", 0.8))
    write(tmp_path, case("b", 0.0, missed=True))
    result = summarise_cases(tmp_path)
    label = result.summary["labels"]["1"]
    assert label["missed"] == 1 and label["dice"]["mean"] == pytest.approx(0.4) and label["dice"]["n"] == 2
    assert (
        result.summary["field"]["tre_mm"]["mean"] == 1.5
        and "landmarks" in result.summary["field"]["tre_mm"]["definition"]
    )
    assert "missed" in (tmp_path / "metrics.csv").read_text().splitlines()[0]


def test_the_folder_of_one_pair_keeps_its_numbers(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(case("a", 0.8)))
    (tmp_path / "field.nii.gz").touch()
    assert summarise_cases(tmp_path).folder == tmp_path / "evaluation"
    assert json.loads((tmp_path / "metrics.json").read_text())["case"] == "a"


def of_one_pair(folder):
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(case("a to b", 0.8)))
    (folder / "field.nii.gz").touch()
    return folder


def test_the_page_of_one_pair_is_named_by_it_and_has_no_intervals(tmp_path):
    folder = of_one_pair(tmp_path / "result")
    before = (folder / "metrics.json").read_text()
    page = report(folder)
    assert page == folder / "report.html" and (folder / "metrics.json").read_text() == before
    text = page.read_text(encoding="utf-8")
    assert "<h1>Registration: a to b</h1>" in text and "<dd>result</dd>" in text
    assert "interval" not in text and "<h2>The pair</h2>" in text and "<h2>Regions</h2>" in text
    elsewhere = summarise_cases(folder).folder / "report.html"
    assert "<dd>result</dd>" in elsewhere.read_text(encoding="utf-8"), "not the name of the folder of the page"


def test_the_page_of_several_pairs_explains_its_brackets(tmp_path):
    write(tmp_path / "pairs", case("a", 0.8))
    write(tmp_path / "pairs", case("b", 0.6))
    text = report(tmp_path / "pairs", tmp_path / "out").read_text(encoding="utf-8")
    assert "<h1>Registration: pairs</h1>" in text, "the folder that was evaluated"
    assert "Regions: mean [95 % interval]" in text and "Fields: mean [95 % interval]" in text
    assert (tmp_path / "out" / "metrics.csv").is_file()


def test_a_folder_without_pairs_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no registered pairs"):
        report(tmp_path)


def test_what_is_no_case_is_named(tmp_path):
    write(tmp_path, {"case": "a", "labels": None})
    with pytest.raises(UserError, match=r"a/metrics\.json is not"):
        summarise_cases(tmp_path)


def test_images_are_compared_where_both_are():
    """What fills the rest of the grid counts neither in the correlation nor in the losses."""
    fixed = torch.arange(64.0).reshape(4, 4, 4) / 63
    moved, inside = fixed.clone(), torch.ones(4, 4, 4, dtype=torch.bool)
    moved[2:], inside[2:] = 0.0, False
    loss = RegistrationLoss(Losses(image={"mse": {}}))
    found = similarity(fixed, (moved, torch.ones_like(inside)), (moved, inside), loss)
    assert found["ncc_before"] < 0
    assert found["ncc"] == pytest.approx(1)
    assert found["image.mse_before"] > 0.2
    assert found["image.mse"] == pytest.approx(0, abs=1e-12)
    assert math.isnan(similarity(fixed, (moved, ~inside), (moved, inside & ~inside), loss)["ncc"])


@pytest.mark.parametrize(
    ("found", "less"),
    [
        ({"ncc_before": -0.1, "ncc": -0.6, "image.mi_before": -1.0, "image.mi": -1.4}, False),
        ({"ncc_before": -0.6, "ncc": -0.1, "image.mi_before": -1.4, "image.mi": -1.0}, True),
        ({"ncc_before": 0.6, "ncc": 0.5}, True),
        ({"ncc_before": 0.5, "ncc": 0.6}, False),
    ],
)
def test_the_image_losses_say_whether_images_agree_less(found, less):
    """The correlation of unlike modalities falls where they meet."""
    assert ("agree less" in _note({"labels": [], "folding_percent": 0.0, **found})) == less
