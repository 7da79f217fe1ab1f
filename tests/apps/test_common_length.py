"""Length in minutes, epochs of a number of steps, averaged weights, early stopping: and each of them resumes."""

from __future__ import annotations

import pytest
import torch
from small_trainings import equal, make

from medloss.apps.common.averaging import WeightAverage
from medloss.apps.common.checkpoints import load_checkpoint
from medloss.apps.common.engine import Validation
from medloss.apps.common.output import RunFolder, read_csv
from medloss.apps.common.pace import Pace
from medloss.apps.common.training import ScheduleConfig, TrainConfig, build_schedule

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Drawing takes longer than training here."""
    monkeypatch.setattr("medloss.apps.common.history.History._draw", lambda self: None)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second whenever the training looks at it."""
    now = [0.0]

    def tick():
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr("medloss.apps.common.pace.time.monotonic", tick)
    return now


def test_average_is_the_weighted_sum_of_the_weights():
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(1.0)
    average = WeightAverage(network, 0.9)
    for value in (2.0, 4.0):
        network.weight.data.fill_(value)
        average.update()
    # 0.1 of the first and 0.9 of 2, then 2/11 of that and 9/11 of 4
    expected = 2 / 11 * (0.1 * 1 + 0.9 * 2) + 9 / 11 * 4
    assert float(average.state_dict()["weight"]) == pytest.approx(expected)
    assert float(network.weight) == 4.0
    with average.in_place():
        assert float(network.weight) == pytest.approx(expected)


def test_an_averaged_run_resumes_exactly_and_keeps_the_average(tmp_path):
    whole, expected = make(RunFolder.create(tmp_path / "whole"), 4, ema=0.8)
    whole.run()
    run = RunFolder.create(tmp_path / "run")
    make(run, 2, ema=0.8)[0].run()
    second, network = make(run, 4, ema=0.8)
    assert second.resume() == 2
    second.run()
    assert equal(network, expected)
    kept, again = (load_checkpoint(each.checkpoints / "last.pt") for each in (whole.run_folder, run))
    assert all(torch.equal(kept["network"][name], again["network"][name]) for name in kept["network"])
    assert not torch.equal(kept["network"]["0.weight"], kept["trained"]["weights"]["0.weight"])


def test_the_average_is_what_is_validated(tmp_path):
    seen = []
    validation = Validation(lambda: {"sum": float(network[0].weight.sum())}, "sum")
    trainer, network = make(RunFolder.create(tmp_path / "run"), 2, ema=0.5, validation=validation)
    trainer.run()
    kept = load_checkpoint(trainer.checkpoints.last)["network"]["0.weight"]
    seen = [float(row["sum"]) for row in read_csv(tmp_path / "run" / "history.csv")]
    assert seen[-1] == pytest.approx(float(kept.sum()), abs=1e-6)


def test_minutes_end_the_training_and_a_resumed_one_has_what_is_left(tmp_path, clock):
    run = RunFolder.create(tmp_path / "run")
    first, _ = make(run, 1, minutes=1.0, schedule=ScheduleConfig(name="poly"), stop_at=8)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    used = load_checkpoint(first.checkpoints.last)["pace"]["seconds"]
    clock[0] += 1000.0  # the time between the two does not count
    second, _ = make(run, 1, minutes=1.0, schedule=ScheduleConfig(name="poly"))
    assert second.resume() == 2
    second.run()
    assert used < 40 and 50 <= second.pace.used <= 70
    rates = [float(row["lr"]) for row in read_csv(run.path / "history.csv")]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.3 * rates[0]


def test_patience_ends_a_training_and_it_stays_ended(tmp_path):
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    validation = Validation(lambda: {"dice": next(scores)}, "dice", patience=2)
    run = RunFolder.create(tmp_path / "run")
    make(run, 9, validation=validation)[0].run()
    assert len(read_csv(run.path / "history.csv")) == 4
    again, _ = make(run, 9, validation=validation)
    assert again.resume() == 4
    again.run()
    assert len(read_csv(run.path / "history.csv")) == 4 and next(scores) == 0.9


def test_a_costly_validation_keeps_to_its_share():
    pace, done = Pace(100, share=0.1), 0
    for epoch in range(100):
        pace.add_epoch(10.0)
        if pace.may_validate():
            pace.add_validation(20.0)
            done += 1
        assert pace.validations <= 0.1 * (pace.training + pace.validations) or epoch < 18
    assert done == 5  # one to learn what it takes, then every eighteen epochs of 10 s
    cheap = Pace(10, share=0.1)
    cheap.add_validation(1.9)
    assert cheap.may_validate()


def test_poly_goes_to_zero_as_in_nnunet():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = build_schedule(ScheduleConfig(name="poly"), optimizer, epochs=5, updates_per_epoch=2)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([2.0 * (1 - step / 10) ** 0.9 for step in range(10)])


def test_minutes_win_over_steps_and_epochs():
    assert TrainConfig(minutes=1, steps=3).count_epochs(1) == 10**6
