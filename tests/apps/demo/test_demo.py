"""The whole demo at smoke size, on the real template, through the command line."""

from __future__ import annotations

import json
import re
import sys

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("nilearn")

from medloss.apps.common.errors import UserError
from medloss.apps.common.fields import load_displacement
from medloss.apps.common.images import load_volume
from medloss.apps.common.output import read_csv
from medloss.apps.common.report_numbers import cell
from medloss.apps.demo.template import load_template


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The run folder of ``medloss demo --quick``, and what it printed."""
    from typer.testing import CliRunner

    from medloss.apps.commands import app

    folder = tmp_path_factory.mktemp("demo") / "run"
    result = CliRunner().invoke(app, ["demo", "--quick", "--output", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0
    return folder, result.output


@pytest.fixture(scope="module")
def template():
    return load_template(4)


def test_template_has_all_tissues_on_one_grid(template):
    assert set(np.unique(template.tissues)) == {0, 1, 2, 3}
    assert np.array_equal(template.tissues > 0, template.brain) and (template.image[~template.brain] == 0).all()
    means = [template.image[template.tissues == label].mean() for label in (1, 2, 3)]
    assert means == sorted(means)  # on T1, CSF is darker than grey matter and grey than white
    assert template.volume.spacing == (4.0, 4.0, 4.0)


def test_missing_nilearn_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(UserError, match=re.escape("pip install 'medloss[demo]'")):
        load_template()


def test_network_learns_and_is_scored_beside_the_thresholds(finished):
    folder, _ = finished
    losses = [float(row["loss"]) for row in read_csv(folder / "segmentation" / "history.csv")]
    assert losses[-1] < 0.95 * losses[0]
    rows = json.loads((folder / "metrics.json").read_text())["dice"]
    assert [row["tissue"] for row in rows] == ["CSF", "grey matter", "white matter", "mean"]
    assert 0.6 < rows[-1]["dice_thresholds"] < 0.8  # the yardstick is a good one


def test_registration_finds_the_field(finished):
    folder, _ = finished
    numbers = json.loads((folder / "metrics.json").read_text())["registration"]
    assert 5 < numbers["tre_before_mm"] < 8
    assert numbers["tre_mm"] < 0.4 * numbers["tre_before_mm"]
    assert numbers["folding_brain_percent"] < 0.5


def test_files_lie_on_the_template(finished, template):
    folder, _ = finished
    names = [f"segmentation/{name}" for name in ("image", "reference", "prediction", "thresholded")]
    names += ["warped/fixed", "warped/moving", "registration/moved"]
    for name in names:
        volume = load_volume(folder / f"{name}.nii.gz")
        np.testing.assert_allclose(volume.affine, template.volume.affine)
        assert volume.array.shape == template.image.shape
    for name in ("warped/true_field", "registration/field"):
        ddf, affine = load_displacement(folder / f"{name}.nii.gz")
        np.testing.assert_allclose(affine, template.volume.affine)
        assert ddf.shape == (3, *template.image.shape)
        assert nib.load(folder / f"{name}.nii.gz").header["intent_code"] == 1007  # what ITK and ANTs read
    reference = load_volume(folder / "segmentation" / "reference.nii.gz").array
    assert not reference[:, : reference.shape[1] // 3].any()  # the part that was trained on is not scored


def test_pictures_are_not_blank(finished):
    folder, _ = finished
    for name in ("demo.png", "segmentation.png", "registration.png", "segmentation/progress.png"):
        assert matplotlib.image.imread(folder / name)[..., :3].std() > 0.03, name
    assert (folder / "demo.png").stat().st_size < 400_000


def test_report_and_table_tell_the_numbers_and_the_limits(finished):
    folder, printed = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    page = (folder / "report.html").read_text(encoding="utf-8")
    for row in metrics["dice"]:
        if row["dice_thresholds"] >= 0.1:
            assert f"{row['dice_thresholds']:.3f}" in page and f"{row['dice_thresholds']:.3f}" in printed
    for key in ("tre_before_mm", "tre_mm", "tre_p95_mm"):
        number = metrics["registration"][key]
        assert f">{cell(number)}<" in page and f" {number:.2f}" in printed
    for text in (page, printed):
        assert "no claim of generalisation" in text and "simulated" in text and "looking at these very numbers" in text
        assert "Its numbers mean nothing." in text  # it is the quick version
    assert page.count("data:image/png;base64,") == 4
    did, claim = (
        page.index(text) for text in ("a 3D U-Net learned brain tissues with the loss dice_ce", "no claim of")
    )
    assert did < claim, "what the reader sees comes first"
    assert "losses lncc on the images and diffusion, bending on the field" in page
    assert "medloss segment train DATA loss=[dice_ce]" in page and "-c registration/config.yaml" in page
    assert page.index("posterior part of the brain") < page.index("Dice on the anterior part"), "before its numbers"
    assert metrics["seconds"]["total"] > 0 and metrics["peak_gib"] > 0.1


def test_the_command_on_the_page_runs(finished, tmp_path):
    from typer.testing import CliRunner

    from medloss.apps.commands import app

    folder, _ = finished
    files = [str(folder / "warped" / name) for name in ("fixed.nii.gz", "moving.nii.gz")]
    command = [
        "register",
        "pair",
        *files,
        "-c",
        str(folder / "registration" / "config.yaml"),
        "-o",
        str(tmp_path / "o"),
    ]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert (tmp_path / "o" / "report.html").is_file()


def test_an_existing_folder_is_left_alone(finished, tmp_path, monkeypatch):
    from medloss.apps.common.output import RunFolder

    folder, _ = finished
    before = sorted(folder.rglob("*"))
    assert RunFolder.create(folder).path == folder.with_name("run-2")
    assert sorted(folder.rglob("*")) == before
