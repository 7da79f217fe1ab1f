"""Validation during training: Dice per case and class on whole volumes, previews, and the tables of the best epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader

from medloss.apps.common import processes
from medloss.apps.common.output import RunFolder, write_csv, write_json
from medloss.apps.common.summary import summarise
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.inference import Windows
from medloss.apps.segmentation.overlap import region_dice
from medloss.apps.segmentation.volumes import IMAGE, LABEL, MASK, PRESENT

PROXY = "measured while training, on the grid the network sees; medloss segment evaluate measures on the original one"
SECONDS_BETWEEN_DRAWINGS = 30.0  # a picture takes about a second


@dataclass
class Validator:
    """Applies the network to every validation volume; remembers what the tables and previews need."""

    network: torch.nn.Module
    loader: DataLoader
    windows: Windows
    classes: Classes
    previews: int = 1
    rows: list[dict[str, Any]] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)  # the first cases of the last validation, with arrays
    to_draw: list[dict[str, Any]] = field(default_factory=list)
    drawn_at: float = field(default_factory=time.monotonic)

    def __call__(self) -> dict[str, float]:
        """Mean Dice over cases of each class (``dice_<name>``), and ``dice``, the mean of those."""
        self.rows, self.seen = [], []
        self.network.eval()
        with torch.inference_mode():
            for batch in self.loader:
                self._measure(batch)
        self._gather()
        table = np.array([[row["dice"] for row in self.rows if row["label"] == name] for name in self.classes.names])
        counts = np.isfinite(table).sum(axis=1)
        means = np.where(counts > 0, np.nansum(table, axis=1) / np.maximum(counts, 1), np.nan)
        by_class = {f"dice_{name}": float(mean) for name, mean in zip(self.classes.names, means, strict=True)}
        return {"dice": float(np.nanmean(means)) if counts.any() else float("nan"), **by_class}

    def keep(self, run: RunFolder, epoch: int) -> None:
        """Write the tables of the last validation, the best so far; draw it when the last drawing is a while ago."""
        write_csv(run.path / "metrics.csv", self.rows)
        summary = {
            name: summarise([row for row in self.rows if row["label"] == name], ["dice"]) for name in self.classes.names
        }
        write_json(run.path / "metrics.json", {"epoch": epoch, "note": PROXY, "labels": summary})
        self.to_draw = [{**each, "epoch": epoch} for each in self.seen]
        if time.monotonic() - self.drawn_at > SECONDS_BETWEEN_DRAWINGS:
            self.draw(run)

    def pictures(self) -> dict[str, np.ndarray]:
        """Image, reference and prediction of the first cases side by side, cut where most of the reference is."""
        found = {}
        for each in self.seen:
            label, image = each[LABEL], each[IMAGE]
            most = int((label > 0).sum(axis=(0, 1)).argmax())
            low, high = np.percentile(image, [1, 99])
            grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
            masks = [volume / max(self.classes.count - 1, 1) for volume in (label, each["prediction"])]
            found[f"image, reference, prediction/{each['id']}"] = np.hstack([v[..., most] for v in (grey, *masks)])
        return found

    def draw(self, run: RunFolder) -> None:
        """Previews of the best validation so far, unless they are drawn already."""
        from medloss.apps.common.figures import segmentation_preview

        names = dict(enumerate(self.classes.names, 1))
        for each in self.to_draw:
            case, epoch = each["id"], each["epoch"]
            arrays = (each[IMAGE], each[LABEL], each["prediction"])
            picture = run.previews / f"epoch_{epoch:04d}_{case}.png"
            segmentation_preview(picture, *arrays, each["spacing"], f"{case}, epoch {epoch}", names=names)
        self.to_draw, self.drawn_at = [], time.monotonic()

    def _gather(self) -> None:
        """The rows of all cases, also of those that other processes measured."""
        names = list(dict.fromkeys(row["case"] for row in self.rows))
        mine = [[row for row in self.rows if row["case"] == name] for name in names]
        cases = len(self.loader.dataset)  # type: ignore[arg-type]  # a dataset of MONAI has a length
        self.rows = [row for rows in processes.gathered(mine, cases) for row in rows]

    def _measure(self, batch: dict[str, Any]) -> None:
        image, reference = (batch[key].as_tensor()[0] for key in (IMAGE, LABEL))
        prediction, reference = self.windows.indices(image, self.classes), reference[0]
        if MASK in batch:  # what nobody annotated counts neither way
            counted = batch[MASK].as_tensor()[0, 0] > 0
            prediction, reference = prediction * counted, reference * counted
        case = batch["id"][0]
        values = region_dice(prediction, reference, self.classes)
        if PRESENT in batch:  # nor do classes that this case does not annotate
            present = batch[PRESENT][0, -len(values) :].tolist()
            values = [value if known else float("nan") for value, known in zip(values, present, strict=True)]
        named = zip(self.classes.names, values, strict=True)
        self.rows += [{"case": case, "label": name, "dice": value} for name, value in named]
        if len(self.seen) < self.previews:
            arrays = {IMAGE: image[0], LABEL: reference, "prediction": prediction}
            spacing = np.linalg.norm(batch[IMAGE].affine.reshape(-1, 4, 4)[0, :3, :3].numpy(), axis=0)
            self.seen.append({"id": case, "spacing": spacing, **{k: v.cpu().numpy() for k, v in arrays.items()}})
