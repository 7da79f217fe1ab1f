"""What ``make`` says that it runs is what it runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_the_printed_installation_is_the_one_that_runs():
    command = ["make", "-n", "-W", "constraints.txt", ".venv/.installed"]
    lines = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout.splitlines()
    told = re.compile(r'echo "((?:MEDLOSS_\w+=1 )?\S*python -m pip.*)"')
    printed = [found[1] for line in lines if (found := told.fullmatch(line))]
    run = "\n".join(line for line in lines if not line.startswith("echo"))
    assert len(printed) == 2 and all(each in run for each in printed)
    assert run.count("-m pip install") == 2, "nothing else is installed"
    assert "-c constraints.txt -e" in printed[1]
    assert any("minutes and 3 GB on disk" in line for line in lines)
