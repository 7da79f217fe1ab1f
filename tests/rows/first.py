"""Rows of the losses that the two apps began with."""

from row import Row

MULTICLASS = {"softmax": True, "to_onehot_y": True}
COMPOUND = "the terms of a compound have different shapes, so it has no `none`"
WEIGHTED = "with class weights the mean is weighted, not that of none"

ROWS = {
    "DiceLoss": Row(
        options=[
            MULTICLASS,
            {**MULTICLASS, "include_background": False},
            {**MULTICLASS, "batch": True},
            {**MULTICLASS, "squared_pred": True, "weight": [1.0, 2.0, 0.5]},
            {**MULTICLASS, "jaccard": True, "soft_label": True},
            {**MULTICLASS, "empty": "skip"},
            {"sigmoid": True},
        ],
        joined=lambda case: bool(case.options.get("batch")),
    ),
    "MaskedDiceLoss": Row(),
    "DiceCELoss": Row(
        options=[
            MULTICLASS,
            {**MULTICLASS, "include_background": False, "weight": [1.0, 2.0, 0.5], "label_smoothing": 0.1},
            {"sigmoid": True, "batch": True},
        ],
        none="",
        joined=lambda case: "weight" in case.options or bool(case.options.get("batch")),
        without={"reductions": COMPOUND, "none": COMPOUND, "samples": COMPOUND},
    ),
    "CrossEntropyLoss": Row(
        options=[
            {"to_onehot_y": True},
            {"to_onehot_y": True, "weight": [1.0, 2.0, 0.5], "label_smoothing": 0.1},
            {"sigmoid": True, "include_background": False},
        ],
        none=lambda case: "element" if case.options.get("sigmoid") else "voxel",
        joined=lambda case: "weight" in case.options,
    ),
    "FocalLoss": Row(
        options=[
            {"to_onehot_y": True},
            {"to_onehot_y": True, "softmax": True, "alpha": 0.25, "weight": [1.0, 2.0, 0.5]},
            {"gamma": 0.5, "alpha": [0.2, 0.3, 0.5], "include_background": False},
        ],
        none="element",
    ),
    "TverskyLoss": Row(options=[{**MULTICLASS, "alpha": 0.3, "beta": 0.7}]),
    "LocalNormalizedCrossCorrelationLoss": Row(
        options=[
            {"kernel_size": 3, "border": "renormalise"},
            {"kernel_size": 5, "kernel_type": "gaussian"},
            {"kernel_size": 5, "kernel_type": "gaussian", "sigma": 0.9, "signed": True},
            {"kernel_size": 5, "kernel_type": "triangular"},
            {"kernel_size": 3, "signed": True},
        ],
        none="element",
        neighbourhood=True,
    ),
    "DiffusionLoss": Row(options=[{}, {"stencil": "forward", "spacing": 2.0}], none="interior", neighbourhood=True),
    "BendingEnergyLoss": Row(
        options=[{}, {"stencil": "wide"}, {"normalize": True}], none="interior", neighbourhood=True
    ),
    "MSELoss": Row(none="element"),
}
