"""The rows of the benchmark."""

from __future__ import annotations

import torch
from contestants import Row, kornia, kornia_lovasz, medloss, monai, msssim_package, smp, torch_cross_entropy

MULTI = {"softmax": True, "to_onehot_y": True}
CUBE = (128, 128, 128)
SMALL = (64, 64, 64)
TINY = (16, 16, 16)
DISTANCES = 1 - torch.eye(14)
DICE_CE = {"monai": monai("DiceCELoss", **MULTI)}

ROWS = [
    Row("dice_ce", "labels", CUBE, medloss("DiceCELoss", **MULTI), DICE_CE),
    Row("dice", "labels", CUBE, medloss("DiceLoss", **MULTI), {"monai": monai("DiceLoss", **MULTI)}),
    Row("gdl", "labels", CUBE, medloss("GeneralizedDiceLoss", **MULTI),
        {"monai": monai("GeneralizedDiceLoss", **MULTI)}),
    Row("tversky", "labels", CUBE, medloss("TverskyLoss", **MULTI), {"monai": monai("TverskyLoss", **MULTI)}),
    Row("dice_focal", "labels", CUBE, medloss("DiceFocalLoss", **MULTI), {"monai": monai("DiceFocalLoss", **MULTI)}),
    Row("focal", "labels", CUBE, medloss("FocalLoss", **MULTI),
        {"kornia": kornia("focal_loss", alpha=None, reduction="mean"),
         "monai": monai("FocalLoss", to_onehot_y=True, use_softmax=True)}),
    Row("ce", "labels", CUBE, medloss("CrossEntropyLoss", to_onehot_y=True), {"torch": torch_cross_entropy}),
    Row("gwdl", "labels", CUBE,
        medloss("GeneralizedWassersteinDiceLoss", dist_matrix=DISTANCES),
        {"monai": monai("GeneralizedWassersteinDiceLoss", DISTANCES)}),
    Row("lovasz", "labels", SMALL, medloss("LovaszSoftmaxLoss", to_onehot_y=True),
        {"smp": smp("LovaszLoss"), "kornia": kornia_lovasz}, classes=4),
    Row("hausdorff_dt", "labels", SMALL, medloss("HausdorffDTLoss", **MULTI),
        {"monai": monai("HausdorffDTLoss", **MULTI)}, classes=4, target="blobs"),
    Row("cldice", "labels", SMALL, medloss("SoftclDiceLoss", **MULTI, iter_=3),
        {"monai": monai("SoftclDiceLoss", iter_=3, softmax=True, to_onehot_y=True)}, classes=2, target="blobs"),
    Row("lncc_k9", "images", CUBE, medloss("LocalNormalizedCrossCorrelationLoss", kernel_size=9),
        {"monai": monai("LocalNormalizedCrossCorrelationLoss", kernel_size=9)}),
    Row("lncc_k3", "images", CUBE, medloss("LocalNormalizedCrossCorrelationLoss", kernel_size=3),
        {"monai": monai("LocalNormalizedCrossCorrelationLoss", kernel_size=3)}),
    Row("lncc_gauss9", "images", CUBE,
        medloss("LocalNormalizedCrossCorrelationLoss", kernel_size=9, kernel_type="gaussian"),
        {"monai": monai("LocalNormalizedCrossCorrelationLoss", kernel_size=9, kernel_type="gaussian")}),
    Row("mi_gauss", "images", (96, 96, 96), medloss("GlobalMutualInformationLoss"),
        {"monai": monai("GlobalMutualInformationLoss")}),
    Row("mi_bspline", "images", (96, 96, 96), medloss("GlobalMutualInformationLoss", kernel_type="b-spline"),
        {"monai": monai("GlobalMutualInformationLoss", "b-spline")}),
    Row("ssim_3d", "images", SMALL, medloss("SSIMLoss"),
        {"pytorch-msssim": msssim_package, "monai": monai("SSIMLoss", 3)}),
    Row("bending", "field", CUBE, medloss("BendingEnergyLoss"), {"monai": monai("BendingEnergyLoss")}),
    Row("diffusion", "field", CUBE, medloss("DiffusionLoss"), {"monai": monai("DiffusionLoss")}),
    # few and many classes, batches of slices, channels-last, and volumes so small that the calls themselves count
    Row("dice_ce_n2", "labels", CUBE, medloss("DiceCELoss", **MULTI), DICE_CE, classes=2),
    Row("dice_ce_n42", "labels", (96, 96, 96), medloss("DiceCELoss", **MULTI), DICE_CE,
        classes=42),
    Row("dice_ce_2d", "labels", (256, 256), medloss("DiceCELoss", **MULTI), DICE_CE,
        classes=4, batch=16),
    Row("dice_ce_channels_last", "labels", CUBE, medloss("DiceCELoss", **MULTI), DICE_CE,
        layout="channels_last"),
    Row("dice_ce_tiny", "labels", TINY, medloss("DiceCELoss", **MULTI), DICE_CE,
        classes=4),
    Row("dice_tiny", "labels", TINY, medloss("DiceLoss", **MULTI), {"monai": monai("DiceLoss", **MULTI)}, classes=4),
    Row("lncc_tiny", "images", TINY, medloss("LocalNormalizedCrossCorrelationLoss", kernel_size=9),
        {"monai": monai("LocalNormalizedCrossCorrelationLoss", kernel_size=9)}),
    Row("bending_tiny", "field", TINY, medloss("BendingEnergyLoss"), {"monai": monai("BendingEnergyLoss")}),
]  # fmt: skip
BY_NAME = {row.name: row for row in ROWS}
