"""Rows of the losses over the sums of regions, and of their compounds."""

from row import Row

MULTICLASS = {"softmax": True, "to_onehot_y": True}
COMPOUND = "the terms of a compound have different shapes, so it has no `none`"
NO_NONE = {"reductions": COMPOUND, "none": COMPOUND, "samples": COMPOUND}
CLASSES = {**MULTICLASS, "weight": [1.0, 2.0, 0.5]}
DISTANCES = [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]


ROWS = {
    "GeneralizedDiceLoss": Row(
        leaves={"empty slice": "a class that the target lacks costs nothing"},
        options=[{**CLASSES, "w_type": "simple", "soft_label": True}, {"sigmoid": True, "empty": "skip"}],
        none="sample",
    ),
    "PenaltyGeneralizedDiceLoss": Row(
        leaves={"empty slice": "a class that the target lacks costs nothing"}, none="sample"
    ),
    "GeneralizedWassersteinDiceLoss": Row(
        options=[{**CLASSES, "dist_matrix": DISTANCES, "weighting_mode": "GDL"}], none="sample"
    ),
    "JaccardLoss": Row(options=[{**MULTICLASS, "soft_label": True}]),
    "LogCoshDiceLoss": Row(),
    "MCCLoss": Row(leaves={"empty slice": "a class that the target lacks has no correlation"}),
    "FocalTverskyLoss": Row(options=[{**MULTICLASS, "soft_label": True}]),
    "AsymmetricSimilarityLoss": Row(),
    "UnifiedFocalLoss": Row(options=[CLASSES, {**CLASSES, "focal_over_classes": "sum"}]),
    "AsymmetricUnifiedFocalLoss": Row(options=[{"sigmoid": True}]),
    "NoiseRobustDiceLoss": Row(options=[MULTICLASS, {**MULTICLASS, "denominator": "squares"}]),
    "DSCPlusPlusLoss": Row(),
    "SensitivitySpecificityLoss": Row(options=[{"sigmoid": True}]),
    "DiceFocalLoss": Row(
        options=[{"sigmoid": True, "alpha": 0.25, "weight": [1.0, 2.0, 0.5]}], none="", without=NO_NONE
    ),
    "GeneralizedDiceFocalLoss": Row(none="", without=NO_NONE),
    "TverskyFocalLoss": Row(
        options=[{**MULTICLASS, "alpha": 0.3, "beta": 0.7, "focal_alpha": 0.25}], none="", without=NO_NONE
    ),
    "TverskyCELoss": Row(  # class weights weigh the mean of the cross-entropy
        options=[CLASSES], none="", joined=True, without=NO_NONE
    ),
    "ExpLogLoss": Row(options=[{**CLASSES, "smooth_nr": 1e-5, "smooth_dr": 1e-5}], none="", without=NO_NONE),
    "ComboLoss": Row(options=[{**MULTICLASS, "beta": 0.7}], none="", without=NO_NONE),
}
