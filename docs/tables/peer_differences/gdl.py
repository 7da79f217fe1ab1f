"""Where a drop-in and geo-deep-learning, or segmentation-models-pytorch 0.6.0, differ, and why."""

from __future__ import annotations

from peer_differences.difference import Difference

_ROWS = (
    # key, losses, when, theirs, ours, why
    # ---- geo-deep-learning
    (
        "absent-boundary",
        "BoundaryLoss, DuoLoss",
        "a class without a boundary in the target, absent or everywhere",
        "costs 1 whatever is predicted",
        "leaves the mean",
        "a constant has no gradient, and hides the value of the other classes",
    ),
    (
        "ignored-boundary",
        "BoundaryLoss, DuoLoss",
        "ignore_index",
        "logs an error and counts the voxels",
        "they are not there, as beyond the border",
        "this is what the option means",
    ),
    (
        "even-box",
        "BoundaryLoss, DuoLoss",
        "an even theta or theta0",
        "crashes: the maps no longer fit",
        "ValueError from the constructor",
        "a window needs a middle",
    ),
    (
        "nothing-hard",
        "OhemCrossEntropy2d",
        "no voxel is hard, or every voxel is ignored",
        "NaN, the mean of nothing",
        "0",
        "no voxel is left to learn from",
    ),
    (
        "numpy-on-the-cpu",
        "OhemCrossEntropy2d",
        "every call",
        "the voxels are chosen by NumPy on the CPU, where the chosen target then stays",
        "where the tensors are, and in one graph of torch.compile",
        "the GPU waits for the copies, and then the target is on the wrong device",
    ),
    (
        "duo-options",
        "DuoLoss",
        "theta0, theta or only_present",
        "TypeError: every option goes to both losses, which share ignore_index alone",
        "each option goes to the loss that has it",
        "otherwise the loss has no options",
    ),
    # ---- segmentation-models-pytorch
    (
        "no-smoothing",
        "SoftCrossEntropyLoss",
        "smooth_factor=None, the default",
        "TypeError",
        "no smoothing",
        "the default has to work",
    ),
    (
        "nothing-valid-lovasz",
        "LovaszLoss",
        "mode 'multiclass', and an image whose voxels are all ignored",
        "an empty tensor",
        "the image leaves the mean; 0 where there is no other",
        "an empty tensor has no gradient and spoils every sum",
    ),
    (
        "nothing-valid-focal",
        "FocalLoss",
        "every voxel is ignored",
        "NaN, the mean of nothing",
        "0",
        "NaN would spread to every weight of the network",
    ),
    (
        "multilabel-ignored",
        "FocalLoss",
        "mode 'multilabel' with ignore_index",
        "IndexError: a mask of all channels on one of them",
        "each channel has its own ignored voxels, as in the Dice",
        "this is what the option means",
    ),
    (
        "double-hinge",
        "LovaszLoss",
        "modes 'binary' and 'multilabel' with float64",
        "RuntimeError",
        "the value in float64",
        "gradcheck needs it, and so does anyone who asks for double",
    ),
    (
        "integer-labels",
        "SoftBCEWithLogitsLoss",
        "a target of integers or bool without smooth_factor",
        "RuntimeError",
        "the value",
        "with smooth_factor they are taken, too",
    ),
    (
        "ignored-nan",
        "every loss with ignore_index",
        "NaN or Inf in the prediction of ignored voxels",
        "NaN, where it is multiplied by 0",
        "the value and gradient without these voxels",
        "voxels that do not count must not change the result",
    ),
    (
        "half-sums",
        "every loss",
        "float16 or bfloat16",
        "sums in the input's type: NaN for 300 x 300 voxels",
        "sums in float32; the result has the input's type",
        "a sum of many voxels does not fit half precision",
    ),
)
DIFFERENCES = tuple(Difference(key, "gdl", *row) for key, *row in _ROWS)
