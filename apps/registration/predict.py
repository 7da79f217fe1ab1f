"""``medloss register predict``: register pairs with a trained network and write what ``pair`` writes, for each of
them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from medloss.apps.common.case_names import check_distinct
from medloss.apps.common.checkpoints import load_checkpoint, load_state
from medloss.apps.common.compute import default_device, pick_device
from medloss.apps.common.config import load_config, validate
from medloss.apps.common.errors import UserError
from medloss.apps.common.hdf5 import is_in_hdf5
from medloss.apps.common.notes import note
from medloss.apps.common.output import RunFolder, digest_of, read_json, remove_abandoned, write_json
from medloss.apps.common.progress import hidden
from medloss.apps.registration.config import PairConfig, RegistrationConfig
from medloss.apps.registration.data import NEIGHBOURS, prepare
from medloss.apps.registration.evaluate import Evaluation, summarise_cases
from medloss.apps.registration.files import PairFiles, find_pairs, read_pairs, train_and_valid
from medloss.apps.registration.geometry import INITIALISERS
from medloss.apps.registration.loading import Files, all_classes
from medloss.apps.registration.losses import RegistrationLoss
from medloss.apps.registration.networks import build_network
from medloss.apps.registration.output import Pair, as_tensor, write_pair
from medloss.apps.registration.result import Geometry, PairResult, conclude
from medloss.apps.registration.train import to_displacement

RECORD_FILE = "predict.json"
"""Which checkpoint made the pairs of a folder: a prediction that was interrupted goes on only with the same."""
REFINE_SHARES = (0.3, 0.7)
"""Of the iterations of a refinement at half and at full resolution."""


class Predictor:
    """A trained network that registers pairs read from files.

    Args:
        run: the training's folder.
        last: take the last checkpoint in place of the best.
        device, threads: where to compute.
        refine: iterations of an optimisation that begins with the field of the network.
        settings: keys of `PairConfig` for it.
    """

    def __init__(
        self,
        run: RunFolder,
        last: bool = False,
        device: str | None = None,
        threads: int | None = None,
        refine: int = 0,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.config = load_config(RegistrationConfig, [run.config])
        self.device = pick_device(device or default_device(self.config.device), threads or self.config.threads)
        best = run.checkpoints / "last.pt" if last else run.best() or run.checkpoints / "last.pt"
        if not best.is_file():
            raise UserError(f"{run.path} holds no checkpoint in checkpoints/: train first, or give another run")
        self.network = build_network(self.config.model, self.config.data.size, self.config.train.batch)
        load_state(self.network, load_checkpoint(best), "network", best)
        self.network.to(self.device).eval()
        self.checkpoint = best
        self.refinement = self._refinement(refine, settings or {}) if refine else None

    def register(self, pair: Pair) -> tuple[PairResult, float]:
        """The result for a pair, and the seconds that it took."""
        started = time.perf_counter()
        result = self._predict(pair)
        if self.refinement is not None:
            from medloss.apps.registration.pair import register

            images = (as_tensor(pair.fixed), as_tensor(pair.moving))
            result = register(
                *images,
                self.refinement,
                fixed_affine=pair.fixed.affine,
                moving_affine=pair.moving.affine,
                moving_label=pair.moving_label,  # labels are not there when a network is used: no loss sees them
                start=result.ddf[None],
            )
        return result, time.perf_counter() - started

    @torch.no_grad()
    def _predict(self, pair: Pair) -> PairResult:
        config = self.config
        item = prepare(pair._replace(fixed_label=None, moving_label=None, points=None), config.data)
        images = torch.cat([item["moving"], item["fixed"]])[None].to(self.device)
        field = self.network(images).float()
        initial = INITIALISERS[config.data.initialise](pair.fixed, pair.moving)
        geometry = Geometry(pair.fixed.affine, pair.moving.affine, pair.fixed.array.shape, initial)
        moving = as_tensor(pair.moving).to(self.device)
        return conclude(field, to_displacement(config), moving, pair.moving_label, geometry)

    def _refinement(self, iterations: int, settings: dict[str, Any]) -> PairConfig:
        """The optimisation after the network, by the image and field losses of its training: a field that these held
        smooth is not torn by the freer one of ``pair``, whose losses serve where the training compared no images.
        """
        first, second = (round(share * iterations) for share in REFINE_SHARES)
        chosen: dict[str, Any] = {
            "transform": "ddf",
            "initialise": self.config.data.initialise,
            "pyramid": [2, 1],
            "iterations": [first, second],
            "device": str(self.device),
            "seed": self.config.seed,
        }
        trained = self.config.loss
        if trained.image:
            chosen["loss"] = {"image": trained.image} | ({"field": trained.field} if trained.field else {})
        else:
            note(
                "the training compared no images: --refine goes by the losses of pair, which compare them: by an image "
                "loss that suits each pair (loss.image=auto). Measure without --refine, too"
            )
        return validate(PairConfig, chosen | settings, "--refine")


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
    refine: int = 0,
    settings: dict[str, Any] | None = None,
) -> Evaluation:
    """Register the pairs of a split of the training's data, or those of a list, each into its own folder in ``output``.

    One pair is in memory at a time. A prediction into the same folder by the same checkpoint goes on where an earlier
    one stopped, be it at a faulty pair; ``overwrite`` registers all pairs anew. ``refine``: iterations of an
    optimisation that begins with the field of the network, with ``settings`` of `PairConfig`.

    Raises:
        UserError: a faulty input or run, or a folder that something else filled.
    """
    run = RunFolder.open(run_path)
    predictor = Predictor(run, last, device, threads, refine, settings)
    config = predictor.config
    files = read_pairs(pairs, config.data) if pairs else _of_split(config, split)
    check_distinct([each.name for each in files], "the pairs")
    _check_files(files)
    folder = Path(output) if output else run.predictions / _name_of(pairs.stem if pairs else split, refine)
    record = {"checkpoint": digest_of(predictor.checkpoint), "refine": refine, "settings": settings or {}}
    _check_folder(folder, record, overwrite)
    remove_abandoned(folder)
    pending = [each for each in files if overwrite or not (folder / each.name / "metrics.json").is_file()]
    if len(pending) < len(files):
        note(f"{len(files) - len(pending)} of {len(files)} pairs are in {folder} already; --overwrite makes them anew")
    loss = RegistrationLoss(config.loss)
    for pair in _loaded(files, pending, config, progress):
        write_json(folder / RECORD_FILE, record)
        result, seconds = predictor.register(pair)
        start = result.initial if config.data.initialise == "resize" else np.eye(4)
        if config.model.output == "affine" and not refine:
            write_affine(folder / pair.name / "affine.tfm", result, pair.fixed.affine)
        write_pair(folder / pair.name, pair, result, start, loss, seconds)  # last: its end says that the pair is done
    return summarise_cases(folder)


def _of_split(config: RegistrationConfig, split: str) -> list[PairFiles]:
    """The pairs of a split; without a folder for it, ``valid`` are those that the training held out."""
    if split == "valid" and not config.data.split(split):
        return train_and_valid(config.data, config.seed)[1]
    return find_pairs(config.data, split, config.seed)


def write_affine(path: Path, result: PairResult, affine: np.ndarray) -> None:
    """Write a displacement that is affine as an ITK transform, from the fixed to the moving world."""
    from medloss.apps.registration.spatial import Affine
    from medloss.apps.registration.transform_files import write_transform

    ends = [(0, size - 1) for size in result.ddf.shape[1:]]
    corners = np.stack(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
    landed = corners + result.ddf.double().numpy()[(slice(None), *corners)]
    known, found = (np.vstack([each, np.ones(each.shape[1])]) for each in (corners, landed))
    matrix = np.linalg.lstsq(known.T, found.T, rcond=None)[0].T
    matrix[3] = (0.0, 0.0, 0.0, 1.0)
    write_transform(path, Affine(affine @ matrix @ np.linalg.inv(affine)))


def _loaded(
    files: list[PairFiles], pending: list[PairFiles], config: RegistrationConfig, progress: bool
) -> Iterator[Pair]:
    """The pairs, each read when its turn comes."""
    reader = Files(config.data, all_classes(files, config.data.labels, config.data.read), NEIGHBOURS)
    for each in tqdm(pending, desc="predict", disable=hidden(progress)):
        yield reader.pair(each)


def _check_files(files: list[PairFiles]) -> None:
    """Raise UserError where a file is not there, before the first pair is registered."""
    absent = [path for each in files for path in each[1:] if path is not None and not _is_there(path)]
    if absent:
        raise UserError(f"{len(absent)} file(s) of the pairs do not exist, such as {absent[0]}")


def _is_there(path: Path) -> bool:
    return path.exists() or is_in_hdf5(path)


def _name_of(what: str, refine: int) -> str:
    return f"{what}-refined" if refine else what


def _check_folder(folder: Path, record: dict[str, Any], overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, expected a folder to write to: give another --output")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        before = read_json(folder / RECORD_FILE)
        if not isinstance(before, dict) or {"refine": 0, "settings": {}, **before} != record:
            raise UserError(
                f"{folder} is not empty, and not of this checkpoint and these settings: give another --output, or pass "
                "--overwrite"
            )
