"""The first call on a GPU, rehearsed without one: a bare machine, no cache of pytest's, tests that fail in between."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "on_gpu.sh"
MISSING = (
    "monai", "kornia", "scipy", "nibabel", "itk", "pydantic", "omegaconf", "typer", "matplotlib", "skimage", "sklearn",
    "pandas", "tqdm", "tensorboard", "segmentation_models_pytorch",
)  # fmt: skip
"""What a lent machine with torch, Triton, NumPy and pytest has not."""


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a machine with torch and Triton alone; what Python loads first hides the rest."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({MISSING}))\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "FAILURES"))}
    return kept | {"PYTHONPATH": str(folder), "PYTHON": sys.executable, "DEVICE": "cpu", "EDGE": "8", **more}


def call(folder: Path, part: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One call of the script; what it leaves lies in ``out``."""
    command = ["bash", str(SCRIPT), part, str(folder / "out")]
    return subprocess.run(command, env=environment(folder, **more), capture_output=True, text=True, cwd=folder)


@pytest.mark.slow
def test_the_first_call(tmp_path) -> None:
    done = call(tmp_path, "first", MEDLOSS_BACKEND="reference")
    log = (tmp_path / "out" / "first.log").read_text()
    said = (tmp_path / "out" / "summary.txt").read_text()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.findall(r"^(\w+): passed", said, re.M) == ["about", "check", "time", "tests"], said
    assert "BAD" not in log
    assert len(re.findall("^ok  ", log, re.M)) == 23
    assert "dice_ce_n14 " in log
    assert "lovasz_n4 " in log, "the last row"
    collected = re.findall(r"^(tests/\S+\.py): \d+$", log, re.M)
    assert "tests/contract/test_on_gpu.py" in collected
    missed = {path.name for path in (ROOT / "tests/ops/triton").glob("test_*.py")} - {Path(p).name for p in collected}
    assert not missed, "files whose collection fails on a bare machine"
    assert len(list((tmp_path / "out").iterdir())) <= 8, "more files do not come back"
    assert "kernels:" not in log, "nothing asks for the native library, which would be built"


def stand_ins(folder: Path) -> str:
    """A search path with NVIDIA's tools, which run the command behind their options."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("compute-sanitizer", "ncu"):
        (tools / name).write_text('#!/bin/sh\nwhile [ "$1" != "$PYTHON" ]; do shift; done\nexec "$@"\n')
        (tools / name).chmod(0o755)
    return f"{tools}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.slow
def test_the_second_call(tmp_path) -> None:
    """All of its parts: tests are collected, the tools are stand-ins, and the rows are small."""
    more = {"PATH": stand_ins(tmp_path), "AGAIN": "tests/ops/triton/test_cuda.py", "LIMIT": "1500", "EDGE": "12"}
    done = call(tmp_path, "second", MEDLOSS_BACKEND="reference", **more)
    log = (tmp_path / "out" / "second.log").read_text()
    said = (tmp_path / "out" / "summary.txt").read_text()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    parts = ["again", "compile", "memcheck", "initcheck", "speed", "ncu", "memory", "half"]
    assert re.findall(r"^(\w+): passed", said, re.M) == parts, said
    assert "BAD" not in log
    assert "tests/ops/triton/test_cuda.py: " in log
    assert len(re.findall(r"^ok +\w+ reduce-overhead", log, re.M)) == 2
    for name in ("speed", "memory", "speed_bfloat16"):
        report = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert all("medloss" in row for row in report["rows"].values()), name
        assert len(report["rows"]) == (8 if name == "speed_bfloat16" else 42), name
    assert len(list((tmp_path / "out").iterdir())) <= 8, "more files do not come back"


def test_a_failure_is_written_when_it_happens(tmp_path) -> None:
    """The run is ended while a later test hangs: pytest says nothing by then."""
    (tmp_path / "test_it.py").write_text(
        "import os, signal\ndef test_bad():\n    assert 1 == 2, 'told at once'\n"
        "def test_hangs():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    told = tmp_path / "failures.txt"
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # this is no worker
    variables = outer | {"FAILURES": str(told), "PYTHONPATH": str(SCRIPT.parent)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "write_failures", "-p", "no:cacheprovider", "test_it.py"]
    subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True)
    assert "test_it.py::test_bad [call]" in told.read_text()
    assert "told at once" in told.read_text()


def test_every_name_in_the_script_is_one(monkeypatch) -> None:
    """Rows and cases that are asked for by name exist, and both calls fit into six minutes."""
    text = SCRIPT.read_text()
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    rows = (ROOT / "benchmarks" / "rows_gpu.py").read_text(), (ROOT / "benchmarks" / "first_contact.py").read_text()
    cases = (ROOT / "benchmarks" / "contact_cases.py").read_text()
    for name in re.search(r'SMALL="([^"]*)"', text)[1].split(","):
        assert f'"{name}": ' in cases, name
    for name in re.search(r"--only (\S*) time", text)[1].split(","):
        assert f'"{name}": ' in rows[1], name
    for name in re.search(r"bfloat16.json\" \\\n\s*(.*)'", text)[1].split():
        assert f'"{name.rsplit("_", 1)[0]}' in rows[0], name
    assert int(re.search(r"LIMIT:-(\d+)", text)[1]) < 345
    parts = set(re.findall(r"^        (\w+)\)", text, re.M))
    for listed in re.findall(r'PARTS="([^$"]*)"', text):
        assert set(listed.split()) <= parts


def test_nothing_goes_on_beyond_the_limit(tmp_path) -> None:
    done = call(tmp_path, "check", LIMIT="0")
    assert "check: no time left" in done.stdout
    assert done.returncode == 1
