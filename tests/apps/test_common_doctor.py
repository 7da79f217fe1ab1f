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


def test_doctor_builds_nothing(capsys, monkeypatch):
    """Where there is no library yet it says so, and how it comes to be; every loss would build it."""
    from medloss.ops import library

    def building(*_):
        raise AssertionError("the doctor builds")

    monkeypatch.delenv("MEDLOSS_WITHOUT_NATIVE", raising=False)
    monkeypatch.delenv("MEDLOSS_BACKEND", raising=False)
    monkeypatch.setattr(library, "_found", None)
    monkeypatch.setattr(library, "_built", building)
    for name in ("_shipped", "_cached"):
        monkeypatch.setattr(library, name, lambda _: None)
    monkeypatch.setattr(library.build, "compiler", lambda: ["cc"])
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    said = capsys.readouterr().out
    assert end.value.code in (None, 0)
    assert "kernels     cpu: the native library is not built: built at first use (about two minutes" in said
    assert library._found is None


def test_what_needs_no_build(monkeypatch):
    from medloss.ops import library

    monkeypatch.delenv("MEDLOSS_WITHOUT_NATIVE", raising=False)
    monkeypatch.setattr(library, "_found", None)
    monkeypatch.setattr(library, "_cached", lambda _: None)
    monkeypatch.setattr(library, "_shipped", lambda _: library.Loaded(None))
    assert not library.would_be_built(), "one lies there"
    monkeypatch.setattr(library, "_shipped", lambda _: None)
    monkeypatch.setattr(library.build, "compiler", lambda: ["cc"])
    assert library.would_be_built()

    def no_compiler():
        raise library.build.BuildError("no compiler")

    monkeypatch.setattr(library.build, "compiler", no_compiler)
    assert not library.would_be_built(), "the reason is told at once"
    monkeypatch.setenv("MEDLOSS_WITHOUT_NATIVE", "1")
    assert not library.would_be_built()


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
