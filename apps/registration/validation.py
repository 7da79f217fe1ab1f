"""Validation of a registration network on whole pairs, on the grid that it works on."""

from __future__ import annotations

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
    """``measure()`` for the engine: mean Dice of all regions of all pairs, folding in percent, and the loss.

    ``metric`` is the one that picks the best checkpoint: Dice with labels, the loss without.
    """

    def __init__(self, pairs: PairDataset, terms: Terms, device: torch.device) -> None:
        self.pairs, self.terms, self.device = pairs, terms, device
        self.kept: dict[str, Any] = {}
        self.metric = "dice" if "fixed_label" in pairs[0] else "valid_loss"

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        self.terms.network.eval()
        mine = [self._measure(self._batch(index)) for index in processes.share(len(self.pairs))]
        rows = processes.gathered(mine, len(self.pairs))
        return {key: float(np.nanmean([row[key] for row in rows])) for key in rows[0]}

    def before(self) -> str:
        """The line that says where the training starts from."""
        if self.metric != "dice":
            return f"{len(self.pairs)} pairs held out, judged by the loss: there are no labels"
        items = [self.pairs[index] for index in range(len(self.pairs))]
        dice = np.nanmean([mean_dice(item["moving_label"], item["fixed_label"]) for item in items])
        return f"Dice of the held out pairs before registration: {dice:.4f}"

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
        if self.metric == "dice":
            row["dice"] = mean_dice(warp(batch["moving_label"], ddf)[0], batch["fixed_label"][0])
        else:
            row["valid_loss"] = float(total(self.terms(batch)))
        return row


def mean_dice(found: Tensor, reference: Tensor) -> float:
    """Mean Dice over the regions ``(N, i, j, k)`` of probabilities cut at a half; regions absent from both do not
    count.
    """
    scores = compute_dice(found[:, None] > 0.5, reference[:, None] > 0.5, include_background=True, ignore_empty=True)
    return float(torch.nanmean(scores))
