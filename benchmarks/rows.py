"""The rows of the benchmark."""

from __future__ import annotations

import plain
import torch
from contestants import Row
from peers import (
    compiled,
    composed,
    fireants,
    kornia,
    kornia_lovasz,
    medloss,
    monai,
    ms_ssim_package,
    msssim_package,
    nnunet_dice_ce,
    plainly,
    smp,
    torch_cross_entropy,
)

MULTI = {"softmax": True, "to_onehot_y": True}
CUBE = (128, 128, 128)
MIDDLE = (96, 96, 96)
SMALL = (64, 64, 64)
TINY = (16, 16, 16)
DISTANCES = 1 - torch.eye(14)
OURS_DICE_CE = medloss("DiceCELoss", **MULTI)
DICE_CE = {"monai": monai("DiceCELoss", **MULTI)}
LNCC = "LocalNormalizedCrossCorrelationLoss"

ROWS = [
    Row("dice_ce", "labels", CUBE, OURS_DICE_CE,
        {**DICE_CE, "nnunet": nnunet_dice_ce, "compiled": compiled(plain.dice_ce)}),
    Row("dice", "labels", CUBE, medloss("DiceLoss", **MULTI),
        {"monai": monai("DiceLoss", **MULTI), "smp": smp("DiceLoss")}),
    Row("gdl", "labels", CUBE, medloss("GeneralizedDiceLoss", **MULTI),
        {"monai": monai("GeneralizedDiceLoss", **MULTI)}),
    Row("tversky", "labels", CUBE, medloss("TverskyLoss", **MULTI), {"monai": monai("TverskyLoss", **MULTI)}),
    Row("dice_focal", "labels", CUBE, medloss("DiceFocalLoss", **MULTI),
        {"monai": monai("DiceFocalLoss", **MULTI), "compiled": compiled(plain.dice_focal)}),
    Row("focal", "labels", CUBE, medloss("FocalLoss", **MULTI),
        {"kornia": kornia("focal_loss", alpha=None, reduction="mean"),
         "monai": monai("FocalLoss", to_onehot_y=True, use_softmax=True)}),
    Row("ce", "labels", CUBE, medloss("CrossEntropyLoss", to_onehot_y=True), {"torch": torch_cross_entropy}),
    Row("topk", "labels", CUBE, medloss("TopKLoss", k=10, batch=True, to_onehot_y=True), {"torch": lambda: plain.topk}),
    Row("gce", "labels", CUBE, medloss("GeneralizedCrossEntropyLoss", q=0.7, to_onehot_y=True),
        {"torch": lambda: plain.gce}),
    Row("sensitivity_specificity", "labels", CUBE, medloss("SensitivitySpecificityLoss", **MULTI),
        {"torch": plainly(plain.sensitivity_specificity), "compiled": compiled(plain.sensitivity_specificity)}),
    Row("noise_robust_dice", "labels", CUBE, medloss("NoiseRobustDiceLoss", **MULTI),
        {"torch": plainly(plain.noise_robust_dice), "compiled": compiled(plain.noise_robust_dice)}),
    Row("exp_log", "labels", CUBE, medloss("ExpLogLoss", **MULTI),
        {"torch": plainly(plain.exp_log), "compiled": compiled(plain.exp_log)}),
    Row("combo", "labels", CUBE, medloss("ComboLoss", **MULTI), {"torch": plainly(plain.combo)}),
    Row("gwdl", "labels", CUBE,
        medloss("GeneralizedWassersteinDiceLoss", dist_matrix=DISTANCES),
        {"monai": monai("GeneralizedWassersteinDiceLoss", DISTANCES)}),
    Row("lovasz", "labels", MIDDLE, medloss("LovaszSoftmaxLoss", to_onehot_y=True, per_image=False),
        {"smp": smp("LovaszLoss"), "kornia": kornia_lovasz}, classes=4, batch=2),
    Row("lovasz_small", "labels", SMALL, medloss("LovaszSoftmaxLoss", to_onehot_y=True),
        {"smp": smp("LovaszLoss"), "kornia": kornia_lovasz}, classes=4),
    Row("lovasz_n105", "labels", SMALL, medloss("LovaszSoftmaxLoss", to_onehot_y=True),
        {"smp": smp("LovaszLoss"), "kornia": kornia_lovasz}, classes=105),
    Row("hausdorff_dt", "labels", SMALL, medloss("HausdorffDTLoss", **MULTI),
        {"monai": monai("HausdorffDTLoss", **MULTI)}, classes=4, target="blobs"),
    Row("cldice", "labels", SMALL, medloss("SoftclDiceLoss", **MULTI, iter_=3),
        {"monai": monai("SoftclDiceLoss", iter_=3, softmax=True, to_onehot_y=True)}, classes=2, target="blobs"),
    Row("lncc_k9", "images", CUBE, medloss(LNCC, kernel_size=9),
        {"monai": monai(LNCC, kernel_size=9), "fireants": fireants(LNCC, spatial_dims=3, kernel_size=9),
         "compiled": compiled(plain.lncc)}),
    Row("lncc_k3", "images", CUBE, medloss(LNCC, kernel_size=3),
        {"monai": monai(LNCC, kernel_size=3), "fireants": fireants(LNCC, spatial_dims=3, kernel_size=3)}),
    Row("lncc_gauss9", "images", CUBE,
        medloss(LNCC, kernel_size=9, kernel_type="gaussian"),
        {"monai": monai(LNCC, kernel_size=9, kernel_type="gaussian")}),
    Row("mi_gauss", "images", MIDDLE, medloss("GlobalMutualInformationLoss"),
        {"monai": monai("GlobalMutualInformationLoss"), "fireants": fireants("GlobalMutualInformationLoss")}),
    Row("mi_bspline", "images", MIDDLE, medloss("GlobalMutualInformationLoss", kernel_type="b-spline"),
        {"monai": monai("GlobalMutualInformationLoss", "b-spline")}),
    Row("ssim_3d", "images", SMALL, medloss("SSIMLoss"),
        {"pytorch-msssim": msssim_package, "monai": monai("SSIMLoss", 3)}),
    Row("ssim_3d_128", "images", CUBE, medloss("SSIMLoss"), {"pytorch-msssim": msssim_package}),
    Row("ms_ssim_2d", "images", (256, 256), medloss("MultiScaleSSIMLoss"),
        {"pytorch-msssim": ms_ssim_package(11)}, batch=8, warm=176),
    Row("ms_ssim_3d", "images", CUBE, medloss("MultiScaleSSIMLoss", window_size=7),
        {"pytorch-msssim": ms_ssim_package(7)}, warm=112),
    Row("ngf", "images", CUBE, medloss("NormalizedGradientFieldLoss"),
        {"torch": plainly(plain.gradient_field), "compiled": compiled(plain.gradient_field)}),
    Row("ncc", "images", CUBE, medloss("NormalizedCrossCorrelationLoss"),
        {"torch": plainly(plain.correlation), "compiled": compiled(plain.correlation)}, batch=2),
    Row("bending", "field", CUBE, medloss("BendingEnergyLoss"),
        {"monai": monai("BendingEnergyLoss"), "compiled": compiled(plain.bending)}),
    Row("diffusion", "field", CUBE, medloss("DiffusionLoss"), {"monai": monai("DiffusionLoss")}),
    Row("jacobian", "field", MIDDLE, medloss("JacobianLoss"),
        {"torch": plainly(plain.folding), "compiled": compiled(plain.folding)}),
    Row("resample", "field", MIDDLE, composed, {"torch": plainly(plain.composed)}),
    # few and many classes, large volumes, batches of slices, channels-last, and volumes so small that calls count
    Row("dice_ce_n2", "labels", CUBE, OURS_DICE_CE, DICE_CE, classes=2),
    Row("dice_ce_n4", "labels", MIDDLE, OURS_DICE_CE, DICE_CE, classes=4, batch=2),
    Row("dice_ce_n42", "labels", MIDDLE, OURS_DICE_CE, DICE_CE, classes=42),
    Row("dice_ce_n105", "labels", MIDDLE, OURS_DICE_CE, DICE_CE, classes=105),
    Row("dice_ce_192", "labels", (192, 192, 192), OURS_DICE_CE, DICE_CE, classes=4),
    Row("dice_ce_2d", "labels", (256, 256), OURS_DICE_CE, DICE_CE, classes=4, batch=16),
    Row("dice_ce_channels_last", "labels", CUBE, OURS_DICE_CE, DICE_CE, layout="channels_last"),
    Row("dice_ce_tiny", "labels", TINY, OURS_DICE_CE, DICE_CE, classes=4),
    Row("dice_tiny", "labels", TINY, medloss("DiceLoss", **MULTI), {"monai": monai("DiceLoss", **MULTI)}, classes=4),
    Row("lncc_tiny", "images", TINY, medloss(LNCC, kernel_size=9),
        {"monai": monai(LNCC, kernel_size=9)}),
    Row("bending_tiny", "field", TINY, medloss("BendingEnergyLoss"), {"monai": monai("BendingEnergyLoss")}),
]  # fmt: skip
BY_NAME = {row.name: row for row in ROWS}
