"""Registration and image losses beside their authors' code."""

from __future__ import annotations

ROWS: tuple[tuple[str, ...], ...] = (
    # key, loss, whose code, theirs, ours, equal with, why
    (
        "lncc-sigma",
        "LocalNormalizedCrossCorrelationLoss",
        "uncbiag/ICON (uniGradICON)",
        "1 - LNCC with a Gaussian of sigma 5 that ends at 2 sigma; 1e-5 is added to both variances",
        "a box of 9; sigma = kernel_size / 3 for a Gaussian; 1e-5 is the least variance",
        'kernel_type="gaussian", sigma=5, kernel_size=21, signed=True, plus 1',
        "the window of VoxelMorph; a sum in the variance is seen where contrast is low",
    ),
    (
        "lncc-border",
        "LocalNormalizedCrossCorrelationLoss",
        "ITK, ANTs",
        "windows at the border count the voxels that they hold",
        "zeros lie beyond the border, as in VoxelMorph and MONAI: unrelated volumes correlate there",
        'border="renormalise", kernel_size=2 r + 1',
        "the default stays that of the peers; under a mask windows count what they hold anyway",
    ),
    (
        "mattes",
        (
            "GlobalMutualInformationLoss, LocalMutualInformationLoss, NormalizedMutualInformationLoss, "
            "CorrelationRatioLoss"
        ),
        "ITK, ANTs",
        "Mattes' histogram: boxes that begin at their bin, splines with a slope up to the end of the range",
        'Gaussian windows; "b-spline" is MONAI\'s, with rounded boxes and no slope in the highest part',
        'kernel_type="mattes", intensity_range="image", target_range="image", smooth_nr=0, smooth_dr=1e-15',
        "MONAI's numbers have their name already",
    ),
    (
        "ssim-border",
        "SSIMLoss",
        "junyuchen245/TransMorph",
        "zeros lie beyond the border",
        "windows inside the image alone, as in the paper",
        'border="zero"',
        "zeros beyond the border look alike in both images",
    ),
    (
        "heatmap-kl",
        "HeatmapKLDivLoss",
        "anibali/dsntnn",
        "KL(prediction, target)",
        "KL(target, prediction), as in kornia and torch",
        'direction="of_input"',
        "the default is the peers'",
    ),
    (
        "mind-border",
        "MINDSSCLoss",
        "multimodallearning/convexAdam, ICON, TransMorph",
        "the edge is repeated beyond the border; the bounds of the variance are those of the batch",
        "patches count what lies inside; each image has its own bounds",
        "not at all; equal inside, and with a background of zeros",
        "what lies beyond the border is not known; a faint image must not depend on its neighbour in the batch",
    ),
    (
        "diffusion",
        "DiffusionLoss",
        "voxelmorph, TransMorph, LapIRN, SYMNet, CycleMorph",
        "differences from voxel to voxel, averaged over the axes",
        "central differences, summed over the axes, as in MONAI and DeepReg",
        "FieldGradientLoss",
        "two losses have two names",
    ),
    (
        "field-factors",
        "DiffusionLoss, CurvatureLoss, BendingEnergyLoss, DivergenceLoss, FieldTotalVariationLoss",
        "deepali, ICON",
        (
            "diffusion and curvature are d / 2 times ours, divergence half, total variation and bending d "
            "times (deepali); bending a d^2-th (ICON)"
        ),
        "the mean over voxels and components of the formula in the docstring",
        'these factors; stencil="wide" for bending, "central" for total variation',
        "each docstring has the formula; a weight from there needs the factor",
    ),
    (
        "pair-factors",
        "GradICONLoss, InverseConsistencyLoss",
        "uncbiag/ICON",
        "the components are averaged, both orders added, points jittered",
        "the components are summed, as in the papers; one order; the voxels",
        "a weight over d (1.5 of GradICON is 0.5 in 3D), and both orders added",
        "the Frobenius norm and the squared distance are the papers'",
    ),
    (
        "penalties",
        "CharbonnierLoss, TukeyLoss",
        "BasicSR, voxelmorph",
        "sqrt(r^2 + c^2); the biweight with its peak at c^2 / 2",
        "both are (r / c)^2 / 2 for small differences",
        "c times ours plus c; 3 c^2 times ours",
        "one scale for the whole family of robust penalties",
    ),
    (
        "ms-ssim-l1",
        "MSSSIML1Loss",
        "NVlabs/PL4NN; psyrocloud/MS-SSIM_L1_LOSS",
        "no factor (PL4NN); 200, and similarities multiplied over the channels (psyrocloud)",
        "200, averaged over the channels",
        "compensation=1; one channel",
        "the default is kornia's, the average the authors'",
    ),
)
