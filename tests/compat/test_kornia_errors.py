"""Bad calls: what kornia raises on, the drop-ins raise on, with a type that is caught by the same built-in one."""

from __future__ import annotations

import builtins

import kornia.losses
import pytest
import torch

import medloss.compat.kornia as drop_ins
from medloss.compat.kornia import base

X = torch.rand(2, 3, 6, 7)
V = torch.rand(1, 2, 4, 5, 6)
LABELS = torch.randint(0, 3, (2, 6, 7))
BINARY = (torch.rand(2, 1, 6, 7), LABELS % 2)


def raised(function):
    try:
        function()
    except Exception as fault:
        return fault
    return None


def types(fault):
    """The built-in types, and the names of kornia's own, by which a fault is caught."""
    return {kind.__name__ for kind in type(fault).__mro__ if hasattr(builtins, kind.__name__) or "Error" in str(kind)}


def faulty(function):
    """Both raise, and whoever catches the peer's error by a built-in type, or by its name, catches ours."""
    theirs = raised(lambda: function(kornia.losses))
    assert theirs is not None, "the peer does not mind"
    ours = raised(lambda: function(drop_ins))
    assert ours is not None, f"{theirs!r} there, nothing here"
    assert types(theirs) <= types(ours), f"{theirs!r} there, {ours!r} here"
    assert len(str(ours)) > 10, "the message says nothing"


CALLS = {
    "ssim_loss": [
        ([[1]], X, 5), (X, None, 5), (X[0], X[0], 5), (X, X[:1], 5), (X, X, 5, 1), (X, X, 4), (X, X, 0),
        (X, X, 5, 1.0, 1e-12, "average"), (X, X, 5, 1.0, 1e-12, "mean", "zeros"), (X, X, 15), (X, V, 5),
    ],
    "ssim3d_loss": [
        ([[1]], V, 3), (V, None, 3), (V[0], V[0], 3), (V, V[:, :1], 3), (V, V, 3, 1), (V, V, 4),
        (V, V, 3, 1.0, 1e-12, "average"), (V, V, 3, 1.0, 1e-12, "mean", None), (V, V, 15), (X, X, 3),
    ],
    "psnr_loss": [(3.0, X, 1.0), (X, 3.0, 1.0), (X, X[0], 1.0)],
    "total_variation": [(3.0,), (X[0, 0, 0],), (X, "none"), (X, None)],
    "inverse_depth_smoothness_loss": [
        (3.0, X), (X, None), (X[0], X), (X, X[0]), (X[..., 1:], X), (X.double(), X), (X, X[:, :, 1:]),
    ],
    "charbonnier_loss": [(3.0, X), (X, 3.0), (X, X[0]), (X, X, "average")],
    "welsch_loss": [(3.0, X), (X, 3.0), (X, X[0]), (X, X, "average"), (X, X, None)],
    "cauchy_loss": [(3.0, X), (X, 3.0), (X, X[0]), (X, X, "average")],
    "geman_mcclure_loss": [(3.0, X), (X, 3.0), (X, X[0]), (X, X, "average")],
    "focal_loss": [
        (X[:, 0, 0, 0], LABELS, 0.5), (X, LABELS[:1], 0.5), (X, LABELS[..., 1:], 0.5), (X, LABELS.int(), 0.5),
        (X, LABELS + 1, 0.5), (X, LABELS - 5, 0.5, 2.0, "mean"), (X, LABELS, 0.5, 2.0, "average"),
        (X, LABELS, 0.5, 2.0, "mean", torch.ones(2)), (X, LABELS, 0.5, 2.0, "mean", torch.ones(1, 3)),
        (X, LABELS, 0.5, 2.0, "mean", [1.0, 1.0, 1.0]), (X, LABELS + 1, 0.5, 2.0, "sum"),
    ],
    "binary_focal_loss_with_logits": [
        (X[:, 0, 0, 0], X), (X, X[:1]), (X, LABELS), (X, X, 0.5, 2.0, "average"),
        (X, X, 0.5, 2.0, "mean", torch.ones(2)),
        (X, X, 0.5, 2.0, "mean", None, torch.ones(2)), (X, X, 0.5, 2.0, "mean", [1.0] * 3),
    ],
    "dice_loss": [
        (3.0, LABELS), (X[0], LABELS), (V, LABELS), (X, LABELS[..., 1:]), (X, LABELS[:1]), (X, LABELS, "average"),
        (X, LABELS.int()), (X, LABELS + 1), (X, LABELS, "macro", 1e-8, torch.ones(2)),
        (X, LABELS, "macro", 1e-8, [1.0] * 3), (X, LABELS.unsqueeze(1)),
    ],
    "tversky_loss": [
        (3.0, LABELS, 0.5, 0.5), (X[0], LABELS, 0.5, 0.5), (V, LABELS, 0.5, 0.5), (X, LABELS[..., 1:], 0.5, 0.5),
        (X, LABELS[:1], 0.5, 0.5), (X, LABELS.int(), 0.5, 0.5), (X, LABELS + 1, 0.5, 0.5),
    ],
    "lovasz_hinge_loss": [
        (X, LABELS), (BINARY[0][0], LABELS), (BINARY[0], LABELS[0]), (BINARY[0], LABELS[:1]),
        (BINARY[0], LABELS[..., 1:]),
    ],
    "lovasz_softmax_loss": [
        BINARY, (X[0], LABELS), (X, LABELS[0]), (X, LABELS[:1]), (X, LABELS[..., 1:]), (X, LABELS + 1),
        (X, LABELS, torch.ones(2)), (X, LABELS, [1.0] * 3),
    ],
    "js_div_loss_2d": [(X[0], X[0]), (X, X[:1]), (X, X, "average"), (V, V)],
    "kl_div_loss_2d": [(X[0], X[0]), (X, X[:1]), (X, X, "average"), (V, V)],
    "one_hot": [
        ([1], 3, None, torch.float32), (LABELS.int(), 3, None, torch.float32), (LABELS, 0, None, torch.float32),
        (LABELS, 3, None, torch.int64, 0.1), (LABELS, 2, None, torch.float32),
    ],
    "mutual_information_loss": [
        (X[0], X), (X, X, X > 0), (X, X, torch.ones(7)), (X, X, torch.zeros(7, dtype=torch.bool)), (X, X, [True]),
        (X, X, None, None, "xu"), (X, X, None, None, drop_ins.MIKernel.xu.value, 8),
    ],
    "normalized_mutual_information_loss_2d": [
        (X[0], X), (X, X, torch.ones(7) > 0), (X, X, None, torch.zeros(6, 7) > 0),
        (X, X, torch.eye(6, 7) > 0, torch.eye(6, 7) == 0),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "args"), [(name, args) for name, calls in CALLS.items() for args in calls])
