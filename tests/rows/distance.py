"""Rows of the losses over distances and over instances."""

from row import Row

MULTICLASS = {"softmax": True, "to_onehot_y": True}

ROWS = {
    "BoundaryLoss": Row(
        leaves={
            "empty slice": "what is empty has no border",
            "missed lesion": "with a sigmoid the other lesion is too near",
        },
        options=[MULTICLASS, {"sigmoid": True, "spacing": 2.5, "include_background": False}],
        neighbourhood=True,
        saved=2.1,
    ),
    "HausdorffDTLoss": Row(options=[{**MULTICLASS, "alpha": 1.5}], neighbourhood=True, saved=3.1),
    "LogHausdorffDTLoss": Row(options=[{"sigmoid": True, "empty": "skip"}], neighbourhood=True, saved=3.1),
    "GeneralizedSurfaceLoss": Row(
        leaves={
            "empty slice": "a class that the target lacks costs nothing",
            "missed lesion": "voxels at a border cost hardly anything",
        },
        options=[
            {**MULTICLASS, "weight": [1.0, 2.0, 0.5]},
            {**MULTICLASS, "weighting": "inverse_square"},
            {**MULTICLASS, "weighting": "per_class"},
        ],
        none="sample",
        neighbourhood=True,
        saved=3.6,  # and two masks: which class is the largest, and what the target holds
    ),
    "DistancePenalisedCELoss": Row(
        options=[{**MULTICLASS, "weight": [1.0, 2.0, 0.5]}, {"sigmoid": True, "include_background": False}],
        none=lambda case: "element" if case.options.get("sigmoid") else "voxel",
        neighbourhood=True,
        joined=lambda case: "weight" in case.options,
        saved=3.1,
    ),
    "BlobDiceLoss": Row(options=[{**MULTICLASS, "max_instances": 8, "empty": "whole"}], neighbourhood=True, saved=4.1),
    "CCDiceLoss": Row(
        options=[{"sigmoid": True, "spacing": 0.5, "alpha": 0.5, "max_instances": 8, "connectivity": 1}],
        neighbourhood=True,
        saved=4.1,
    ),
}
