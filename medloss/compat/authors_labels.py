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
    (
        "noise-robust",
        "NoiseRobustDiceLoss",
        "HiLab-git/PyMIC",
        "sums over the batch",
        "one value per sample and class; the denominator is theirs, the paper's formula with squares an option",
        "batch=True",
        "with squares an absent class costs the more the less is predicted: descent fills slices without a lesion",
    ),
    (
        "unified-focal",
        "UnifiedFocalLoss, AsymmetricUnifiedFocalLoss",
        "mlyg/unified-focal-loss",
        "the focal part is summed over the classes, the Tversky part averaged",
        "both are averaged: at the same lambda_focal the focal part has half the weight (two classes)",
        'focal_over_classes="sum", smooth_nr=1e-7, smooth_dr=1e-7',
        "with any number of classes both parts keep their size",
    ),
    (
        "boundary-dou",
        "BoundaryDoULoss",
        "sunfan-bvb/BoundaryDoULoss",
        "alpha is cut off at 0.8 alone, and negative for regions that are mostly boundary",
        "alpha in [0, 0.8], as in the paper",
        "alpha_min=-1, batch=True",
        "a formula has the range that its paper gives",
    ),
    (
        "skeleton-recall",
        "SkeletonRecallLoss",
        "MIC-DKFZ/Skeleton-Recall",
        "the recall itself, negative; sums over the batch where the plan says so; skeletons of scikit-image",
        "1 - recall, one value per sample and class",
        'batch=True, less 1; the skeleton from SkeletonMap(method="scikit-image")',
        "a loss is 0 where all is right",
    ),
    (
        "instances",
        "BlobDiceLoss, CCDiceLoss",
        "neuronflow/blob_loss; the nnU-Net fork of CC-DiceCE; BlobLoss and ConnectedComponentLoss alike",
        "blob: samples without instances leave the mean over the instances; CC: their whole volume is one cell",
        "they add nothing to that mean",
        'empty="skip_term" (blob), empty="whole" (CC)',
        "the value of a sample does not depend on the others",
    ),
)
