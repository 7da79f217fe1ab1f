"""What setup.cfg promises, and ``make test-oldest`` tries, are the same versions."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def promised() -> dict[str, str]:
    """The lower bounds of the losses, the transforms and the applications."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    extras = parser["options.extras_require"]
    text = "\n".join([parser["options"]["install_requires"], extras["transforms"], extras["apps"]])
    return dict(re.findall(r"^([\w-]+)>=([\d.]+)", text, re.M))


def oldest() -> dict[str, str]:
    """The versions of ``constraints-oldest.txt``."""
    return dict(re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8"), re.M))


def test_the_oldest_versions_are_those_that_are_promised():
    assert {"torch", "numpy", "monai", "typer"} <= set(promised()) == set(oldest())
    for name, version in promised().items():
        assert re.fullmatch(rf"{re.escape(version)}(\.0)*", oldest()[name]), name


@pytest.mark.parametrize("name", ["torch", "numpy", "monai"])
def test_the_readme_says_which(name):
    spelled = {"torch": "PyTorch", "numpy": "NumPy", "monai": "MONAI"}[name]
    assert f"{spelled} {promised()[name]}" in (ROOT / "README.md").read_text(encoding="utf-8")
