"""``medloss segment predict``: masks on the grid of the input, with the ids of the training labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from medloss.apps.common.checkpoints import load_checkpoint, load_state
from medloss.apps.common.compute import default_device, pick_device, placed
from medloss.apps.common.config import as_mapping
from medloss.apps.common.errors import UserError
from medloss.apps.common.images import look, save_volume
from medloss.apps.common.labels import as_layers
from medloss.apps.common.notes import note
from medloss.apps.common.origin import FILE as ORIGIN
from medloss.apps.common.output import RunFolder, digest_of, read_json, remove_abandoned, write_json
from medloss.apps.common.progress import hidden
from medloss.apps.common.reading import Reading
from medloss.apps.segmentation.cached import PREPARING
from medloss.apps.segmentation.classes import Classes, write_classes
from medloss.apps.segmentation.cleanup import clean, read_cleanup
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.data_config import Data
from medloss.apps.segmentation.fingerprint import TRAINED_ON, strange
from medloss.apps.segmentation.grid import Grid
from medloss.apps.segmentation.inference import Windows, segment
from medloss.apps.segmentation.jobs import RECORD_FILE, Job, plan_jobs, probability_file
from medloss.apps.segmentation.network import build_network, build_windows
from medloss.apps.segmentation.train import load_run
from medloss.apps.segmentation.volumes import PrepareCase, Scanned, read_scan


def predict(
    run: Path | str,
    inputs: Sequence[Path | str],
    output: Path | str | None = None,
    *,
    also: Sequence[Path | str] = (),
    tta: bool = False,
    probabilities: bool = False,
    cleanup: bool = False,
    previews: bool = False,
    overwrite: bool = False,
    checkpoint: str = "best",
    progress: bool = True,
    reading: Mapping[str, Any] | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> list[Path]:
    """Segment files or folders of files with a trained run; returns the masks, ``<output>/<name of the input>``.

    Channels in files of their own are found by nnU-Net's names, ``case_0000``, ``case_0001``, ...; one of them will do.

    A prediction into the same folder by the same run and options goes on where an earlier one stopped.

    Args:
        output: folder of the masks; the run's ``predictions/`` by default.
        also: further runs, such as the other folds: the logits of all networks are averaged, as in nnU-Net. They must
            prepare their data as ``run`` does.
        tta: average over the copies mirrored along the axes that the run was trained with.
        probabilities: also write ``<name>_probabilities.nii.gz``, float32 (i, j, k, class), background first; of
            regions, one after the other.
        cleanup: keep the largest connected component alone of the classes for which ``evaluate`` chose that on the
            validation cases.
        previews: also draw each mask: ``previews/<name>.png`` beside the masks.
        overwrite: make masks anew that exist in ``output``.
        checkpoint: "best" (by validation Dice; "last" where there was no validation) or "last".
        reading: options of ``Reading`` that differ from those of the training.
        device, threads: where to compute; those of the training by default.

    Raises:
        UserError: a faulty run, an input whose header cannot be read, or masks in ``output`` that something else made
            (nothing is written then); or inputs whose voxels cannot be read (the others are written).
    """
    folder, config = load_run(run)
    options = {**config.data.read.model_dump(), **(reading or {})}
    data = config.data.model_copy(update={"read": Reading(**options)})
    where = {"device": device or default_device(config.device), "threads": threads or config.threads}
    config = config.model_copy(update={"data": data, **where})
    model = Predictor.load(folder, config, checkpoint, tta, also)
    target = folder.predictions if output is None else Path(output)
    model.cleaned = read_cleanup(folder, model.classes) if cleanup else ()
    record = {"checkpoint": model.digest, "tta": tta, "probabilities": probabilities, "read": options}
    record |= {"cleaned": list(model.cleaned)} if cleanup else {}
    jobs = plan_jobs(inputs, target, data.channels, overwrite, record, bool(data.label_channels))
    pending = [job for job in jobs if overwrite or not _is_done(job.mask, probabilities)]
    for path in (path for job in pending for path in job.sources):  # headers alone: the voxels are read once
        look(path)
    remove_abandoned(target)
    write_json(target / RECORD_FILE, record)
    write_classes(target, model.classes)
    _write_all(model, pending, probabilities, previews, progress)
    return [job.mask for job in jobs]


@dataclass
class Predictor:
    """A trained network with all that leads from files to an array on their grid."""

    windows: Windows
    data: Data
    classes: Classes
    trained: Mapping[str, Any] | None = None
    digest: str = ""
    cleaned: tuple[str, ...] = ()

    @property
    def table(self) -> np.ndarray:
        """From index to label id."""
        return self.classes.to_ids()

    @classmethod
    def load(
        cls,
        folder: RunFolder,
        config: Config,
        checkpoint: str = "best",
        tta: bool = False,
        also: Sequence[Path | str] = (),
    ) -> Predictor:
        """The network of a run, or of several, with the weights of the best or last checkpoint."""
        if tta and not config.train.mirror:
            raise UserError(
                "--tta averages over mirrored copies, but this run was trained without mirroring and does not know "
                "them: train with train.mirror (for instance [0, 1, 2]), or predict without --tta"
            )
        data = config.data
        classes = Classes.from_mapping(data.labels, data.ignore, data.region_order, len(data.label_channels))
        device = pick_device(config.device, config.threads)
        runs = [(folder, config), *(_like(other, config) for other in also)]
        files = [_file(each, checkpoint) for each, _ in runs]
        networks = [_network(own, file, classes.count, device) for (_, own), file in zip(runs, files, strict=True)]
        mirror = tuple(config.train.mirror) if tta else ()
        windows = build_windows(config.predict, data.settled_patch, networks, device, mirror)
        trained = (read_json(folder.path / ORIGIN) or {}).get(TRAINED_ON)
        return cls(windows, data, classes, trained, "+".join(digest_of(file) for file in files))

    def __call__(self, scan: Scanned, probabilities: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Indices (i, j, k) on the grid of the files, and class probabilities (i, j, k, N) where they are asked for."""
        grid = Grid.of(scan.like.array.shape, scan.like.affine, self.data.settled_spacing)
        image = PrepareCase(self.data).image(scan, grid)
        return segment(self.windows, image, grid, self.classes, probabilities)

    def write(self, job: Job, probabilities: bool, preview: bool = False) -> None:
        """Read the files of a job once, and write its mask; one line where the scan is unlike those of the training."""
        scan = read_scan(job.sources, self.data.channels, self.data.read)
        grid = Grid.of(scan.like.array.shape, scan.like.affine, self.data.settled_spacing)
        unlike = strange(self.trained, scan, grid, self.data)
        if unlike:
            note(f"{job.sources[0]} is unlike what the network was trained on: {unlike}")
        indices, soft = self(scan, probabilities)
        if soft is not None:  # the mask comes last: where it stands, the case is done
            save_volume(probability_file(job.mask), soft, scan.like)
        mask = clean(self.table[indices], self.classes, self.cleaned)
        if preview:
            from medloss.apps.segmentation.previews import draw_mask

            draw_mask(job.mask, mask, scan, self.classes)
        layers = self.classes.layers
        save_volume(job.mask, as_layers(mask, layers) if layers else mask, scan.like)


