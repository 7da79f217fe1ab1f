"""Rows of the similarities between two images that a registration maximises."""

from row import Row

BOXES = "the b-spline kernel counts the target in boxes, without a gradient; test_similarity.py covers the Gaussian"

ROWS = {
    "GlobalMutualInformationLoss": Row(
        options=[
            {"num_bins": 20},
            {"kernel_type": "b-spline", "num_bins": 16},
            {"kernel_type": "mattes", "num_bins": 16},
        ],
        none="sample",
        without={"target gradient": BOXES},
    ),
    "NormalizedMutualInformationLoss": Row(options=[{"num_bins": 12}], none="sample"),
    "CorrelationRatioLoss": Row(
        options=[{"num_bins": 12, "explained": "input"}],
        none="sample",
        without={
            "target gradient": "input and target have different roles; a test of the loss covers the target's gradient"
        },
    ),
    "NormalizedCrossCorrelationLoss": Row(options=[{}, {"signed": True}], none="region"),
    "MINDSSCLoss": Row(options=[{"radius": 1, "dilation": 1}], none="element", neighbourhood=True),
    "NormalizedGradientFieldLoss": Row(options=[{"eps": 0.05, "spacing": 0.5}], none="element", neighbourhood=True),
}
