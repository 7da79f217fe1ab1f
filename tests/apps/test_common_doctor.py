"""The report of an installation."""

from __future__ import annotations

import os

import pytest
import torch

import medloss
from medloss.apps.cli import main


@pytest.mark.filterwarnings("ignore")
def test_doctor_says_what_serves_and_why(capsys):
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    said = capsys.readouterr().out
    assert end.value.code in (None, 0)
    assert f"torch       {torch.__version__.split('+')[0]}" in said
    assert "kernels     cpu: DiceCELoss: region_loss: " in said
    with medloss.backend("reference"), pytest.raises(SystemExit):
        main(["doctor"])
    assert "DiceCELoss: region_loss: reference" in capsys.readouterr().out


def test_threads_that_wait_sleep_soon_unless_the_user_says_otherwise(monkeypatch):
    """A spinning thread takes the processor that the others wait for; what is set in the environment counts."""
    from medloss.apps import cli

    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    cli._spin_shortly()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    cli._spin_shortly()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    cli._spin_shortly()
    assert os.environ["GOMP_SPINCOUNT"] == cli.SPIN_COUNT
