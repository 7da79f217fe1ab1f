"""The namespace: every name of ``monai.losses`` with its signature, and every call that MONAI 0.6 documented."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import subprocess
import sys
from types import ModuleType

import monai
import monai.losses
import pytest
import torch
from torch.nn.modules.loss import _Loss

import medloss.compat.monai as losses
from medloss.compat.monai import HANDED_ON

PUBLIC = sorted(name for name in dir(monai.losses) if not name.startswith("_") and name != "annotations")
CLASSES = [name for name in PUBLIC if inspect.isclass(getattr(monai.losses, name))]
MODULES = [name for name in PUBLIC if isinstance(getattr(monai.losses, name), ModuleType)]
OURS = [name for name in CLASSES if name not in HANDED_ON]
DISTANCES = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.5], [1.0, 0.5, 0.0]])
NEEDED = {
    "GeneralizedWassersteinDiceLoss": (DISTANCES,),
    "generalized_wasserstein_dice": (DISTANCES,),
    "NACLLoss": (3, 2),
    "LocalNormalizedCrossCorrelationLoss": (2,),
    "SSIMLoss": (2, 1.0, "gaussian", 5),
    "MultiScaleLoss": (torch.nn.MSELoss(),),
    "MaskedLoss": (torch.nn.MSELoss(),),
    "DeepSupervisionLoss": (torch.nn.MSELoss(),),
}


def made(name):
    return getattr(losses, name)(*NEEDED.get(name, ()))


def test_the_release():
    assert monai.__version__ == "1.6.1", "the drop-ins are those of 1.6.1: look at what has changed"
    assert len(OURS) > 25


def test_every_name_is_there():
    assert set(PUBLIC) <= set(dir(losses))
    for name in PUBLIC:
        assert hasattr(losses, name), name


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("method", ["__init__", "forward"])
def test_signature(name, method):
    """Names, kinds, defaults and annotations."""
    ours, theirs = (getattr(getattr(package, name), method) for package in (losses, monai.losses))
    assert inspect.signature(ours) == inspect.signature(theirs)


@pytest.mark.parametrize("name", OURS)
def test_drop_ins_are_our_own_torch_losses(name):
    kind = getattr(losses, name)
    assert kind.__module__.startswith("medloss.compat.monai")
    assert issubclass(kind, _Loss)
    assert kind.__name__ == getattr(monai.losses, name).__name__
    assert kind.__doc__ and kind.forward.__doc__


@pytest.mark.parametrize("name", OURS)
def test_pickle_and_deepcopy(name):
    loss, tensors = made(name), example(name)
    expected = loss(*tensors)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(twin(*tensors), expected)
        assert repr(twin) == repr(loss)


@pytest.mark.parametrize("name", sorted(HANDED_ON))
def test_handed_on_unchanged(name):
    assert getattr(losses, name) is getattr(monai.losses, name)


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(HANDED_ON)))
def test_modules_have_the_names_of_the_peers(name):
    """``from monai.losses.tversky import TverskyLoss`` has its counterpart, and helpers are MONAI's."""
    ours, theirs = (importlib.import_module(f"{package}.{name}") for package in (losses.__name__, "monai.losses"))
    own = {key for key, value in vars(theirs).items() if getattr(value, "__module__", None) == theirs.__name__}
    for key in own:
        kind = getattr(theirs, key)
        assert getattr(ours, key) is (getattr(losses, kind.__name__) if kind.__name__ in OURS else kind)


def test_names_that_are_not_there():
    assert not hasattr(losses, "NoSuchLoss")
    assert not hasattr(losses.deform, "no_such_function")
    assert losses.deform.spatial_gradient is monai.losses.deform.spatial_gradient


def test_importing_does_not_import_monai():
    code = (
        "import sys, medloss, medloss.compat, medloss.compat.monai as losses; dir(losses); losses.DiceLoss(); "
        "losses.deform; print(sorted({'monai', 'kornia', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_monai(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.losses", None)
    with pytest.raises(ImportError, match="handed on from monai"):
        _ = losses.BarlowTwinsLoss
    monkeypatch.setitem(sys.modules, "monai.losses.tversky", None)
    assert not hasattr(losses.tversky, "one_hot")


