"""Configuration: merging, overrides, and faults that are told all at once, with a suggestion."""

from __future__ import annotations

from typing import Annotated

import pytest

from medloss.apps.common.config import LossMapping, Model, dump_config, load_config, losses
from medloss.apps.common.errors import UserError


class Optimizer(Model):
    lr: float = 1e-3


class Train(Model):
    epochs: int = 3
    optimizer: Optimizer = Optimizer()


class Settings(Model):
    train: Train = Train()
    loss: Annotated[LossMapping, losses("label")] = {}


def write(path, text):
    path.write_text(text)
    return path


def test_later_files_and_overrides_win(tmp_path):
    first = write(tmp_path / "a.yaml", "train: {epochs: 5, optimizer: {lr: 1e-2}}")
    second = write(tmp_path / "b.yaml", "train: {epochs: 7}")
    settings = load_config(Settings, [first, second], ["train.optimizer.lr=1e-4"])
    assert settings.train.epochs == 7
    assert settings.train.optimizer.lr == 1e-4  # a number, although YAML 1.1 calls 1e-4 a string


def test_a_length_on_the_command_line_replaces_those_of_the_file(tmp_path):
    class Length(Model):
        epochs: int = 20
        steps: int | None = None
        minutes: float | None = None

    class Whole(Model):
        train: Length = Length()

    file = tmp_path / "plan.yaml"
    file.write_text("train: {minutes: 18, steps: 7}\n")
    plain, steps, epochs, both = (
        load_config(Whole, [file], overrides).train
        for overrides in ([], ["train.steps=10"], ["train.epochs=3"], ["train.steps=10", "train.minutes=2"])
    )
    assert (plain.minutes, plain.steps) == (18, 7)
    assert (steps.minutes, steps.steps) == (None, 10)
    assert (epochs.minutes, epochs.steps, epochs.epochs) == (None, None, 3)
    assert (both.minutes, both.steps) == (2, 10)


def test_an_override_replaces_a_section(tmp_path):
    file = write(tmp_path / "a.yaml", "train: {epochs: 5, optimizer: {lr: 1e-2}}")
    train = load_config(Settings, [file], ["train={epochs: 9}"]).train
    assert train.epochs == 9 and train.optimizer.lr == Optimizer().lr


def test_dump_reads_back_equal(tmp_path):
    settings = load_config(Settings, [], ["train.epochs=9"])
    assert load_config(Settings, [write(tmp_path / "c.yaml", dump_config(settings))]) == settings


def test_all_faults_at_once_with_suggestions(tmp_path):
    file = write(tmp_path / "a.yaml", "train: {epoch: 5, optimizer: {lr: fast}}\nmodle: 1")
    with pytest.raises(UserError) as fault:
        load_config(Settings, [file])
    text = str(fault.value)
    assert "3 faults" in text
    assert "train.epoch: unknown key; did you mean 'epochs'?" in text
    assert "train.optimizer.lr" in text and "'fast'" in text
    assert "modle" in text


def test_faulty_losses_are_faults_of_the_configuration(tmp_path):
    file = write(tmp_path / "a.yaml", "loss: {dcie: {}}")
    with pytest.raises(UserError, match="dcie"):
        load_config(Settings, [file])


@pytest.mark.parametrize("override", ["train.epochs", "=3", "train.epochs=[1"])
def test_faulty_override(override):
    with pytest.raises(UserError):
        load_config(Settings, [], [override])


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "train: {epochs: 3", "train: {epochs: ${nowhere}}"])
def test_faulty_yaml(tmp_path, text):
    with pytest.raises(UserError):
        load_config(Settings, [write(tmp_path / "a.yaml", text)])


def test_missing_file_suggests_a_neighbour(tmp_path):
    write(tmp_path / "train.yaml", "")
    with pytest.raises(UserError, match=r"did you mean .*train\.yaml"):
        load_config(Settings, [tmp_path / "trian.yaml"])


@pytest.mark.parametrize("given", ["lncc", ["lncc"], [{"lncc": {}}], {"lncc": {}}])
def test_losses_by_their_names_alone(given):
    from medloss.apps.registration.config import PairConfig

    assert PairConfig.model_validate({"loss": {"image": given}}).loss.image == {"lncc": {}}
