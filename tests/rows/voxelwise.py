"""Rows of the losses that go voxel by voxel: likelihoods, ranks, calibration, partial labels."""

from row import Row

from rows.morphology import RANKED

MULTICLASS = {"softmax": True, "to_onehot_y": True}
WEIGHT = [1.0, 2.0, 0.5]
COMPOUND = "the terms of a compound have different shapes, so it has no `none`"


def voxels(case):
    """B [spatial], or with a sigmoid B N [spatial]."""
    return "element" if case.options.get("sigmoid") else "voxel"


def weighted(case):
    """A mean over weighted voxels is not that of the samples' means."""
    return "weight" in case.options


ROWS = {
    "LovaszSoftmaxLoss": Row(
        leaves={"empty slice": "a class that the target lacks costs nothing"},
        options=[MULTICLASS, {**MULTICLASS, "classes": "all", "weight": WEIGHT}],
        none="sample",
        without={"certain": RANKED},
    ),
    "LovaszHingeLoss": Row(options=[{"to_onehot_y": True}]),
    "TopKLoss": Row(
        options=[{**MULTICLASS, "k": 30.0, "weight": WEIGHT}],
        none="sample",
        saved=2.2,  # which voxels were chosen
    ),
    "OhemCrossEntropyLoss": Row(
        options=[{**MULTICLASS, "thresh": 0.3, "min_kept": 5, "weight": WEIGHT}],
        none="sample",
        saved=2.2,
    ),
    "DiceTopKLoss": Row(
        options=[{**MULTICLASS, "include_background": False}],
        none="",
        saved=2.2,
        without={
            "reductions": COMPOUND,
            "none": COMPOUND,
            "samples": COMPOUND,
            "processes": "each process sorts its own voxels; the Dice term is that of the joined batch",
        },
    ),
    "SoftBCELoss": Row(
        options=[{"to_onehot_y": True, "smooth_factor": 0.1, "pos_weight": [1.0, 3.0, 0.5]}],
        none="element",
    ),
    "PolyLoss": Row(
        options=[
            {**MULTICLASS, "weight": WEIGHT},
            {"sigmoid": True},
            {**MULTICLASS, "weight": WEIGHT, "weighted": "cross_entropy"},
        ],
        none=voxels,
        joined=lambda case: weighted(case) and "weighted" not in case.options,
        saved=2.2,  # with the weight on one term two operators look at the logits
    ),
    "GeneralizedCrossEntropyLoss": Row(options=[MULTICLASS], none=voxels),
    "SymmetricCrossEntropyLoss": Row(
        options=[{**MULTICLASS, "weight": WEIGHT}],
        none="voxel",
        joined=True,
        saved=2.2,  # the weight of each voxel's class
    ),
    "NACLLoss": Row(
        options=[
            {**MULTICLASS, "alpha": 0.5, "border": "zero"},
            {**MULTICLASS, "border": "background"},
            {**MULTICLASS, "kernel_type": "gaussian", "sigma": 0.7, "distance": "l2"},
        ],
        none="voxel",
        neighbourhood=True,
        saved=2.8,  # the shares of the classes, as large as the logits
    ),
    "MbLSLoss": Row(options=[{**MULTICLASS, "margin": 0.5}], none="voxel"),
    "SpatiallyVaryingLabelSmoothingLoss": Row(
        options=[MULTICLASS],
        none="voxel",
        neighbourhood=True,
        saved=2.2,  # the smoothed labels, as large as the logits
    ),
    "ACELoss": Row(
        leaves={
            "false branch": "shares of voxels, not voxels",
            "missed lesion": "shares of voxels, not voxels",
            "false lesion": "shares of voxels, not voxels",
        },
        options=[{**MULTICLASS, "bins": 5}],
        saved=2.2,
        without={"certain": "the gradient is the sign of a bin's gap, which may be too small for float32"},
    ),
    "MarginalDiceCELoss": Row(
        options=[{**MULTICLASS, "labelled": [1]}],
        none="",
        saved=4.2,  # the merged logits, and what made them
        without={"reductions": COMPOUND, "none": COMPOUND, "samples": COMPOUND},
    ),
    "ExclusionLoss": Row(
        leaves={
            "empty slice": "all classes are labelled",
            "false branch": "all classes are labelled",
            "missed lesion": "all classes are labelled",
            "false lesion": "all classes are labelled",
        },
        options=[{**MULTICLASS, "labelled": [1]}, {**MULTICLASS, "labelled": [2], "form": "cross_entropy"}],
        saved=4.2,  # the labelled foreground, seen as one map for each class; for the logarithms the probabilities
        without={"reductions": "the mean leaves out the labelled classes"},
    ),
}
