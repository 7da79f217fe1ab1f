"""Targets that label some of the classes: whatever they leave out lies in their background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medloss import checks
from medloss.labels import LabelView
from medloss.ops import Column
from medloss.ops.masking import accumulation_dtype, blank, holds, voxel_weight
from medloss.ops.probabilities import finite
from medloss.sums import RegionSums

GONE = -1e20
"""The logit of a class that has been merged: its probability is 0, and so is 0 times its likelihood."""


def check_labelled(labelled: Sequence[int] | None) -> None:
    """Raise where an option is no sequence of class numbers."""
    if labelled is None:
        return
    if not isinstance(labelled, Sequence) or not all(isinstance(label, int) for label in labelled):
        raise TypeError(f"labelled={labelled!r} must be a sequence of class numbers")
    if any(label < 0 for label in labelled):
        raise ValueError(f"labelled={labelled!r} holds a negative class number")


def labelled_classes(view: LabelView, labelled: Sequence[int] | None, class_present: Any) -> Tensor:
    """Which classes the target of each sample labels, B N; the background always."""
    batch, classes = view.input.shape[:2]
    if class_present is not None:
        present = checks.plain("class_present", class_present)
        checks.same_device("class_present", present, view.input)
        if present.shape != (batch, classes):
            raise checks.ShapeError(
                f"class_present has shape {checks.shape(present)}: expected {batch}x{classes}, one row per sample"
            )
        present = present != 0
    else:
        wrong = [label for label in labelled or () if label >= classes]
        if wrong:
            raise ValueError(f"labelled holds {wrong}, and input has the {classes} classes 0..{classes - 1}")
        number = torch.arange(classes, device=view.input.device)
        present = torch.ones_like(number, dtype=torch.bool) if labelled is None else number < 0
        for label in labelled or ():
            present = present | (number == label)
        present = present.expand(batch, classes)
    return present | (torch.arange(classes, device=view.input.device) == 0)


def per_voxel(flags: Tensor, view: LabelView) -> Tensor:
    """B N as B N [1, ...]."""
    return flags.view(*flags.shape, *[1] * (view.input.ndim - 2))


def of_label(flags: Tensor, view: LabelView) -> Tensor:
    """The flag of the class of each voxel, from class indices; False outside the classes."""
    target = view.target
    known = (target >= 0) & (target < flags.shape[1])
    index = torch.where(known, target, torch.zeros_like(target)).long()
    return flags.gather(1, index.flatten(1)).view(index.shape) & known & (index == target)


def merged(view: LabelView, present: Tensor) -> LabelView:
    """The view with the unlabelled classes merged into the background, in the input and in the target.

    The sum of softmax probabilities is that of one class whose logit is the log-sum-exp of theirs.
    """
    dtype = accumulation_dtype(view.input)
    weight = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, dtype)
    logits, shown = finite(blank(view.input.to(dtype), weight)), per_voxel(present, view)
    rest = ~per_voxel(present[:, 1:], view)
    rest = torch.cat([torch.ones_like(rest[:, :1]), rest], 1)
    background = torch.where(rest, logits, torch.full_like(logits, -torch.inf)).logsumexp(1, keepdim=True)
    others = torch.where(shown, logits, torch.full_like(logits, GONE))[:, 1:]
    return view._replace(input=torch.cat([background, others], 1), target=_merged_target(view, present, rest, shown))


def _merged_target(view: LabelView, present: Tensor, rest: Tensor, shown: Tensor) -> Tensor:
    target = view.target
    if view.indexed:
        gone = of_label(~present, view)
        if view.ignore_index is not None:
            gone = gone & ~holds(target, view.ignore_index)
        return torch.where(gone, torch.zeros_like(target), target)
    nothing = torch.zeros_like(target)
    background = torch.where(rest, target, nothing).sum(1, keepdim=True).to(target.dtype)
    return torch.cat([background, torch.where(shown, target, nothing)[:, 1:]], 1)


def counting(sums: RegionSums, classes: Tensor) -> RegionSums:
    """The sums with no voxels for the other classes, which leave the mean so."""
    column = torch.arange(sums.columns.shape[-1], device=sums.columns.device)
    kept = classes.unsqueeze(-1) | (column != int(Column.VOXELS))
    return RegionSums(torch.where(kept, sums.columns, torch.zeros_like(sums.columns)))
