"""``medloss segment predict``: masks on the grid of the input, with the ids of the training labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, Invertd
from tqdm import tqdm

from medloss.apps.common.checkpoints import load_checkpoint
from medloss.apps.common.errors import UserError
from medloss.apps.common.images import list_images, load_volume, save_volume, strip_suffix
from medloss.apps.common.output import RunFolder, write_json
from medloss.apps.common.progress import hidden
from medloss.apps.common.training import pick_device
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.data import faults_of_the_data
from medloss.apps.segmentation.network import build_inferer, build_network, mirrored_mean
from medloss.apps.segmentation.train import load_run
from medloss.apps.segmentation.transforms import IMAGE, fixed_transforms

PREDICTION = "prediction"
NAMES_FILE = "labels.json"


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
) -> list[Path]:
    """Segment files or folders of files with a trained run; returns the masks, ``<output>/<name of the input>``.

    Args:
        output: folder of the masks; the run's ``predictions/`` by default, where older masks are replaced.
        tta: average over the copies mirrored along the axes that the run was trained with.
        probabilities: also write ``<name>_probabilities.nii.gz``, float32 (i, j, k, class), background first.
        overwrite: replace files that exist in ``output``.
        checkpoint: "best" (by validation Dice; "last" where there was no validation) or "last".
    """
    folder, config = load_run(run)
    model = Predictor.load(folder, config, checkpoint, tta)
    target = folder.predictions if output is None else Path(output)
    jobs = _plan(inputs, target, overwrite or output is None, probabilities)
    for source, _ in jobs:  # every input is looked at before the first mask is written
        load_volume(source)
    for source, mask in tqdm(jobs, desc="predict", disable=hidden(progress)):
        volume = load_volume(source)
        with faults_of_the_data():
            found = model(source, probabilities)
        save_volume(mask, model.table[found.argmax(0) if probabilities else found], volume)
        if probabilities:
            save_volume(_probability_file(mask), np.moveaxis(found, 0, -1), volume)
    names = {name: int(ids[0]) for name, ids in zip(model.classes.names, model.classes.ids, strict=True)}
    write_json(target / NAMES_FILE, names)
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
        classes, device = Classes.from_mapping(config.data.labels, config.data.ignore), pick_device()
        last = folder.checkpoints / "last.pt"
        file = (folder.best() or last) if checkpoint == "best" else last
        network = build_network(config.model, classes.count).to(device)
        network.load_state_dict(load_checkpoint(file, device)["network"])
        inferer = build_inferer(config.predict, config.data.patch)
        mirror = tuple(config.train.mirror) if tta else ()
        transforms = fixed_transforms(config.data, None)
        return cls(network.eval(), transforms, inferer, classes, device, mirror, config.data.spacing is not None)

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


def _plan(inputs: Sequence[Path | str], target: Path, overwrite: bool, probabilities: bool) -> list[tuple[Path, Path]]:
    """Pairs of input and mask, checked: something to do, no two of one name, nothing that would be overwritten."""
    sources = [file for each in inputs for file in (list_images(each) if Path(each).is_dir() else [Path(each)])]
    if not sources:
        raise UserError(f"no images found in {', '.join(str(each) for each in inputs) or 'the inputs (none given)'}")
    jobs = [(source, target / _mask_name(source)) for source in sources]
    masks = [mask for _, mask in jobs]
    repeated = sorted({mask.name for mask in masks if masks.count(mask) > 1})
    if repeated:
        raise UserError(f"several inputs have the name {repeated[0]}; predict them into different folders")
    written = masks + [_probability_file(mask) for mask in masks if probabilities]
    same = {source.resolve() for source in sources} & {each.resolve() for each in written}
    if same:
        raise UserError(f"the mask would replace its own input {sorted(same)[0]}; give another folder with --output")
    standing = [each for each in written if each.exists()]
    if standing and not overwrite:
        raise UserError(f"{len(standing)} file(s) exist, such as {standing[0]}; pass --overwrite to replace them")
    return jobs


def _mask_name(source: Path) -> str:
    # A .mhd keeps its voxels in a second file, which cannot be replaced together with it: one file instead.
    return f"{strip_suffix(source)}.mha" if source.suffix == ".mhd" else source.name


def _probability_file(mask: Path) -> Path:
    return mask.with_name(f"{strip_suffix(mask)}_probabilities.nii.gz")
