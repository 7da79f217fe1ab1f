"""Segmentation losses beside their authors' code."""

from __future__ import annotations

ROWS = (
    # key, loss, whose code, theirs, ours, equal with, why
    (
        "cbdice",
        "CenterlineBoundaryDiceLoss",
        "PengchengShi1220/cbDice",
        "sums over the batch; all foreground classes are one; distances in voxels",
        "one value per sample and class; distances in the unit of the spacing",
        "batch=True, smooth=1e-12, one class",
        "one rule for what none returns; voxels have sizes",
    ),
)
