"""The engine resumes exactly, accumulates gradients as a larger batch, and keeps its best checkpoints."""

from __future__ import annotations

import pytest
import torch
from small_trainings import Loss, equal, make

from medloss.apps.common.engine import Validation
from medloss.apps.common.errors import UserError
from medloss.apps.common.output import RunFolder, read_csv
from medloss.apps.common.training import OptimizerConfig, ScheduleConfig, TrainConfig

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Drawing takes longer than training here."""
    monkeypatch.setattr("medloss.apps.common.history.History._draw", lambda self: None)


def test_two_epochs_and_two_more_are_four(tmp_path):
    whole, expected = make(RunFolder.create(tmp_path / "whole"), 4)
    whole.run()
    run = RunFolder.create(tmp_path / "run")
    make(run, 2)[0].run()
    torch.rand(5)  # whatever happens in between must not matter
    second, network = make(run, 4)
    assert second.resume() == 2
    second.run()
    assert equal(network, expected)
    rows = read_csv(run.path / "history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    losses = [row["loss"] for row in read_csv(tmp_path / "whole" / "history.csv")]
    assert [float(row["loss"]) for row in rows] == pytest.approx([float(loss) for loss in losses], abs=0)


def test_interruption_within_an_epoch_loses_nothing_but_that_epoch(tmp_path):
    cosine = {"schedule": ScheduleConfig(name="cosine", warmup=1)}
    whole, expected = make(RunFolder.create(tmp_path / "whole"), 4, **cosine)
    whole.run()
    run = RunFolder.create(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        make(run, 4, stop_at=8, **cosine)[0].run()  # three steps per epoch: within the third
    resumed, network = make(run, 4, **cosine)
    assert resumed.resume() == 2
    resumed.run()
    assert equal(network, expected)


def test_epochs_differ_from_each_other(tmp_path):
    trainer, _ = make(RunFolder.create(tmp_path / "run"), 2, optimizer=OptimizerConfig(lr=1e-12))
    trainer.run()
    rows = read_csv(tmp_path / "run" / "history.csv")
    assert rows[0]["loss"] != rows[1]["loss"]  # the noise is drawn anew, though the weights hardly move


def test_accumulation_equals_the_larger_batch(tmp_path):
    options = {"noise": False, "clip": None, "cases": 5}
    small, accumulated = make(RunFolder.create(tmp_path / "a"), 2, batch=1, accumulate=5, **options)
    large, expected = make(RunFolder.create(tmp_path / "b"), 2, batch=5, **options)
    small.run()
    large.run()
    for a, b in zip(accumulated.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_best_checkpoints_terms_and_loss_schedule(tmp_path):
    scores, loss, seen = iter([0.2, 0.9, 0.5, 0.7]), Loss(), []
    validation = Validation(
        lambda: {"dice": next(scores)}, "dice", keep=2, measured=lambda epoch, best: seen.append((epoch, best))
    )
    run = RunFolder.create(tmp_path / "run")
    make(run, 4, validation=validation, loss=loss)[0].run()
    assert sorted(file.name for file in run.checkpoints.iterdir()) == [
        "best_dice=0.7000.pt",
        "best_dice=0.9000.pt",
        "last.pt",
    ]
    assert run.best().name == "best_dice=0.9000.pt"
    assert torch.load(run.best(), weights_only=True)["epoch"] == 2
    assert seen == [(1, True), (2, True), (3, False), (4, False)]
    assert loss.epochs == [0, 1, 2, 3]
    row = read_csv(run.path / "history.csv")[-1]
    assert float(row["mse_weighted"]) == pytest.approx(0.5 * float(row["mse_raw"])) and float(row["mse_weight"]) == 0.5


def test_best_survives_a_resume_and_lower_may_be_better(tmp_path):
    run = RunFolder.create(tmp_path / "run")

    def validation(scores):
        return Validation(lambda: {"tre": next(scores)}, "tre", higher_is_better=False)

    make(run, 2, validation=validation(iter([3.0, 1.0])))[0].run()
    resumed, _ = make(run, 4, validation=validation(iter([2.0, 0.5])))
    resumed.resume()
    resumed.run()
    assert [file.name for file in sorted(run.checkpoints.iterdir())] == ["best_tre=0.5000.pt", "last.pt"]


def test_a_broken_loss_stops_before_the_checkpoint(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    trainer, _ = make(run, 3, optimizer=OptimizerConfig(name="sgd", lr=1e6), clip=None)
    with pytest.raises(RuntimeError, match="lower train"):
        trainer.run()
    weights = torch.load(run.checkpoints / "last.pt", weights_only=True)["network"].values()
    assert all(weight.isfinite().all() for weight in weights)


def test_resume_with_another_network_is_a_user_error(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    make(run, 1)[0].run()
    trainer, _ = make(run, 2)
    trainer.checkpoints.objects["network"] = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="does not fit this configuration"):
        trainer.resume()


def test_steps_round_up_to_epochs():
    assert TrainConfig(steps=10).count_epochs(4) == 3
    assert TrainConfig(epochs=7).count_epochs(4) == 7
