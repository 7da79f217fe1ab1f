"""``medloss segment predict``: masks on the grid of the input, with the ids of the training labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, Invertd
from tqdm import tqdm

from medloss.apps.common.case_names import check_distinct
from medloss.apps.common.checkpoints import load_checkpoint, load_state
from medloss.apps.common.compute import default_device, pick_device
from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import has_suffix, image_suffix, is_dicom_folder, strip_suffix
from medloss.apps.common.images import load_image, save_volume
from medloss.apps.common.listing import list_images, tell_left_out
from medloss.apps.common.notes import note
from medloss.apps.common.output import RunFolder, digest_of, read_json, write_json
from medloss.apps.common.progress import hidden
from medloss.apps.common.reading import Reading
from medloss.apps.segmentation.classes import Classes, write_classes
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.data import faults_of_the_data
from medloss.apps.segmentation.network import build_inferer, build_network, mirrored_mean
from medloss.apps.segmentation.train import load_run
from medloss.apps.segmentation.transforms import IMAGE, fixed_transforms

PREDICTION = "prediction"
RECORD_FILE = "predict.json"
"""What made the masks of a folder: a prediction that was interrupted goes on only with the same."""


def predict(
    run: Path | str,
    inputs: Sequence[Path | str],
    output: Path | str | None = None,
    *,
    tta: bool = False,
    probabilities: bool = False,
    overwrite: bool = False,
    checkpoint: str = "best",
    progress: bool = True,
    reading: Mapping[str, Any] | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> list[Path]:
    """Segment files or folders of files with a trained run; returns the masks, ``<output>/<name of the input>``.

    A prediction into the same folder by the same run and options goes on where an earlier one stopped.

    Args:
        output: folder of the masks; the run's ``predictions/`` by default.
        tta: average over the copies mirrored along the axes that the run was trained with.
        probabilities: also write ``<name>_probabilities.nii.gz``, float32 (i, j, k, class), background first.
        overwrite: make masks anew that exist in ``output``.
        checkpoint: "best" (by validation Dice; "last" where there was no validation) or "last".
        reading: options of ``Reading`` that differ from those of the training.
        device, threads: where to compute; those of the training by default.

    Raises:
        UserError: a faulty input or run (nothing is written then), or masks in ``output`` that something else made.
    """
    folder, config = load_run(run)
    options = {**config.data.read.model_dump(), **(reading or {})}
    data = config.data.model_copy(update={"read": Reading(**options)})
    where = {"device": device or default_device(config.device), "threads": threads or config.threads}
    config = config.model_copy(update={"data": data, **where})
    model = Predictor.load(folder, config, checkpoint, tta)
    target = folder.predictions if output is None else Path(output)
    record = {"checkpoint": model.digest, "tta": tta, "probabilities": probabilities, "read": options}
    jobs = _plan(inputs, target, overwrite, record)
    pending = [job for job in jobs if overwrite or not _is_done(job[1], probabilities)]
    for source, _ in pending:  # every input is looked at before the first mask is written
        load_image(source, config.data.read)
    write_json(target / RECORD_FILE, record)
    write_classes(target, model.classes)
    for source, mask in tqdm(pending, desc="predict", disable=hidden(progress)):
        volume = load_image(source, config.data.read)
        with faults_of_the_data():
            found = model(source, probabilities)
        if probabilities:  # the mask comes last: where it stands, the case is done
            save_volume(_probability_file(mask), np.moveaxis(found, 0, -1), volume)
        save_volume(mask, model.table[found.argmax(0) if probabilities else found], volume)
    return [mask for _, mask in jobs]


@dataclass
class Predictor:
    """A trained network with all that leads from a file to an array on the file's grid."""

    network: torch.nn.Module
    transforms: Compose
    inferer: SlidingWindowInferer
    classes: Classes
    device: torch.device
    mirror: tuple[int, ...] = ()
    resampled: bool = False
    digest: str = ""

    @property
    def table(self) -> np.ndarray:
        """From channel to label id."""
        return self.classes.to_ids()

    @classmethod
    def load(cls, folder: RunFolder, config: Config, checkpoint: str = "best", tta: bool = False) -> Predictor:
        """The network of a run with the weights of its best or last checkpoint."""
        if tta and not config.train.mirror:
            raise UserError(
                "--tta averages over mirrored copies, but this run was trained without mirroring and does not know "
                "them: train with train.mirror (for instance [0, 1, 2]), or predict without --tta"
            )
        classes = Classes.from_mapping(config.data.labels, config.data.ignore)
        device = pick_device(config.device, config.threads)
        last = folder.checkpoints / "last.pt"
        file = (folder.best() or last) if checkpoint == "best" else last
        network = build_network(config.model, classes.count).to(device)
        load_state(network, load_checkpoint(file, device), "network", file)
        inferer = build_inferer(config.predict, config.data.settled_patch)
        mirror = tuple(config.train.mirror) if tta else ()
        transforms = fixed_transforms(config.data, None)
        resampled = config.data.spacing is not None
        return cls(network.eval(), transforms, inferer, classes, device, mirror, resampled, digest_of(file))

    @torch.inference_mode()
    def __call__(self, source: Path, probabilities: bool = False) -> np.ndarray:
        """Channel indices (i, j, k) of a file, or class probabilities (N, i, j, k), on the grid of the file."""
        prepared = self.transforms({IMAGE: source})
        image = prepared[IMAGE]
        inputs = image.as_tensor()[None].to(self.device)
        scores = mirrored_mean(self.inferer, inputs, self.network, self.mirror)[0].cpu()
        # Without resampling the way back only flips axes: then indices (one byte per voxel) travel instead of scores.
        soft = probabilities or self.resampled
        found = scores if soft else scores.argmax(0, keepdim=True).to(torch.int32)
        prepared[PREDICTION] = MetaTensor(found, affine=image.affine, applied_operations=image.applied_operations)
        back = Invertd(PREDICTION, self.transforms, orig_keys=IMAGE, nearest_interp=not soft, to_tensor=True)
        result = back(prepared)[PREDICTION].as_tensor().numpy()
        if probabilities:
            return result.astype(np.float32)
        return result.argmax(0) if soft else np.rint(result[0]).astype(np.int64)


