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
        "`none` returns the same shape for every loss; voxels have sizes",
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
        "with any number of classes both parts keep their weight",
    ),
    (
        "boundary-dou",
        "BoundaryDoULoss",
        "sunfan-bvb/BoundaryDoULoss",
        "alpha is cut off at 0.8 alone, and negative for regions that are mostly boundary",
        "alpha in [0, 0.8], as in the paper",
        "alpha_min=-1, batch=True",
        "the formula keeps the range of the paper",
    ),
    (
        "skeleton-recall",
        "SkeletonRecallLoss",
        "MIC-DKFZ/Skeleton-Recall",
        (
            "the recall itself, negative; sums over the batch where the plan says so; scikit-image's skeletons, "
            "Lee's of volumes and Zhang's of planes"
        ),
        "1 - recall, one value per sample and class",
        'batch=True, less 1; the skeleton from SkeletonMap(method="lee"); Zhang\'s not at all',
        "a loss is 0 for a perfect prediction",
    ),
    (
        "instances",
        "BlobDiceLoss, CCDiceLoss",
        "neuronflow/blob_loss; the nnU-Net fork of CC-DiceCE; BlobLoss and ConnectedComponentLoss alike",
        "blob: samples without instances leave the mean over the instances; CC: their whole volume is one cell",
        "they count as 0 in that mean",
        'empty="skip_term" (blob), empty="whole" (CC)',
        "the value of a sample does not depend on the others",
    ),
    (
        "nacl",
        "NACLLoss",
        "Bala93/MarginLoss",
        "beyond the border lie voxels of class 0; the Gaussian is SVLS's window, of weights that sum to 2",
        "the share of a class is that of the voxels that are there; the Gaussian is MONAI's",
        'border="background"; the Gaussian not at all',
        "the labels beyond the border are not known; weights that sum to 2 give no share",
    ),
    (
        "poly",
        "PolyLoss",
        "abhuse/polyloss-pytorch",
        "class weights weigh the cross-entropy alone, and the mean is over the voxels",
        "they weigh both terms and the voxels of the mean",
        'weighted="cross_entropy"',
        "the weight of a class applies to its voxels, as in the cross-entropy",
    ),
    (
        "generalized-surface",
        "GeneralizedSurfaceLoss",
        "aecelaya/gen-surf-loss and MIST",
        "classes weigh 1 / (T^2 + 1) in each sample; in MIST each has a ratio of its own",
        "all weigh 1, or the weight that is given",
        'weighting="inverse_square"; weighting="per_class", include_background=False',
        "the weights of the paper depend on the data set",
    ),
    (
        "symmetric-ce",
        "SymmetricCrossEntropyLoss",
        "YisenWang/symmetric_cross_entropy_for_noisy_labels",
        "labels are clipped at 1e-4, so that A is -9.21",
        "A is -4, as printed in the paper",
        "log_zero=math.log(1e-4)",
        "the default is that of the paper",
    ),
    (
        "cldice",
        "SoftclDiceLoss, SoftDiceclDiceLoss",
        "jocpae/clDice",
        "10 erosions whatever iter_ says; sums over the batch; with several classes one Dice over all",
        "3 erosions, as MONAI's; a Dice of each class",
        "iter_=10, batch=True, smooth=1e-12, one class",
        "the option has its documented effect; every Dice here is computed for each class",
    ),
    (
        "t-loss",
        "TLoss",
        "Digital-Dermatology/t-loss",
        "nu is e and both scales are 1; not divided by the number of voxels",
        "nu is 1; divided",
        "per_voxel=False; the gradient differs by a part of (e - 1) / (1 + D)",
        "one constant in place of two with the same meaning; values of a size like that of other losses",
    ),
    (
        "size-constraint",
        "SizeConstraintLoss",
        "LIVIAETS/SizeLoss_WSS",
        "squares of sizes, divided once by the number V of voxels",
        "squares of shares",
        "a weight times V",
        "the value does not depend on the size of the volume",
    ),
    (
        "papers",
        (
            "ComboLoss, PenaltyGeneralizedDiceLoss, ActiveContourLoss, HausdorffERLoss, "
            "DistancePenalisedCELoss, BoundaryLoss"
        ),
        "asgsaeid/ComboLoss, JunMa11/SegLoss, xuuuuuuchen/Active-Contour-Loss, LIVIAETS/boundary-loss",
        (
            "a wrong sign; -G for 1 - G; a length from differences of voxels that lie apart; a kernel over "
            "the channels; a weight that is computed and not used; distances rounded down"
        ),
        "the formula of the paper",
        "not at all",
        "their code has an error",
    ),
)
