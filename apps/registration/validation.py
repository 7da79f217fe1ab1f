"""Validation of a registration network on whole pairs, on the grid that it works on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.metrics import compute_dice
from torch import Tensor

from medloss.apps.common import processes
from medloss.apps.common.deformation import folding_percent, jacobian_determinant
from medloss.apps.common.engine import to_device
from medloss.apps.registration.data import PairDataset, collate
from medloss.apps.registration.losses import total
from medloss.apps.registration.transform import warp

if TYPE_CHECKING:
    from medloss.apps.registration.train import Terms


class Validator:
    """``measure()`` for the engine: mean Dice of all regions of all pairs, folding in percent, landmarks, and the loss.

    ``metric`` is the one that picks the best checkpoint: Dice with labels, the loss without.
    """

    def __init__(self, pairs: PairDataset, terms: Terms, device: torch.device) -> None:
        self.pairs, self.terms, self.device = pairs, terms, device
        self.kept: dict[str, Any] = {}
        self.metric = "dice" if pairs.labelled else "valid_loss"

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        self.terms.network.eval()
        mine = [self._measure(self._batch(index)) for index in processes.share(len(self.pairs))]
        rows = processes.gathered(mine, len(self.pairs))
        found = {key: [row[key] for row in rows if row.get(key, np.nan) == row.get(key, np.nan)] for key in rows[0]}
        return {key: float(np.mean(values)) if values else float("nan") for key, values in found.items()}

    def before(self) -> str:
        """The line that says where the training starts from."""
        if self.metric != "dice":
            return f"{len(self.pairs)} pairs held out, judged by the loss: there are no labels"
        still = [mean_dice(each) for each in (self._regions(self._batch(i), None) for i in range(len(self.pairs)))]
        return f"Dice of the held out pairs before registration: {np.nanmean(still):.4f}"

    @torch.no_grad()
    def keep(self, path: Path) -> None:
        """Remember how the first pair looks now, to be drawn at ``path``: pictures take too long for every epoch."""
        batch = self._batch(0)
        ddf = self._displacement(batch)
        volumes = (batch["fixed"], batch["moving"], warp(batch["moving"], ddf))
        fixed, moving, warped = (volume[0, 0].cpu().numpy() for volume in volumes)
        field, spacing = ddf[0].cpu().numpy(), batch["spacing"][0].tolist()
        arrays = {"fixed": fixed, "moving": moving, "moved": warped, "ddf_voxels": field}
        self.kept = {"path": path, **arrays, "spacing": spacing}

    @torch.no_grad()
    def pictures(self) -> dict[str, np.ndarray]:
        """Fixed, moving and moved image of the first pair side by side, cut through the middle of each axis."""
        if not processes.is_main():
            return {}
        batch = self._batch(0)
        moved = warp(batch["moving"], self._displacement(batch))
        volumes = [each[0, 0].clamp(0, 1).cpu().numpy() for each in (batch["fixed"], batch["moving"], moved)]
        return {
            f"fixed, moving, moved/axis {axis}": np.hstack([each.take(each.shape[axis] // 2, axis) for each in volumes])
            for axis in range(3)
        }

    def draw(self) -> None:
        """The picture of what was kept last."""
        from medloss.apps.common.figures import registration_preview

        if self.kept:
            registration_preview(**self.kept, title=self.pairs.pairs[0].name)

    def _batch(self, index: int) -> dict[str, Any]:
        return to_device(collate([self.pairs[index]]), self.device)

    def _displacement(self, batch: dict[str, Any]) -> Tensor:
        field = self.terms.network.eval()(torch.cat([batch["moving"], batch["fixed"]], dim=1))
        return self.terms.to_displacement(field.float())

    def _measure(self, batch: dict[str, Any]) -> dict[str, float]:
        ddf = self._displacement(batch)
        row = {"folding_percent": folding_percent(jacobian_determinant(ddf[0]))}
        if "fixed_points" in batch:
            row["tre_mm"] = _landmark_distance(batch, ddf)
        if self.metric == "dice":
            row["dice"] = mean_dice(self._regions(batch, ddf))
        else:
            row["valid_loss"] = float(total(self.terms(batch)))
        return row

    def _regions(self, batch: dict[str, Any], ddf: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Each region as it is found and as it should be, ``(i, j, k)``, one at a time: memory does not grow."""

        def moved(region: Tensor) -> Tensor:
            return (region if ddf is None else warp(region[None, None], ddf)[0, 0]) > 0.5

        if "fixed_map" in batch:
            for value in self.pairs.files.classes or ():
                yield moved((batch["moving_map"][0, 0] == value).float()), batch["fixed_map"][0, 0] == value
        else:
            for moving, fixed in zip(batch.get("moving_label", [()])[0], batch.get("fixed_label", [()])[0]):
                yield moved(moving), fixed > 0.5


def mean_dice(regions: Iterator[tuple[Tensor, Tensor]]) -> float:
    """Mean Dice over pairs of binary regions, found and true; a region that is absent from both does not count."""
    scores = []
    for found, true in regions:
        if found.any() or true.any():
            scores.append(float(compute_dice(found[None, None], true[None, None], ignore_empty=False)))
    return float(np.mean(scores)) if scores else float("nan")


def _landmark_distance(batch: dict[str, Any], ddf: Tensor) -> float:
    """Mean distance in mm of the moving landmarks to where the displacement takes the fixed ones; NaN without any."""
    from medloss.apps.registration.augment import read_at

    fixed, moving = batch["fixed_points"][0], batch["moving_points"][0]
    if not len(fixed):
        return float("nan")
    apart = fixed + read_at(ddf[0], fixed) - moving
    return float((apart * batch["spacing"][0]).norm(dim=1).mean())