def _plan(
    inputs: Sequence[Path | str], target: Path, overwrite: bool, record: Mapping[str, Any]
) -> list[tuple[Path, Path]]:
    """Pairs of input and mask, checked: something to do, no two of one name, nothing that would be overwritten."""
    sources = [file for each in inputs for file in _files(Path(each), target)]
    if not sources:
        raise UserError(f"no images found in {', '.join(str(each) for each in inputs) or 'the inputs (none given)'}")
    jobs = [(source, target / _mask_name(source)) for source in sources]
    masks = [mask for _, mask in jobs]
    check_distinct([strip_suffix(mask) for mask in masks], "the inputs")
    written = masks + [_probability_file(mask) for mask in masks if record["probabilities"]]
    same = {source.resolve() for source in sources} & {each.resolve() for each in written}
    if same:
        raise UserError(f"the mask would replace its own input {sorted(same)[0]}; give another folder with --output")
    standing = [each for each in written if each.exists()]
    if standing and not overwrite:
        if read_json(target / RECORD_FILE) != record:
            raise UserError(
                f"{len(standing)} file(s) exist, such as {standing[0]}, and were not made by this run with "
                "these options; pass --overwrite to replace them, or give another folder with --output"
            )
        note(f"{len(standing)} of {len(written)} files exist in {target} and are kept; --overwrite makes them anew")
    return jobs


def _files(source: Path, target: Path) -> list[Path]:
    if not source.is_dir() or is_dicom_folder(source):
        return [source]
    found = list_images(source, skip=[target])
    tell_left_out(found.left_out)
    return list(found.images.values())


def _is_done(mask: Path, probabilities: bool) -> bool:
    return mask.exists() and (not probabilities or _probability_file(mask).exists())


def _mask_name(source: Path) -> str:
    """The input's name where its format is one file; else ``.nii.gz``, or ``.mha`` for ITK's in two files."""
    if has_suffix(source, (".mhd", ".nhdr")):
        return f"{strip_suffix(source)}.mha"
    single = has_suffix(source, (".nii", ".nii.gz", ".mha", ".nrrd"))
    return f"{strip_suffix(source)}{image_suffix(source) if single else '.nii.gz'}"


def _probability_file(mask: Path) -> Path:
    return mask.with_name(f"{strip_suffix(mask)}_probabilities.nii.gz")