def _file(folder: RunFolder, checkpoint: str) -> Path:
    last = folder.checkpoints / "last.pt"
    return (folder.best() or last) if checkpoint == "best" else last


def _network(config: Config, file: Path, classes: int, device: torch.device) -> torch.nn.Module:
    """The network with the weights of a checkpoint."""
    network = placed(build_network(config.model, classes, config.data.count_channels), device)
    load_state(network, load_checkpoint(file, device), "network", file)
    return network.eval()


def _like(path: Path | str, config: Config) -> tuple[RunFolder, Config]:
    """A further run of an ensemble, whose network sees what that of ``config`` sees."""
    folder, other = load_run(path)
    for key in (*PREPARING, "patch"):
        own, theirs = (as_mapping(each.data)[key] for each in (config, other))
        if own != theirs and key != "read":
            raise UserError(
                f"{path} does not fit the first run: data.{key} is {theirs} there and {own} here; "
                "train them all with one plan (medloss segment plan), which settles what comes from the cases"
            )
    return folder, other


def _write_all(model: Predictor, jobs: Sequence[Job], probabilities: bool, previews: bool, progress: bool) -> None:
    """Write the mask of each job; those that fail are told together, once the others are written."""
    faults = []
    for job in tqdm(jobs, desc="predict", disable=hidden(progress)):
        try:
            model.write(job, probabilities, previews)
        except UserError as fault:
            faults.append(str(fault))
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise UserError(f"{len(faults)} of {len(jobs)} inputs have no mask, the others are written:\n{listed}")


def _is_done(mask: Path, probabilities: bool) -> bool:
    return mask.exists() and (not probabilities or probability_file(mask).exists())
