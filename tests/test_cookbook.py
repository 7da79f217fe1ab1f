"""The pages of the cookbook: their code blocks run from top to bottom, as a reader would paste them.

A page whose packages are not installed is skipped by name; ``<!-- needs: ... -->`` says which they are.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs" / "cookbook").glob("*.md"))
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.M | re.S)


def needs(text: str) -> list[str]:
    """The packages that a page needs and that are not here."""
    found = re.search(r"<!-- needs: (.*?) -->", text)
    names = [name.strip() for name in found.group(1).split(",")] if found else []
    return [name for name in names if importlib.util.find_spec(name) is None]


def test_there_are_pages():
    assert len(PAGES) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    text = page.read_text(encoding="utf-8")
    if missing := needs(text):
        pytest.skip(f"{page.name} needs {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.syspath_prepend(str(tmp_path))  # a script finds its neighbours
    names = {"__name__": page.stem}
    blocks = BLOCK.findall(text)
    assert blocks
    for kind, code in blocks:
        script = re.match(r"# (\w+\.py)\n", code)
        if kind == "console":
            run_console(code, tmp_path)
        elif script:
            (tmp_path / script.group(1)).write_text(code, encoding="utf-8")
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(compile(code, str(page), "exec"), names)


def run_console(code: str, folder: Path) -> None:
    """A line of a terminal that begins with torchrun, by this Python."""
    for line in code.strip().splitlines():
        assert line.startswith("torchrun "), line
        command = [sys.executable, "-m", "torch.distributed.run", *line.split()[1:]]
        path = {"PYTHONPATH": str(ROOT)}

        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | path, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
