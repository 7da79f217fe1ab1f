"""CONTRIBUTING.md lists every environment variable that is read, and none else."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ = re.compile(r"""["'](MEDLOSS_[A-Z_]+)["']""")


def test_every_variable_is_described():
    files = [ROOT / "setup.py", *(path for top in ("medloss", "transforms", "apps", "tutorials", "benchmarks")
                                  for path in (ROOT / top).rglob("*.py"))]  # fmt: skip
    read = {name for path in files for name in READ.findall(path.read_text(encoding="utf-8"))}
    notebooks = (path.read_text(encoding="utf-8") for path in (ROOT / "tutorials").glob("*.ipynb"))
    read |= {name for text in notebooks for name in re.findall(r"MEDLOSS_[A-Z_]+", text)}
    table = (
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Environment variables")[1].split("\n## ")[0]
    )
    assert set(re.findall(r"^\| `(MEDLOSS_\w+)` \|", table, re.M)) == read
