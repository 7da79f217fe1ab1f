"""Bad calls: what MONAI raises on, the drop-ins raise on, with the same type or one that is caught by it."""

from __future__ import annotations

import inspect
import warnings

import monai.losses
import pytest
import torch
from monai_pairs import segmentation

import medloss.compat.monai as drop_ins

DISTANCES = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.5], [1.0, 0.5, 0.0]])
MSE = torch.nn.MSELoss()
NAMES = [name for name in drop_ins.__all__ if name.endswith("Loss")]
PARAMETERS = {name: inspect.signature(getattr(monai.losses, name).__init__).parameters for name in NAMES}
NEEDED = {
    "GeneralizedWassersteinDiceLoss": (DISTANCES,), "NACLLoss": (3, 2), "SSIMLoss": (2,), "MultiScaleLoss": (MSE,),
    "MaskedLoss": (MSE,), "DeepSupervisionLoss": (MSE,),
}  # fmt: skip


def raised(name, first, options, tensors, package):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loss = getattr(package, name)(*first, **options)
            if tensors is not None:
                loss(*tensors)
        except Exception as fault:
            return fault
    return None


def faulty(name, first=(), options=None, tensors=None):
    """Both raise, and whoever catches the peer's error catches ours."""
    theirs = raised(name, first, options or {}, tensors, monai.losses)
    assert theirs is not None, "the peer does not mind"
    ours = raised(name, first, options or {}, tensors, drop_ins)
    assert isinstance(ours, type(theirs)), f"{theirs!r} there, {ours!r} here"
    assert len(str(ours)) > 10, "the message says nothing"


@pytest.mark.parametrize("name", [name for name in NAMES if "reduction" in PARAMETERS[name]])
@pytest.mark.parametrize("reduction", ["average", None, 3])
def test_reductions(name, reduction):
    faulty(name, NEEDED.get(name, ()), {"reduction": reduction})


ACTIVATED = [name for name in NAMES if "other_act" in PARAMETERS[name]]


@pytest.mark.parametrize("name", ACTIVATED)
@pytest.mark.parametrize(
    "options",
    [
        {"other_act": "relu"},
        {"sigmoid": True, "softmax": True},
        {"softmax": True, "other_act": torch.tanh},
        {"sigmoid": True, "other_act": torch.tanh},
    ],
)
def test_activations(name, options):
    faulty(name, (), options)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_and_missing_arguments(name):
    if name != "MaskedLoss":
        faulty(name, NEEDED.get(name, ()), {"no_such_option": 1})
    if name in NEEDED:
        faulty(name)


@pytest.mark.parametrize(
    "name, first, options",
    [
        ("GeneralizedDiceLoss", (), {"w_type": "cubic"}),
        ("GeneralizedDiceFocalLoss", (), {"w_type": "cubic"}),
        ("GeneralizedWassersteinDiceLoss", (DISTANCES[:2],), {}),
        ("GeneralizedWassersteinDiceLoss", (DISTANCES,), {"weighting_mode": "gdl"}),
        ("DiceCELoss", (), {"reduction": "none"}),
        *[("DiceCELoss", (), {name: -1.0}) for name in ("lambda_dice", "lambda_ce")],
        *[("DiceFocalLoss", (), {name: -1.0}) for name in ("lambda_dice", "lambda_focal")],
        *[("GeneralizedDiceFocalLoss", (), {name: -1.0}) for name in ("lambda_gdl", "lambda_focal")],
        ("LocalNormalizedCrossCorrelationLoss", (4,), {}),
        ("LocalNormalizedCrossCorrelationLoss", (2, 4), {}),
        ("LocalNormalizedCrossCorrelationLoss", (2, 3, "box"), {}),
        ("GlobalMutualInformationLoss", ("box",), {}),
        ("GlobalMutualInformationLoss", (), {"num_bins": 0}),
        ("MultiScaleLoss", (MSE,), {"kernel": "box"}),
        ("MaskedLoss", ("mse",), {}),
        ("NACLLoss", (3, 1), {}),
        ("NACLLoss", (3, 2), {"kernel_ops": "box"}),
        ("NACLLoss", (3, 2), {"distance_type": "l3"}),
        *[("SoftclDiceLoss", (), options) for options in ({"iter_": 1.5}, {"iter_": -1}, {"smooth": 0.0})],
        *[("SoftDiceclDiceLoss", (), options) for options in ({"iter_": 1.5}, {"alpha": 1.5}, {"smooth": -1.0})],
    ],
)
def test_options(name, first, options):
    faulty(name, first, options)


LOGITS, LABELS = segmentation(0, (5, 6), classes=3)
MEMBERS = segmentation(0, (5, 6), "one-hot", classes=3)[1]
OF_LABELS = [name for name in NAMES if "to_onehot_y" in PARAMETERS[name] and name != "AsymmetricUnifiedFocalLoss"]


@pytest.mark.parametrize("name", OF_LABELS)
@pytest.mark.parametrize(
    "options, target",
    [
        ({}, MEMBERS[..., :5]),
        ({}, MEMBERS[:1]),
        ({}, MEMBERS[:, :2]),
        ({}, LABELS),
        ({"to_onehot_y": True}, LABELS[..., :5]),
        ({"to_onehot_y": True}, LABELS + 1),
        ({"to_onehot_y": True}, LABELS - 1),
        ({"to_onehot_y": True}, MEMBERS[:, :2].long()),
    ],
)
def test_targets(name, options, target):
    mask = [torch.ones(1, 1, 5, 6)] if name == "MaskedDiceLoss" else []
    faulty(name, (), options, (LOGITS, target, *mask))


