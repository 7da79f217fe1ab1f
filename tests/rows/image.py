"""Rows of the losses between images."""

from row import ONE_IMAGE, Row

UNLIKE = "input and target have different roles; a test of the loss covers the target's gradient"

ROWS = {
    "L1Loss": Row(none="element"),
    "HuberLoss": Row(options=[{"delta": 0.3}], none="element"),
    "RobustLoss": Row(options=[{"alpha": 1.3, "scale": 0.2}], none="element"),
    "CharbonnierLoss": Row(options=[{"scale": 0.1}], none="element"),
    "CauchyLoss": Row(none="element"),
    "GemanMcClureLoss": Row(none="element"),
    "WelschLoss": Row(none="element"),
    "SSIMLoss": Row(
        options=[
            {"window_size": 3},
            {"window_size": 5, "border": "reflect", "convention": "half"},
            {"window_size": 3, "border": "zero"},
        ],
        none=lambda case: "element" if "border" in case.options else "interior",
        neighbourhood=True,
        without={"one voxel": "this padding needs more voxels, and the error says so"},
    ),
    "MultiScaleSSIMLoss": Row(
        options=[{"window_size": 3, "border": "renormalise", "scale_weights": (0.4, 0.6)}],
        none="region",
        neighbourhood=True,
        saved=2.4,
        without={
            "one voxel": "one voxel cannot be halved, and the error says so",
            "window mask": "pairs of voxels begin at the volume's corner, not the box's; a test covers a box of pairs",
        },
    ),
    "MSSSIML1Loss": Row(options=[{"sigmas": (0.5, 1.0), "alpha": 0.5}], none="voxel", neighbourhood=True),
    "PSNRLoss": Row(none="sample"),
    "TotalVariationLoss": Row(
        options=[{}, {"isotropic": True}],
        none="region",
        neighbourhood=True,
        without={"target gradient": ONE_IMAGE},
    ),
    "GradientDifferenceLoss": Row(options=[{"alpha": 2.0}], none="region", neighbourhood=True),
    "InverseDepthSmoothnessLoss": Row(
        options=[{"sharpness": 3.0}],
        none="region",
        neighbourhood=True,
        without={
            "target gradient": UNLIKE,
            "errors": "map and image may have different channels; a test of the loss covers its errors",
        },
    ),
    "FocalFrequencyLoss": Row(
        none="region",
        neighbourhood=True,
        saved=2.9,
        without={
            "window mask": "the spectrum is that of the whole grid, with a difference of zero at masked voxels",
            "gradient": "the weights of the spectrum are constants in the gradient, as in the paper",
            "second derivative": "the weights of the spectrum are constants in the gradient, as in the paper",
        },
    ),
    "SpectralAmplitudeLoss": Row(
        none="region",
        neighbourhood=True,
        saved=3.6,  # the half spectrum, its powers and amplitudes
        without={
            "window mask": "the spectrum is that of the whole grid, with masked voxels set to zero in both images"
        },
    ),
    "HeatmapKLDivLoss": Row(
        options=[{}, {"direction": "of_input"}], none="region", without={"target gradient": UNLIKE}
    ),
    "HeatmapJSDivLoss": Row(none="region"),
}
