"""``medloss register predict``: register pairs with a trained network and write what ``pair`` writes, for each of
them.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from medloss.apps.common.checkpoints import load_checkpoint
from medloss.apps.common.config import load_config
from medloss.apps.common.errors import UserError
from medloss.apps.common.output import RunFolder
from medloss.apps.common.progress import hidden
from medloss.apps.common.training import pick_device
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


class Predictor:
    """A trained network that registers pairs read from files."""

    def __init__(self, run: RunFolder, last: bool = False) -> None:
        self.config = load_config(RegistrationConfig, [run.config])
        self.device = pick_device()
        best = run.checkpoints / "last.pt" if last else run.best() or run.checkpoints / "last.pt"
        if not best.is_file():
            raise UserError(f"{run.path} holds no checkpoint in checkpoints/: train first, or give another run")
        self.network = build_network(self.config.model)
        self.network.load_state_dict(load_checkpoint(best)["network"])
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
) -> Evaluation:
    """Register the pairs of a split of the training's data, or those of a CSV, each into its own folder in ``output``.

    All pairs are read and checked before the first one is written. Nothing is overwritten.
    """
    run = RunFolder.open(run_path)
    predictor = Predictor(run, last)
    config = predictor.config
    files = read_pairs(pairs, config.data.labels is not None) if pairs else find_pairs(config.data, split, config.seed)
    loaded = _load(files, config)
    folder = _new_folder(Path(output) if output else run.predictions / (pairs.stem if pairs else split))
    loss = RegistrationLoss(config.loss)
    for pair in tqdm(loaded, desc="predict", disable=hidden(progress)):
        result, seconds = predictor.register(pair)
        start = result.initial if config.data.initialise == "resize" else np.eye(4)
        write_pair(folder / pair.name, pair, result, start, loss, seconds)
    return summarise_cases(folder)


def _load(files: list[PairFiles], config: RegistrationConfig) -> list[Pair]:
    names = [each.name for each in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"the name {twice[0]} occurs twice among the pairs: give each its own in the column name")
    classes = all_classes(files, config.data.labels)
    return [load_files(each, config.data.labels, classes) for each in files]


def _new_folder(path: Path) -> Path:
    if path.is_dir() and any(path.iterdir()):
        raise UserError(f"{path} exists and is not empty: give another --output")
    return path
