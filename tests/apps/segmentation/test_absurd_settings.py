"""Values that are of the right type and make no sense: one message, never a traceback. Other seeds find other ones."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from medloss.apps.cli import main

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]
VALUES = [
    "-1",
    "0",
    "1e300",
    ".inf",
    "-.inf",
    ".nan",
    "''",
    "null",
    "[]",
    "{}",
    "[1]",
    "[2,2,2]",
    "[0,0,0]",
    "[.inf,1,1]",
    "[1e-6,1,1]",
    "1180591620717411303424",
    "true",
    "abc",
    "[[1]]",
    "{a:1}",
    "2",
    "0.5",
    "100000",
]
COUNT = 60


def leaves(tree, above=""):
    if not isinstance(tree, dict) or not tree:
        return [above]
    return [each for key, value in tree.items() for each in leaves(value, f"{above}.{key}" if above else key)]


def ends_well(arguments, capsys):
    """Whether a command ends by itself or with one message, and what it said."""
    try:
        main([str(each) for each in arguments])
    except SystemExit as end:
        said = capsys.readouterr().err
        return end.code in (None, 0) or (end.code == 2 and "Traceback" not in said), said
    except Exception as error:
        return False, repr(error)
    return True, ""


def test_absurd_values(dataset, settings, tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_text(
        f"data: {{root: {dataset}}}\nloss: {{dice_ce: {{batch: true}}}}\nmodel: {{name: unet, channels: [4, 8]}}\n"
        "train: {epochs: 1}\nvalidate: {previews: 0}\n"
    )
    keys = leaves(settings().model_dump(mode="json", by_alias=True))
    pairs = [(key, value) for key in keys if key != "data.root" for value in VALUES]
    random.Random(0).shuffle(pairs)
    found = {}
    for key, value in pairs[:COUNT]:
        well, said = ends_well(["segment", "train", file, f"{key}={value}", "--dry-run"], capsys)
        if not well:
            found[f"{key}={value}"] = said
    assert not found


def test_a_damaged_dataset_json(dataset, tmp_path, capsys):
    """One flipped byte: trained on what it says, or one message; never a file outside."""
    cases = [{"image": f"images/case_{n}.nii.gz", "label": f"labels/case_{n}.nii.gz"} for n in (1, 2, 3)]
    raw = json.dumps({"labels": {"0": "background", "2": "shell", "4": "ball"}, "training": cases}).encode()
    file, generator, found = tmp_path / "run.yaml", np.random.default_rng(0), {}
    file.write_text(
        f"data: {{kind: msd, root: {dataset}}}\nloss: {{dice_ce: {{}}}}\nmodel: {{name: unet, channels: [4, 8]}}\n"
    )
    for number in range(40):
        damaged = bytearray(raw)
        damaged[generator.integers(len(raw))] = generator.integers(256)
        (dataset / "dataset.json").write_bytes(damaged)
        well, said = ends_well(["segment", "train", file, "--dry-run"], capsys)
        if not well:
            found[number] = said
    assert not found
