"""The namespace: every name of ``kornia.losses`` with its signature, and every call that kornia 0.7 documented."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import subprocess
import sys
from enum import Enum
from types import ModuleType

import kornia
import kornia.losses
import pytest
import torch

import medloss.compat.kornia as losses

NAMES = [name for name in kornia.losses.__all__ if name != "MIKernel"]
CLASSES = [name for name in NAMES if inspect.isclass(getattr(kornia.losses, name))]
FUNCTIONS = [name for name in NAMES if name not in CLASSES]
IMAGES = (torch.rand(2, 3, 6, 7), torch.rand(2, 3, 6, 7))
VOLUMES = (torch.rand(1, 2, 6, 7, 5), torch.rand(1, 2, 6, 7, 5))
DEPTH = (torch.rand(2, 1, 6, 7), torch.rand(2, 3, 6, 7))
LABELLED = (torch.randn(2, 3, 6, 7), torch.randint(0, 3, (2, 6, 7)))
MEMBERS = (torch.randn(2, 3, 6, 7), torch.randint(0, 2, (2, 3, 6, 7)))
BINARY = (torch.randn(2, 1, 6, 7), torch.randint(0, 2, (2, 6, 7)))
CHANNEL = (torch.rand(2, 3, 6, 7), torch.randint(0, 3, (2, 1, 6, 7)))
CHANNEL_3D = (torch.rand(2, 3, 6, 7, 4), torch.randint(0, 3, (2, 1, 6, 7, 4)))


def parameters(function):
    """Names, kinds, defaults and annotations; members of enumerations by name."""
    signature = inspect.signature(function)
    return signature.return_annotation, [
        p.replace(default=p.default.name) if isinstance(p.default, Enum) else p for p in signature.parameters.values()
    ]


def test_the_release():
    assert kornia.__version__ == "0.9.0", "the drop-ins are those of 0.9.0: look at what has changed"
    assert set(losses.__all__) == set(kornia.losses.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_of_functions(name):
    assert parameters(getattr(losses, name)) == parameters(getattr(kornia.losses, name))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("method", ["__init__", "forward"])
def test_signatures_of_classes(name, method):
    ours, theirs = (parameters(getattr(getattr(package, name), method)) for package in (losses, kornia.losses))
    assert ours == theirs


def test_the_windows_of_mutual_information():
    assert list(losses.MIKernel.__members__) == list(kornia.losses.MIKernel.__members__)


@pytest.mark.parametrize("name", [*CLASSES, *FUNCTIONS])
def test_drop_ins_are_our_own(name):
    mine = getattr(losses, name)
    assert mine.__module__.startswith("medloss.compat.kornia")
    assert mine.__name__ == getattr(kornia.losses, name).__name__
    assert mine.__doc__
    if name in CLASSES:
        assert issubclass(mine, torch.nn.Module) and mine.forward.__doc__


MODULES = [name for name in dir(kornia.losses) if isinstance(getattr(kornia.losses, name), ModuleType)]


@pytest.mark.parametrize("name", sorted({*MODULES, "one_hot"} - {"_utils"}))
def test_modules_have_the_names_of_the_peers(name):
    """``from kornia.losses.tversky import TverskyLoss`` has its counterpart."""
    ours, theirs = (importlib.import_module(f"{package}.{name}") for package in (losses.__name__, "kornia.losses"))
    for key, value in vars(theirs).items():
        if getattr(value, "__module__", None) == theirs.__name__ and not key.startswith("_"):
            assert getattr(ours, key).__name__ == key


def test_importing_does_not_import_kornia():
    code = (
        "import sys, torch, medloss, medloss.compat, medloss.compat.kornia as losses; "
        "losses.ssim_loss(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8), 5); dir(losses); "
        "print(sorted({'monai', 'kornia', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- the signatures of release 0.7, as its documentation prints them: the options after the tensors
SIMILARITY = {"window_size": 5, "max_val": 1.0, "eps": 1e-12, "reduction": "mean", "padding": "same"}
FOCAL = {"alpha": 0.5, "gamma": 2.0, "reduction": "none", "weight": None}
BINARY_FOCAL = {"alpha": 0.25, "gamma": 2.0, "reduction": "none", "pos_weight": None, "weight": None}
DICE = {"average": "micro", "eps": 1e-8}
TVERSKY = {"alpha": 0.5, "beta": 0.5, "eps": 1e-8}
ROBUST = {"reduction": "none"}
FUNCTIONS_0_7 = {
    "ssim_loss": (IMAGES, SIMILARITY),
    "ssim3d_loss": (VOLUMES, SIMILARITY),
    "psnr_loss": (IMAGES, {"max_val": 1.0}),
    "total_variation": (IMAGES[:1], {"reduction": "sum"}),
    "inverse_depth_smoothness_loss": (DEPTH, {}),
    "charbonnier_loss": (IMAGES, ROBUST),
    "welsch_loss": (IMAGES, ROBUST),
    "cauchy_loss": (IMAGES, ROBUST),
    "geman_mcclure_loss": (IMAGES, ROBUST),
    "binary_focal_loss_with_logits": (MEMBERS, BINARY_FOCAL),
    "focal_loss": (LABELLED, FOCAL),
    "dice_loss": (LABELLED, DICE),
    "tversky_loss": (LABELLED, TVERSKY),
    "lovasz_hinge_loss": (BINARY, {}),
    "lovasz_softmax_loss": (LABELLED, {}),
    "js_div_loss_2d": (IMAGES, {"reduction": "mean"}),
    "kl_div_loss_2d": (IMAGES, {"reduction": "mean"}),
}
CLASSES_0_7 = {
    "SSIMLoss": ("ssim_loss", IMAGES, SIMILARITY),
    "SSIM3DLoss": ("ssim3d_loss", VOLUMES, SIMILARITY),
    "MS_SSIMLoss": (
        None,
        IMAGES,
        {
            "sigmas": [0.5, 1.0, 2.0, 4.0, 8.0], "data_range": 1.0, "K": (0.01, 0.03), "alpha": 0.025,
            "compensation": 200.0, "reduction": "mean",
        },
    ),
    "TotalVariation": ("total_variation", IMAGES[:1], {}),
    "PSNRLoss": ("psnr_loss", IMAGES, {"max_val": 1.0}),
    "InverseDepthSmoothnessLoss": ("inverse_depth_smoothness_loss", DEPTH, {}),
    "CharbonnierLoss": ("charbonnier_loss", IMAGES, ROBUST),
    "WelschLoss": ("welsch_loss", IMAGES, ROBUST),
    "CauchyLoss": ("cauchy_loss", IMAGES, ROBUST),
    "GemanMcclureLoss": ("geman_mcclure_loss", IMAGES, ROBUST),
    "BinaryFocalLossWithLogits": ("binary_focal_loss_with_logits", MEMBERS, BINARY_FOCAL),
    "DiceLoss": ("dice_loss", LABELLED, DICE),
    "TverskyLoss": ("tversky_loss", LABELLED, TVERSKY),
    "FocalLoss": ("focal_loss", LABELLED, FOCAL),
    "LovaszHingeLoss": ("lovasz_hinge_loss", BINARY, {}),
    "LovaszSoftmaxLoss": ("lovasz_softmax_loss", LABELLED, {}),
    "HausdorffERLoss": (None, CHANNEL, {"alpha": 2.0, "k": 10, "reduction": "mean"}),
    "HausdorffERLoss3D": (None, CHANNEL_3D, {"alpha": 2.0, "k": 10, "reduction": "mean"}),
}  # fmt: skip


def test_table_of_release_0_7():
    assert len(FUNCTIONS_0_7) == 17
    assert len(CLASSES_0_7) == 18


@pytest.mark.parametrize("name", FUNCTIONS_0_7)
def test_a_function_of_release_0_7(name):
    """By position in its order and by keyword with all its names, and it gives what today's call gives."""
    tensors, options = FUNCTIONS_0_7[name]
    value = getattr(losses, name)(*tensors, *options.values())
    assert torch.isfinite(value).all()
    torch.testing.assert_close(getattr(losses, name)(*tensors, **options), value)
    torch.testing.assert_close(value, getattr(kornia.losses, name)(*tensors, **options), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", CLASSES_0_7)
def test_a_class_of_release_0_7(name):
    function, tensors, options = CLASSES_0_7[name]
    loss = getattr(losses, name)(*options.values())
    value = loss(*tensors)
    torch.testing.assert_close(getattr(losses, name)(**options)(*tensors), value)
    if function:
        torch.testing.assert_close(getattr(losses, function)(*tensors, **options), value)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(twin(*tensors), value)
        assert repr(twin) == repr(loss)


@pytest.mark.parametrize("name", CLASSES_0_7)
def test_attributes_and_state(name):
    """What the peer keeps by name is kept by that name, and its checkpoints load."""
    options = CLASSES_0_7[name][2]
    mine, theirs = (getattr(package, name)(**options) for package in (losses, kornia.losses))
    for key, value in vars(theirs).items():
        if not key.startswith("_") and key != "training":
            assert getattr(mine, key) == value, key
    assert repr(mine) == repr(theirs)
    mine.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(mine.state_dict())


def test_a_checkpoint_with_the_windows_of_earlier_releases():
    nested = torch.nn.Sequential(losses.MS_SSIMLoss())
    nested.load_state_dict({"0._g_masks": torch.zeros(15, 1, 33, 33)})


@pytest.mark.parametrize("name", ["SSIMLoss", "MS_SSIMLoss", "DiceLoss", "FocalLoss", "HausdorffERLoss", "PSNRLoss"])
def test_one_graph(name):
    """``torch.compile`` sees no break."""
    _, tensors, options = CLASSES_0_7[name]
    loss = getattr(losses, name)(**options)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*tensors), loss(*tensors))