# ---- the signatures of release 0.6, as its documentation prints them
DICE = {
    "include_background": True, "to_onehot_y": False, "sigmoid": False, "softmax": False, "other_act": None,
    "squared_pred": False, "jaccard": False, "reduction": "mean", "smooth_nr": 1e-5, "smooth_dr": 1e-5, "batch": False,
}  # fmt: skip
OVERLAP = {name: value for name, value in DICE.items() if name not in ("squared_pred", "jaccard")}
ENDING = ("reduction", "smooth_nr", "smooth_dr", "batch")
BEGINNING = {name: value for name, value in OVERLAP.items() if name not in ENDING}
LAST = {name: OVERLAP[name] for name in ENDING}
WASSERSTEIN = {
    "dist_matrix": DISTANCES, "weighting_mode": "default", "reduction": "mean", "smooth_nr": 1e-5, "smooth_dr": 1e-5
}  # fmt: skip
RELEASE_0_6 = {
    "DiceLoss": DICE,
    "Dice": DICE,
    "dice": DICE,
    "MaskedDiceLoss": DICE,
    "GeneralizedDiceLoss": {**BEGINNING, "w_type": "square", **LAST},
    "generalized_dice": {**BEGINNING, "w_type": "square", **LAST},
    "GeneralizedWassersteinDiceLoss": WASSERSTEIN,
    "generalized_wasserstein_dice": WASSERSTEIN,
    "DiceCELoss": {**DICE, "ce_weight": None, "lambda_dice": 1.0, "lambda_ce": 1.0},
    "DiceFocalLoss": {**DICE, "gamma": 2.0, "focal_weight": None, "lambda_dice": 1.0, "lambda_focal": 1.0},
    "FocalLoss": {
        "include_background": True, "to_onehot_y": False, "gamma": 2.0, "weight": None, "reduction": "mean"
    },
    "TverskyLoss": {**BEGINNING, "alpha": 0.5, "beta": 0.5, **LAST},
    "BendingEnergyLoss": {"reduction": "mean"},
    "LocalNormalizedCrossCorrelationLoss": {
        "ndim": 2, "kernel_size": 3, "kernel_type": "rectangular", "reduction": "mean", "smooth_nr": 1e-5,
        "smooth_dr": 1e-5,
    },
    "GlobalMutualInformationLoss": {
        "num_bins": 23, "sigma_ratio": 0.5, "reduction": "mean", "smooth_nr": 1e-7, "smooth_dr": 1e-7
    },
    "MultiScaleLoss": {"loss": torch.nn.MSELoss(), "scales": [0, 1], "kernel": "gaussian", "reduction": "mean"},
    "MaskedLoss": {"loss": torch.nn.MSELoss()},
}  # fmt: skip
"""Names, order and defaults; ``ndim`` is 2 for the planes below, and the wrappers have something to wrap."""


def example(name):
    """Tensors for one call."""
    torch.manual_seed(0)
    if name in ("BendingEnergyLoss", "DiffusionLoss"):
        return (torch.randn(2, 2, 6, 7),)
    if name in ("GeneralizedWassersteinDiceLoss", "generalized_wasserstein_dice", "NACLLoss"):
        return torch.randn(2, 3, 6, 7), torch.randint(0, 3, (2, 6, 7))
    input, target = torch.rand(2, 2, 6, 7), torch.randint(0, 2, (2, 1, 6, 7))
    target = torch.cat([1 - target, target], 1).float()
    return (input, target, torch.ones(2, 1, 6, 7)) if name.startswith("Masked") else (input, target)


@pytest.mark.parametrize("name", RELEASE_0_6)
def test_a_call_of_release_0_6(name):
    """By keyword with all its names, and by position in its order, it gives what today's call gives."""
    kind, options, tensors = getattr(losses, name), RELEASE_0_6[name], example(name)
    renamed = {"ndim": "spatial_dims", "ce_weight": "weight", "focal_weight": "weight"}
    today = kind(**{renamed.get(option, option): value for option, value in options.items()})(*tensors)
    assert torch.isfinite(today)
    torch.testing.assert_close(kind(**options)(*tensors), today)
    torch.testing.assert_close(kind(*options.values())(*tensors), today)