def test_functions(name, args):
    faulty(lambda package: getattr(package, name)(*args))


MODULES = {
    "MS_SSIMLoss": [
        ((), (3.0, X)), ((), (X, None)), ((), (X[0], X)), ((), (X, X[0])), ((), (X, X[:, :1])),
        (((0.5,), 1.0, (0.01, 0.03), 0.1, 1.0, "average"), (X, X)), ((), (X, X[:1].expand(3, 3, 6, 7))),
    ],
    "HausdorffERLoss": [
        ((), (V, V[:, :1].long())), ((), (X, LABELS)), ((), (X, X[:, :1])), ((), (X, LABELS.unsqueeze(1).expand_as(X))),
        ((), (X, LABELS.unsqueeze(1) + 1)), ((), (X, LABELS.unsqueeze(1) - 5)), ((), (X, LABELS[:1].unsqueeze(1))),
        ((2.0, 10, "average"), (X, LABELS.unsqueeze(1))),
    ],
    "HausdorffERLoss3D": [
        ((), (X, LABELS.unsqueeze(1))), ((), (V, V[:, :1])), ((), (V, V.long())), ((), (V, V[:, :1].long() + 5)),
    ],
    "MILossFromRef": [
        ((X[0, 0],), (X[0],)), ((X, None, drop_ins.MIKernel.xu, 8), (X[0],)), ((X, torch.ones(3) > 0), (X,)),
    ],
    "NMILossFromRef3D": [((V,), (V[0],)), ((V, torch.ones(3) > 0), (V,))],
    "FocalLoss": [((), (X, LABELS))],
    "BinaryFocalLossWithLogits": [((), (X, X))],
    "SSIMLoss": [((), (X, X))],
    "TotalVariation": [((3,), (X,)), ((), (3.0,))],
}  # fmt: skip


@pytest.mark.parametrize(("name", "args", "tensors"), [(n, *call) for n, calls in MODULES.items() for call in calls])
def test_modules(name, args, tensors):
    def call(package):
        mine = [package.MIKernel[a.name] if isinstance(a, drop_ins.MIKernel) else a for a in args]
        getattr(package, name)(*mine)(*tensors)

    faulty(call)


@pytest.mark.parametrize("options", [(1,), (0,), (True,), (8.0,), (8, 0), (8, -1.0)])
def test_bins(options):
    faulty(lambda package: package.MILossFromRef(X, None, package.MIKernel.xu, *options))


def test_a_bad_check_is_a_value_error():
    """Which kornia's bare one is not."""
    assert issubclass(base.CheckError, ValueError)
    with pytest.raises(ValueError, match="choose 'micro' or 'macro'"):
        drop_ins.dice_loss(X, LABELS, "average")
