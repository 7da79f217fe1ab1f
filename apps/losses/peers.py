"""The same loss in other packages: each entry makes it, and raises ImportError where the package is not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Maker = Callable[[], Callable[..., Tensor]]
CLASSES = {"softmax": True, "to_onehot_y": True}


def monai(name: str, *args: Any, **kwargs: Any) -> Maker:
    """A loss of MONAI."""

    def make() -> Callable[..., Tensor]:
        import monai.losses

        loss: Callable[..., Tensor] = getattr(monai.losses, name)(*args, **kwargs)
        return loss

    return make


def kornia(name: str, *args: Any, **kwargs: Any) -> Maker:
    """A function of kornia.losses; index targets lose their channel."""

    def make() -> Callable[..., Tensor]:
        import kornia.losses

        function = getattr(kornia.losses, name)
        return lambda x, y: function(
            x, y[:, 0] if y.ndim == x.ndim and not y.is_floating_point() else y, *args, **kwargs
        )

    return make


def kornia_lovasz() -> Callable[..., Tensor]:
    """kornia's Lovász-Softmax, which takes images alone: volumes are handed over as images of one column."""
    import kornia.losses

    def loss(x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = kornia.losses.lovasz_softmax_loss(x.flatten(2).unsqueeze(-1), y[:, 0].flatten(1).unsqueeze(-1))
        return found

    return loss


def torch_cross_entropy() -> Callable[..., Tensor]:
    """torch's own."""
    return lambda x, y: torch.nn.functional.cross_entropy(x, y[:, 0])


def _distances() -> Tensor:
    """The distances between the classes of the phantom; see ``phantom.NEEDED``."""
    from medloss.apps.losses.phantom import NEEDED

    return torch.tensor(NEEDED["GeneralizedWassersteinDiceLoss"]["dist_matrix"])


PEERS: dict[str, dict[str, Maker]] = {
    **{name: {"monai": monai(name, **CLASSES)} for name in (
        "DiceLoss", "GeneralizedDiceLoss", "TverskyLoss", "DiceCELoss", "DiceFocalLoss", "GeneralizedDiceFocalLoss",
        "HausdorffDTLoss", "LogHausdorffDTLoss", "MCCLoss", "MaskedDiceLoss", "SoftclDiceLoss", "SoftDiceclDiceLoss",
    )},
    "JaccardLoss": {"monai": monai("DiceLoss", **CLASSES, jaccard=True)},
    "GeneralizedWassersteinDiceLoss": {"monai": monai("GeneralizedWassersteinDiceLoss", _distances())},
    "FocalLoss": {
        "monai": monai("FocalLoss", to_onehot_y=True, use_softmax=True),
        "kornia": kornia("focal_loss", alpha=None, reduction="mean"),
    },
    "CrossEntropyLoss": {"torch": torch_cross_entropy},
    "LovaszSoftmaxLoss": {"kornia": kornia_lovasz},
    "LocalNormalizedCrossCorrelationLoss": {"monai": monai("LocalNormalizedCrossCorrelationLoss", kernel_size=9)},
    "GlobalMutualInformationLoss": {"monai": monai("GlobalMutualInformationLoss")},
    "SSIMLoss": {"monai": monai("SSIMLoss", 3)},
    "BendingEnergyLoss": {"monai": monai("BendingEnergyLoss")},
    "DiffusionLoss": {"monai": monai("DiffusionLoss")},
    "L1Loss": {"torch": torch.nn.L1Loss},
    "MSELoss": {"torch": torch.nn.MSELoss},
    "HuberLoss": {"torch": torch.nn.HuberLoss},
    **{cls: {"kornia": kornia(name, reduction="mean")} for cls, name in (
        ("CharbonnierLoss", "charbonnier_loss"), ("WelschLoss", "welsch_loss"), ("CauchyLoss", "cauchy_loss"),
        ("GemanMcClureLoss", "geman_mcclure_loss"),
    )},
    "PSNRLoss": {"kornia": kornia("psnr_loss", max_val=1.0)},
}  # fmt: skip
"""What ``medloss losses time`` runs beside a loss, on the phantom's logits and index labels, images or fields."""