@pytest.mark.parametrize(
    "name, old, new, value",
    [
        ("LocalNormalizedCrossCorrelationLoss", "ndim", "spatial_dims", 2),
        ("DiceCELoss", "ce_weight", "weight", torch.tensor([1.0, 3.0])),
        ("DiceFocalLoss", "focal_weight", "weight", [1.0, 3.0]),
    ],
)
def test_earlier_names_exclude_todays(name, old, new, value):
    kind = getattr(losses, name)
    kind(**{old: value})
    with pytest.raises(TypeError, match=f"{old} is an earlier name of {new}"):
        kind(**{old: value, new: value})
    with pytest.raises(TypeError):
        kind(no_such_option=value)


def test_aliases():
    assert losses.Dice is losses.DiceLoss
    assert losses.dice is losses.DiceLoss
    assert losses.dice_ce is losses.DiceCELoss
    assert losses.dice_focal is losses.DiceFocalLoss
    assert losses.generalized_dice is losses.GeneralizedDiceLoss
    assert losses.generalized_dice_focal is losses.GeneralizedDiceFocalLoss
    assert losses.generalized_wasserstein_dice is losses.GeneralizedWassersteinDiceLoss


def test_options_may_be_members_of_enumerations():
    from monai.utils import LossReduction, Weight

    assert losses.DiceLoss(reduction=LossReduction.SUM).reduction == "sum"
    assert losses.GeneralizedDiceLoss(w_type=Weight.SIMPLE).w_type == "simple"


def test_attributes_are_live():
    """Weights of terms are annealed, and reductions changed, by setting attributes."""
    input, target = example("DiceCELoss")
    for package in (losses, monai.losses):
        loss = package.DiceCELoss(softmax=True)
        both = loss(input, target)
        loss.lambda_dice, loss.lambda_ce = 0.0, 2.0
        torch.testing.assert_close(loss(input, target), 2 * (both - package.DiceLoss(softmax=True)(input, target)))
        dice = package.DiceLoss()
        dice.reduction = "none"
        assert dice(input, target).shape == (2, 2, 1, 1)


@pytest.mark.filterwarnings("ignore")
def test_compiles_with_graph_breaks():
    """As far as the peers do: they read label values too."""
    input, target = example("DiceCELoss")
    loss = losses.DiceCELoss(softmax=True)
    torch.testing.assert_close(torch.compile(loss, backend="eager")(input, target), loss(input, target))


@pytest.mark.parametrize("name", OURS)
def test_nothing_is_changed(name):
    """Neither the tensors nor the loss."""
    loss, tensors = made(name), example(name)
    before, state = [tensor.clone() for tensor in tensors], {**vars(loss)}
    loss(*tensors)
    assert all(torch.equal(tensor, old) for tensor, old in zip(tensors, before))
    assert vars(loss) == state


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda **more: losses.DiceCELoss(softmax=True, **more), "reduction", "sum"),
        (lambda **more: losses.DiceFocalLoss(softmax=True, **more), "reduction", "sum"),
        (lambda **more: losses.GeneralizedDiceFocalLoss(softmax=True, **more), "reduction", "sum"),
        (lambda **more: losses.SoftDiceclDiceLoss(softmax=True, **more), "reduction", "sum"),
        (lambda **more: losses.SoftclDiceLoss(softmax=True, **more), "iter_", 1),
        (lambda **more: losses.FocalLoss(**more), "weight", [1.0, 2.0, 4.0]),
    ],
)
def test_an_argument_that_is_set_later_counts(make, name: str, value: object) -> None:
    """Where the peer keeps it in a child, or under another name, and looks away from the attribute."""
    logits, target = torch.randn(2, 3, 8, 8), torch.rand(2, 3, 8, 8).round()
    loss, expected = make(), make(**{name: value})(logits, target)
    assert not torch.equal(loss(logits, target), expected)
    setattr(loss, name, value)
    assert torch.equal(loss(logits, target), expected)
