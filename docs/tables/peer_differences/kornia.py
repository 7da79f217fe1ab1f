"""Where a drop-in and kornia 0.9.0 differ, and why."""

from __future__ import annotations

from peer_differences.difference import Difference

_ROWS = (
    # key, losses, when, theirs, ours, why
    # ---- numbers
    (
        "cancelled-variance",
        "SSIM, SSIM3D",
        "float32 images that lie far from 0 for their contrast, as CT in Hounsfield units",
        "variances are small differences of large squares, so the value is wrong by any amount",
        "the mean of each image is subtracted before anything is squared",
        "kornia's own value in double precision is ours",
    ),
    (
        "similarity-eps",
        "SSIM, SSIM3D",
        "an eps below 1e-4 times the product of both constants, such as the default with max_val=1",
        "adds it: equal black images cost 5.6e-6",
        "does not: they cost 0; a larger eps is added",
        "the constants already keep the denominator above 0",
    ),
    (
        "equal-images",
        "PSNR",
        "the gradient where both images are equal",
        "NaN",
        "0 (the value is minus infinity in both)",
        "NaN would spread to every weight of the network",
    ),
    (
        "no-range",
        "PSNR",
        "max_val of 0",
        "plus infinity",
        "ValueError",
        "there is no such ratio",
    ),
    (
        "half-errors",
        "PSNR",
        "float16 images whose squared error exceeds 65504",
        "infinity",
        "the ratio: errors are squared and summed in float32",
        "float16 holds the ratio, but not the square",
    ),
    (
        "bytes",
        "Charbonnier, Welsch, Cauchy, GemanMcclure",
        "images of uint8",
        "2 - 3 is 255",
        "2 - 3 is -1: integers become float32 first",
        "the difference of two bytes is no byte",
    ),
    (
        "one-pixel-axis",
        "InverseDepthSmoothness",
        "an axis of one pixel, which has no neighbours",
        "NaN: the mean of nothing",
        "that axis adds 0, as in total_variation",
        "no difference is no cost",
    ),
    (
        "ignored-nan",
        "Dice, Tversky, BinaryFocal",
        "NaN or Inf in the logits of ignored voxels",
        "NaN: it is multiplied by 0",
        "the value and gradient without these voxels, as kornia's own focal_loss has it",
        "voxels that do not count must not change the result",
    ),
    # ---- errors and the interface
    (
        "error-classes",
        "every loss",
        "a check fails",
        "kornia.core.exceptions.BaseError, ShapeError, TypeCheckError, DeviceError",
        "classes of these names in medloss.compat.kornia.base, and of the same built-in kinds; a bare BaseError is a "
        "ValueError too",
        "kornia is not imported",
    ),
    (
        "checks-off",
        "every loss",
        "KORNIA_CHECKS=0 or kornia.core.check.disable_checks()",
        "no checks",
        "checks",
        "they check shapes, which takes no time",
    ),
    (
        "labels-on-a-gpu",
        "Focal, Dice, Tversky, LovaszSoftmax",
        "a label outside the classes in a tensor on a GPU",
        "a device-side assertion, after which the process cannot use the GPU",
        "the voxel belongs to no class; medloss.check_values raises, and on the CPU every call does",
        "a check would make every call wait for the GPU",
    ),
    (
        "complex-images",
        "total_variation, MS_SSIM, PSNR, ...",
        "complex images",
        "a number, complex in part",
        "TypeError",
        "the losses of this package are defined for real images",
    ),
    (
        "torchscript",
        "Focal, Lovasz, MS_SSIM, ... (others not in kornia either)",
        "torch.jit.script",
        "works",
        "raises",
        "the operators support torch.compile and torch.export, which replace torch.jit in PyTorch",
    ),
    (
        "helper-methods",
        "HausdorffERLoss.perform_erosion, MS_SSIMLoss._fspecial_gauss_1d, MILossFromRef.fix_mask, ...",
        "methods and attributes that are steps of the computation",
        "there",
        "not there, but for get_kernel, arrange_shape, entropies and eps",
        "the computation has other steps here",
    ),
)
DIFFERENCES = tuple(Difference(key, "kornia", *row) for key, *row in _ROWS)
