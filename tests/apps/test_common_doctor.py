"""The report of an installation."""

from __future__ import annotations

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
