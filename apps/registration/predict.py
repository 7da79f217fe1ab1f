"""``medloss register predict``: register pairs with a trained network and write what ``pair`` writes, for each of
them.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from medloss.apps.common.case_names import check_distinct
from medloss.apps.common.checkpoints import load_checkpoint, load_state
from medloss.apps.common.compute import default_device, pick_device
from medloss.apps.common.config import load_config
from medloss.apps.common.errors import UserError
from medloss.apps.common.notes import note
from medloss.apps.common.output import RunFolder, digest_of, read_json, write_json
from medloss.apps.common.progress import hidden
from medloss.apps.registration.config import RegistrationConfig
from medloss.apps.registration.data import all_classes, load_files, prepare
from medloss.apps.registration.evaluate import Evaluation, summarise_cases
from medloss.apps.registration.files import PairFiles, find_pairs, read_pairs
from medloss.apps.registration.geometry import INITIALISERS
from medloss.apps.registration.losses import RegistrationLoss
from medloss.apps.registration.networks import build_network
from medloss.apps.registration.output import Pair, as_tensor, write_pair
from medloss.apps.registration.result import Geometry, conclude
from medloss.apps.registration.transform import ToDisplacement

RECORD_FILE = "predict.json"
"""Which checkpoint made the pairs of a folder: a prediction that was interrupted goes on only with the same."""


class Predictor:
    """A trained network that registers pairs read from files."""

    def __init__(
        self, run: RunFolder, last: bool = False, device: str | None = None, threads: int | None = None
    ) -> None:
        self.config = load_config(RegistrationConfig, [run.config])
        self.device = pick_device(device or default_device(self.config.device), threads or self.config.threads)
        best = run.checkpoints / "last.pt" if last else run.best() or run.checkpoints / "last.pt"
        if not best.is_file():
            raise UserError(f"{run.path} holds no checkpoint in checkpoints/: train first, or give another run")
        self.network = build_network(self.config.model)
        load_state(self.network, load_checkpoint(best), "network", best)
        self.network.to(self.device).eval()
        self.checkpoint = best

    @torch.inference_mode()
    def register(self, pair: Pair) -> tuple:
        """The result for a pair, and the seconds that it took."""
        config, started = self.config, time.perf_counter()
        item = prepare(pair, config.data)
        images = torch.cat([item["moving"], item["fixed"]])[None].to(self.device)
        field = self.network(images).float()
        initial = INITIALISERS[config.data.initialise](pair.fixed, pair.moving)
        geometry = Geometry(pair.fixed.affine, pair.moving.affine, pair.fixed.array.shape, initial)
        to_displacement = ToDisplacement(config.model.output, config.model.integration_steps)
        moving = as_tensor(pair.moving).to(self.device)
        result = conclude(field, to_displacement, moving, pair.moving_label, geometry)
        return result, time.perf_counter() - started


def predict(
    run_path: Path | str,
    output: Path | str | None = None,
    *,
    split: str = "test",
    pairs: Path | None = None,
    last: bool = False,
    progress: bool = True,
    device: str | None = None,
    threads: int | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Register the pairs of a split of the training's data, or those of a CSV, each into its own folder in ``output``.

    All pairs are read and checked before the first one is written. A prediction into the same folder by the same
    checkpoint goes on where an earlier one stopped; ``overwrite`` registers all pairs anew.

    Raises:
        UserError: a faulty input or run, or a folder that something else filled.
    """
    run = RunFolder.open(run_path)
    predictor = Predictor(run, last, device, threads)
    config = predictor.config
    files = read_pairs(pairs, config.data.labels is not None) if pairs else find_pairs(config.data, split, config.seed)
    folder = Path(output) if output else run.predictions / (pairs.stem if pairs else split)
    record = {"checkpoint": digest_of(predictor.checkpoint)}
    _check_folder(folder, record, overwrite)
    pending = [each for each in files if overwrite or not (folder / each.name / "metrics.json").is_file()]
    if len(pending) < len(files):
        note(f"{len(files) - len(pending)} of {len(files)} pairs are in {folder} already; --overwrite makes them anew")
    loaded = _load(files, pending, config)
    write_json(folder / RECORD_FILE, record)
    loss = RegistrationLoss(config.loss)
    for pair in tqdm(loaded, desc="predict", disable=hidden(progress)):
        result, seconds = predictor.register(pair)
        start = result.initial if config.data.initialise == "resize" else np.eye(4)
        write_pair(folder / pair.name, pair, result, start, loss, seconds)
    return summarise_cases(folder)


def _load(files: list[PairFiles], pending: list[PairFiles], config: RegistrationConfig) -> list[Pair]:
    check_distinct([each.name for each in files], "the pairs")
    classes = all_classes(files, config.data.labels, config.data.read)
    return [load_files(each, config.data.labels, classes, config.data.read) for each in pending]


def _check_folder(folder: Path, record: dict[str, str], overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, expected a folder to write to: give another --output")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite and read_json(folder / RECORD_FILE) != record:
        raise UserError(
            f"{folder} is not empty, and not of this checkpoint: give another --output, or pass --overwrite"
        )