@pytest.mark.parametrize("name", [name for name in OF_LABELS if name != "BoundaryLoss"])
def test_labels_without_a_channel(name):
    faulty(name, (), {"to_onehot_y": True}, (LOGITS, LABELS[:, 0]))


@pytest.mark.parametrize(
    "name", ["HausdorffDTLoss", "LogHausdorffDTLoss", "BoundaryLoss", "AsymmetricUnifiedFocalLoss"]
)
def test_lines(name):
    faulty(name, (), {}, (LOGITS[..., 0], MEMBERS[..., 0]))


@pytest.mark.parametrize(
    "name", ["DiceLoss", "MaskedDiceLoss", "FocalLoss", "DiceFocalLoss", "GeneralizedDiceFocalLoss"]
)
@pytest.mark.parametrize("weight", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, -1.0], -1.0])
def test_weights(name, weight):
    mask = [torch.ones(1, 1, 5, 6)] if name == "MaskedDiceLoss" else []
    faulty(name, (), {"weight": weight}, (torch.sigmoid(LOGITS), MEMBERS, *mask))


@pytest.mark.parametrize(
    "name, first, options, tensors",
    [
        ("DiceCELoss", (), {"weight": torch.tensor([1.0, 2.0])}, (LOGITS, MEMBERS)),
        ("DiceCELoss", (), {"weight": torch.tensor([1.0, 2.0, -1.0])}, (LOGITS, MEMBERS)),
        ("DiceCELoss", (), {"weight": torch.tensor([1.0, 2.0, 3.0])}, (LOGITS[:, :1], MEMBERS[:, :1])),
        ("DiceCELoss", (), {"label_smoothing": 2.0, "softmax": True}, (LOGITS, MEMBERS)),
        ("FocalLoss", (), {"alpha": [0.1, 0.2]}, (LOGITS, MEMBERS)),
        ("FocalLoss", (), {"alpha": [0.1, 0.2], "use_softmax": True}, (LOGITS, MEMBERS)),
        ("FocalLoss", (), {"weight": [1.0]}, (LOGITS[:, :1], MEMBERS[:, :1])),
        ("FocalLoss", (), {"weight": [1.0, 2.0, 3.0], "include_background": False}, (LOGITS, MEMBERS)),
        ("DiceLoss", (), {"weight": [1.0, 2.0, 3.0], "include_background": False}, (LOGITS, MEMBERS)),
        ("AsymmetricUnifiedFocalLoss", (), {}, (LOGITS[:, :2], LABELS.clamp(max=1))),
        ("AsymmetricUnifiedFocalLoss", (), {}, (LOGITS[:, :1], LABELS)),
        ("AsymmetricUnifiedFocalLoss", (), {"to_onehot_y": True}, (LOGITS, LABELS.clamp(max=1))),
        ("AsymmetricUnifiedFocalLoss", (), {"to_onehot_y": True}, (LOGITS[:, :2], LABELS)),
        ("GeneralizedWassersteinDiceLoss", (DISTANCES,), {}, (LOGITS, LABELS + 1)),
        ("GeneralizedWassersteinDiceLoss", (DISTANCES[:2, :2],), {}, (LOGITS, LABELS.clamp(max=1))),
        ("NACLLoss", (3, 2), {}, (LOGITS, LABELS[:, 0] + 1)),
        ("NACLLoss", (3, 2), {}, (LOGITS, LABELS)),
        ("NACLLoss", (3, 3), {}, (LOGITS, LABELS[:, 0])),
        ("NACLLoss", (4, 2), {}, (LOGITS, LABELS[:, 0])),
        ("BendingEnergyLoss", (), {}, (torch.rand(1, 2, 5),)),
        ("BendingEnergyLoss", (), {}, (torch.rand(1, 2, 5, 2),)),
        ("BendingEnergyLoss", (), {}, (torch.rand(5, 5),)),
        ("BendingEnergyLoss", (), {}, (torch.rand(1, 4, 5, 5, 5, 5),)),
        ("DiffusionLoss", (), {}, (torch.rand(1, 3, 5, 5),)),
        ("DiffusionLoss", (), {}, (torch.rand(1, 2, 2, 5),)),
        ("LocalNormalizedCrossCorrelationLoss", (3,), {}, (LOGITS, MEMBERS)),
        ("LocalNormalizedCrossCorrelationLoss", (2,), {}, (LOGITS, MEMBERS[:, :1])),
        ("GlobalMutualInformationLoss", (), {}, (LOGITS, MEMBERS[:, :1])),
        ("SSIMLoss", (3,), {}, (LOGITS, MEMBERS)),
        ("SSIMLoss", (2,), {"win_size": 3}, (LOGITS, MEMBERS[:, :1])),
        ("SSIMLoss", (2,), {"win_size": 11}, (LOGITS, MEMBERS)),
        ("MaskedLoss", (MSE,), {}, (LOGITS, MEMBERS, torch.ones(3, 1, 5, 6))),
        ("MaskedLoss", (MSE,), {}, (LOGITS, MEMBERS, torch.ones(2, 3, 5, 6))),
        ("MaskedDiceLoss", (), {}, (LOGITS, MEMBERS, torch.ones(2, 3, 5, 6))),
        ("MultiScaleLoss", (MSE,), {"scales": [-1.0]}, (LOGITS, MEMBERS)),
        ("DeepSupervisionLoss", (MSE,), {}, (None, MEMBERS)),
    ],
)
def test_calls(name, first, options, tensors):
    faulty(name, first, options, tensors)
