"""A training in a local MLflow store, for those who have the package: settings, numbers of each epoch, files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from medloss.apps.common.errors import UserError
from medloss.apps.common.output import RunFolder, read_json, write_json

FILE = "mlflow.json"
"""In the run folder: the store, and the MLflow run that a resumed training goes on with."""
KEPT = ("config.yaml", "history.csv", "metrics.json", "progress.png")


def client_for(run: RunFolder) -> tuple[Any, str]:
    """A client of the store ``mlflow.db`` beside the run folder, and the store's address.

    Raises:
        UserError: MLflow is not installed.
    """
    check_installed()
    from mlflow import MlflowClient

    store = f"sqlite:///{run.path.resolve().parent / 'mlflow.db'}"
    return MlflowClient(tracking_uri=store), store


def check_installed() -> None:
    """Raise UserError unless MLflow can be imported."""
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"train.mlflow needs the package mlflow, which cannot be imported ({error}): pip install mlflow, or leave "
            "the key out; history.csv and TensorBoard have the same numbers"
        ) from error


class Tracker:
    """An MLflow run of a training.

    Args:
        run: the run folder.
        experiment: the name under which MLflow groups runs.
        settings: keys and values of the configuration.
    """

    def __init__(self, run: RunFolder, experiment: str, settings: Mapping[str, Any]) -> None:
        self.run = run
        self.client, store = client_for(run)
        known = read_json(run.path / FILE)
        if known:
            self.id = str(known["run"])
            self.client.update_run(self.id, status="RUNNING")
            return
        found = self.client.get_experiment_by_name(experiment)
        where = (run.path.resolve().parent / "mlflow_files").as_uri()
        number = found.experiment_id if found else self.client.create_experiment(experiment, artifact_location=where)
        self.id = self.client.create_run(number, run_name=run.path.name).info.run_id
        write_json(run.path / FILE, {"store": store, "experiment": experiment, "run": self.id})
        for key, value in settings.items():
            self.client.log_param(self.id, key, str(value)[:500])  # of that length MLflow takes them in any version

    def add(self, row: Mapping[str, Any]) -> None:
        """The numbers of an epoch; those that are not finite MLflow does not take."""
        for name, value in row.items():
            if name != "epoch" and value is not None and math.isfinite(value):
                self.client.log_metric(self.id, name, float(value), step=int(row["epoch"]))

    def close(self, finished: bool) -> None:
        """The files of the run, and how it ended."""
        for name in KEPT:
            if (self.run.path / name).is_file():
                self.client.log_artifact(self.id, str(self.run.path / name))
        self.client.set_terminated(self.id, status="FINISHED" if finished else "FAILED")
