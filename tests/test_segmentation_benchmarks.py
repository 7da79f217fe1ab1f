"""The benchmarks of the segmentation: they run, at a size that tells nothing, and their tables read right."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import segmentation
    import segmentation_choices
    import segmentation_losses
    import segmentation_phantom

    yield segmentation, segmentation_losses, segmentation_phantom, segmentation_choices
    for name in ("", "_choices", "_losses", "_phantom", "_trial"):
        sys.modules.pop(f"segmentation{name}", None)


def test_phantom_has_every_class_and_is_its_seeds_alone(modules):
    phantom = modules[2]
    image, label = phantom.case(3)
    assert np.bincount(label.ravel()).min() > 10 and len(np.unique(label)) == 4
    np.testing.assert_array_equal(image, phantom.case(3)[0])
    assert not np.array_equal(image, phantom.case(4)[0])


@pytest.mark.filterwarnings("ignore")
def test_both_methods_train_and_the_table_has_the_difference_of_two_lengths(modules, tmp_path, monkeypatch):
    benchmark, _, phantom, _ = modules
    monkeypatch.setattr(benchmark, "NETWORK", [4, 8, 8])
    folder = phantom.write(tmp_path / "data", 5)
    assert benchmark.cases_of(folder) == ([f"case_00{n}.nii.gz" for n in range(4)], ["case_004.nii.gz"])
    rows = [benchmark.measure(method, folder, 2, 1) for method in benchmark.METHODS]
    assert all(0 <= row["dice"] <= 1 and row["processor_s"] > 0 and row["peak_gib"] > 0 for row in rows)
    longer = [{**row, "steps": 12, "processor_s": row["processor_s"] + 2.5} for row in rows]
    assert benchmark.table([*rows, *longer]).count("| 250 |") == 2


@pytest.mark.filterwarnings("ignore")
def test_losses_train_for_their_time_and_faults_are_a_line(modules, tmp_path):
    _, benchmark, phantom, _ = modules
    folder = phantom.write(tmp_path / "data", 5)
    rows = [benchmark.row(name, folder, 0.5) for name in ("dice_ce", "boundary", "exclusion")]
    assert [row["loss"] for row in rows] == ["dice_ce", "boundary + dice_ce", "exclusion + dice_ce"]
    assert rows[0]["steps"] >= 1 and 0 <= rows[0]["dice"] <= 1 and "all cases annotate" in rows[2]["fault"]
    lines = benchmark.table(rows).splitlines()
    assert lines[0].startswith("| loss | dice | dice_label_1") and "exclusion + dice_ce:" in lines[-1]


@pytest.mark.filterwarnings("ignore")
def test_choices_train_each_for_itself_and_the_plan_stands_first(modules, tmp_path, monkeypatch):
    _, _, phantom, benchmark = modules
    folder = phantom.write(tmp_path / "data", 5)
    monkeypatch.setitem(benchmark.PLAN, "data.patch", "[16,16,16]")
    names = (benchmark.NAME, "no rotation and scaling", "batch 1")
    rows = [benchmark.row(name, 1, folder, 4) for name in names]
    assert [row["steps"] for row in rows] == [2, 2, 4] and all(0 <= row["dice"] <= 1 for row in rows)
    better = [{**row, "dice": 0.1 * number} for number, row in enumerate(rows)]
    first = [line.split(" | ")[0] for line in benchmark.table(better).splitlines()[2:]]
    assert first == ["| the plan", "| batch 1", "| no rotation and scaling"]
    # the options of every variant are ones that there are
    for variant in benchmark.VARIANTS.values():
        options = {**benchmark.PLAN, **variant.options, "data.root": folder}
        benchmark.load_config(benchmark.Config, [], [f"{key}={value}" for key, value in options.items()])


def test_a_lesion_that_is_left_out_is_not_found(monkeypatch):
    """The benchmark of missing lesions: what is left of a label are whole lesions, and the score counts the others."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import missing_lesions as benchmark

    image, label = benchmark.cohort(1, 1)[0]
    less = benchmark.without_some(label, np.random.default_rng(0))
    count, kept = (int(benchmark.COMPONENTS(each).max()) for each in (label, less))
    assert 0 < kept < count and not (less & ~label).any() and image.shape == label.shape
    dice, found, alarms = benchmark.score(less[None] == 1, label[None] == 1)
    assert found == kept / count and alarms == 0 and 0 < dice < 1
    network = benchmark.train(
        benchmark.build_loss(benchmark.LOSSES["tversky_ce"]), [(image, less)] * 4, seed=0, steps=1
    )
    assert network(image[None]).shape == (1, 2, 32, 32, 32)
    sys.modules.pop("missing_lesions")
