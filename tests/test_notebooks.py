"""The tutorials run from top to bottom at smoke size, and are committed with their outputs and pictures."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from forked import Kernel

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")

TUTORIALS = Path(__file__).resolve().parent.parent / "tutorials"
NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))
SMOKE = {"MEDLOSS_SMOKE": "1"}


def outputs(content) -> list:
    return [output for cell in content.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(content) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(content))


def test_there_are_tutorials():
    assert NOTEBOOKS
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", path.name) for path in NOTEBOOKS)
    assert len({path.name[:2] for path in NOTEBOOKS}) == len(NOTEBOOKS), "two tutorials have one number"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_with_its_outputs(path):
    content = nbformat.read(path, as_version=4)
    nbformat.validate(content)
    counts = [cell.execution_count for cell in content.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`: every cell, in order, in a fresh kernel"
    assert pictures(content) >= 2
    kinds = {output.output_type for output in outputs(content)}
    assert "error" not in kinds
    warned = [output.text for output in outputs(content) if output.get("name") == "stderr"]
    assert not warned, f"the committed outputs hold warnings: {warned}"
    assert path.stat().st_size < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_at_smoke_size(path, monkeypatch):
    """In a kernel of its own, forked from a process that has imported torch and its like."""
    monkeypatch.setattr("jupyter_client.provisioning.local_provisioner.launch_kernel", Kernel)
    specification = importlib.util.spec_from_file_location("execute", TUTORIALS / "execute.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    committed = nbformat.read(path, as_version=4)
    content = module.execute(path, SMOKE, timeout=120)
    assert pictures(content) == pictures(committed)
    assert all(cell.execution_count for cell in content.cells if cell.cell_type == "code")
