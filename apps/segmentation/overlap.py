"""Dice of label maps by one count of pairs: no class becomes a volume of its own."""

from __future__ import annotations

import math

import torch

from medloss.apps.segmentation.classes import Classes


def region_dice(prediction: torch.Tensor, reference: torch.Tensor, classes: Classes) -> list[float]:
    """Dice of each class or region of two index maps (i, j, k); NaN where both are empty, 0 where one is."""
    count = classes.indices
    pairs = (prediction.long() * count + reference).flatten()
    table = torch.bincount(pairs, minlength=count * count).view(count, count).double()
    members = classes.members().double().to(table.device)
    overlap = torch.einsum("ar,ab,br->r", members, table, members)
    sizes = members.T @ (table.sum(1) + table.sum(0))
    return [2 * float(o) / float(s) if s else math.nan for o, s in zip(overlap, sizes, strict=True)]
