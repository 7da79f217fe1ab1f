"""Rows of the losses over erosion, dilation and skeletons."""

from row import Row

MULTICLASS = {"softmax": True, "to_onehot_y": True}
COMPOUND = "the terms of a compound have different shapes, so it has no `none`"
BARE = {"smooth_nr": 1e-5, "smooth_dr": 1e-5}  # the default of 1 is not small beside the sums of so few voxels
WEIGHT = [1.0, 2.0, 0.5]
NEIGHBOURS = "the loss compares probabilities of neighbours, which are equal in float32 where a class is certain"
RANKED = "the loss sorts errors, and errors that are equal in float32 may change places"
MAPS = 2.0
"""The prediction after the activation, and the target's memberships."""

ROWS = {
    "SoftclDiceLoss": Row(
        leaves={
            "empty slice": "a flat prediction has no soft skeleton",
            "false branch": "a flat prediction has no soft skeleton",
            "missed lesion": "a flat prediction has no soft skeleton",
            "false lesion": "a flat prediction has no soft skeleton",
        },
        options=[{**MULTICLASS, **BARE, "iter_": 1, "weight": WEIGHT}],
        none="sample",
        neighbourhood=True,
        saved=MAPS,
        without={"certain": NEIGHBOURS},
    ),
    "SoftDiceclDiceLoss": Row(
        leaves={
            "empty slice": "the centrelines ask for little there",
        },
        options=[{**BARE, "sigmoid": True, "iter_": 0, "alpha": 0.3}],
        none="",
        neighbourhood=True,
        saved=1 + MAPS,  # and the logits, for the Dice
        without={"reductions": COMPOUND, "none": COMPOUND, "samples": COMPOUND, "certain": NEIGHBOURS},
    ),
    "HausdorffERLoss": Row(
        leaves={
            "empty slice": "small errors survive no erosion",
            "false branch": "small errors survive no erosion",
            "missed lesion": "small errors survive no erosion",
            "false lesion": "small errors survive no erosion",
        },
        options=[{"sigmoid": True, "k": 3, "weight": WEIGHT}],
        neighbourhood=True,
        saved=1 + MAPS,  # and the logits: the slope of a sigmoid near 1 is not to be had from its result
        without={"certain": NEIGHBOURS},
    ),
    "BoundaryF1Loss": Row(
        leaves={
            "empty slice": "a class that the target lacks costs nothing",
            "missed lesion": "the inside costs nothing",
        },
        options=[{**MULTICLASS, "include_background": False, "theta": 3}],
        neighbourhood=True,
        saved=MAPS,
        without={"certain": NEIGHBOURS},
    ),
    "SkeletonRecallLoss": Row(
        leaves={
            "empty slice": "false positives cost nothing",
            "false branch": "false positives cost nothing",
            "false lesion": "false positives cost nothing",
        },
        options=[{**MULTICLASS, "iter_": 0, "radius": 1}],
        neighbourhood=True,
        saved=MAPS,
    ),
    "BoundaryDoULoss": Row(
        leaves={"empty slice": "a class that the target lacks costs 1, whatever is predicted"},
        options=[{**MULTICLASS, "weight": WEIGHT, "alpha_min": -1.0, "alpha_max": 0.5}],
        neighbourhood=True,
    ),
    "DuoLoss": Row(
        leaves={"empty slice": "a class that the target lacks costs nothing"},
        options=[{**MULTICLASS, "theta": 1}],
        none="",
        neighbourhood=True,
        saved=3 * MAPS,  # for Lovasz the sorted errors and their order too
        without={"reductions": COMPOUND, "none": COMPOUND, "samples": COMPOUND, "certain": RANKED},
    ),
}
