"""``train.mlflow``: what reaches an MLflow store, by a stand-in for the package, and what is told without it."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
from segmentation_phantoms import make_settings, write_dataset

from medloss.apps.common.errors import UserError
from medloss.apps.common.output import read_json
from medloss.apps.segmentation.train import train

pytestmark = pytest.mark.filterwarnings("ignore")


class Client:
    """As much of ``mlflow.MlflowClient`` as is used, with its names of arguments; all stores are one."""

    told: list = []

    def __init__(self, tracking_uri):
        self.uri = tracking_uri

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name, artifact_location=None):
        self.told.append(("experiment", name, artifact_location))
        return "1"

    def create_run(self, experiment_id, run_name=None):
        self.told.append(("run", experiment_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

    def update_run(self, run_id, status=None):
        self.told.append(("again", run_id, status))

    def log_param(self, run_id, key, value):
        self.told.append(("param", key, value))

    def log_metric(self, run_id, key, value, step=None):
        self.told.append(("metric", key, value, step))

    def log_artifact(self, run_id, local_path):
        self.told.append(("file", local_path.rsplit("/", 1)[-1]))

    def set_terminated(self, run_id, status=None):
        self.told.append(("end", status))


@pytest.fixture
def store(monkeypatch):
    module = ModuleType("mlflow")
    module.MlflowClient = Client
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setattr(Client, "told", [])
    return Client.told


def kinds(store, kind):
    return [each[1:] for each in store if each[0] == kind]


def test_settings_epochs_and_files_and_a_resumed_run_goes_on(store, tmp_path):
    data = write_dataset(tmp_path / "data")
    config = make_settings(data, **{"train.mlflow": "tries"})
    run = train(config, tmp_path / "run", progress=False)
    assert kinds(store, "experiment")[0][0] == "tries" and kinds(store, "run") == [("1", "run")]
    assert dict(kinds(store, "param"))["train.optimizer.lr"] == "0.01"
    losses = [(value, step) for key, value, step in kinds(store, "metric") if key == "loss"]
    assert [step for _, step in losses] == [1, 2] and losses[0][0] != losses[1][0]
    assert {"config.yaml", "history.csv"} <= {each[0] for each in kinds(store, "file")}
    assert kinds(store, "end") == [("FINISHED",)] and read_json(run.path / "mlflow.json")["run"] == "abc"
    store.clear()
    train(make_settings(data, **{"train.mlflow": "tries", "train.epochs": 3}), run.path, resume=True, progress=False)
    assert kinds(store, "again") == [("abc", "RUNNING")] and not kinds(store, "run")
    assert [step for key, _, step in kinds(store, "metric") if key == "loss"] == [3]


def test_without_the_package_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    config = make_settings(write_dataset(tmp_path / "data"), **{"train.mlflow": "tries"})
    with pytest.raises(UserError, match="pip install mlflow, or leave the key out"):
        train(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
