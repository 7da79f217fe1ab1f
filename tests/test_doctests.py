"""The examples in the docstrings, by module name: `medloss.transforms` and `.apps` live in folders of other names."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"medloss": "medloss", "medloss.transforms": "transforms", "medloss.apps": "apps"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def module_names() -> list[str]:
    """Every module of medloss, from the files of the checkout: the package itself may be an installed wheel."""
    names = []
    for package, folder in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if parts[-1] != "__main__":
                names.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return names


@pytest.mark.parametrize("name", module_names())
def test_examples_of(name):
    if name.endswith(".kernel"):
        pytest.importorskip("triton")
    module = importlib.import_module(name)
    torch.manual_seed(0)
    results = doctest.testmod(module, optionflags=FLAGS)
    assert results.failed == 0, f"{results.failed} of {results.attempted} examples of {name} fail: see above"


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    examples = sum(len(test.examples) for test in finder.find(importlib.import_module("medloss.transforms.labels")))
    assert examples > 5
