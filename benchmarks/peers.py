"""Whom we run beside: each function makes what makes a loss, so that a missing package leaves a gap and no error.

The packages of ``peers.txt`` lie without their requirements in ``.peers`` (``make bench`` puts them there). Their own
``__init__`` is passed over where it would import those, as the losses need torch alone. ``medloss losses time`` runs
beside the installed peers; what makes their losses stands there.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from contestants import Maker
from torch import Tensor

from medloss.apps.losses.peers import kornia as kornia
from medloss.apps.losses.peers import kornia_lovasz as kornia_lovasz
from medloss.apps.losses.peers import monai as monai
from medloss.apps.losses.peers import torch_cross_entropy as torch_cross_entropy

FOLDER = Path(__file__).resolve().parent / ".peers"
sys.path.append(str(FOLDER))  # behind all else: what is installed comes first


def bare(package: str, module: str = "") -> types.ModuleType:
    """A module of a package in ``.peers``, without the package's ``__init__``."""
    if not (FOLDER / package).is_dir():
        raise ModuleNotFoundError(f"{package} is not in {FOLDER}: run make bench")
    if package not in sys.modules:
        shell = types.ModuleType(package)
        shell.__path__ = [str(FOLDER / package)]
        sys.modules[package] = shell
    return importlib.import_module(f"{package}.{module}")


def medloss(name: str, **kwargs: Any) -> Maker:
    """A loss of this package."""

    def make() -> Callable[..., Tensor]:
        import medloss

        return getattr(medloss, name)(**kwargs)

    return make


def smp(name: str, **kwargs: Any) -> Maker:
    """A loss of segmentation-models-pytorch, which takes images alone."""

    def make() -> Callable[..., Tensor]:
        loss = getattr(bare("segmentation_models_pytorch", "losses"), name)(mode="multiclass", **kwargs)
        return lambda x, y: loss(x.flatten(2).unsqueeze(-1), y[:, 0].flatten(1).unsqueeze(-1))

    return make


def nnunet_dice_ce() -> Callable[..., Tensor]:
    """nnU-Net's Dice and cross-entropy with its memory-efficient Dice, as its trainer makes them."""
    compound, dice = bare("nnunetv2", "training.loss.compound_losses"), bare("nnunetv2", "training.loss.dice")
    options = {"batch_dice": False, "smooth": 1e-5, "do_bg": True, "ddp": False}
    return compound.DC_and_CE_loss(options, {}, dice_class=dice.MemoryEfficientSoftDiceLoss)


def fireants(name: str, **kwargs: Any) -> Maker:
    """A loss of FireANTs in torch (its fused ones want a GPU)."""

    def make() -> Callable[..., Tensor]:
        return getattr(bare("fireants", "losses"), name)(**kwargs)

    return make


def fused_lncc(size: int) -> Maker:
    """The fused CUDA kernel of fused-lncc, for cubes of some size; its value is the loss of MONAI plus one."""

    def make() -> Callable[..., Tensor]:
        from fused_lncc import fused_lncc_loss

        return lambda x, y: fused_lncc_loss(x, y, kernel_size=size)

    return make


def msssim_package() -> Callable[..., Tensor]:
    """SSIM of pytorch-msssim."""
    loss = bare("pytorch_msssim", "ssim").SSIM
    return lambda x, y: 1 - loss(data_range=1.0, channel=1, spatial_dims=x.ndim - 2)(x, y)


def ms_ssim_package(size: int) -> Maker:
    """Multi-scale SSIM of pytorch-msssim, with windows of some size."""

    def make() -> Callable[..., Tensor]:
        loss = bare("pytorch_msssim", "ssim").MS_SSIM
        return lambda x, y: 1 - loss(data_range=1.0, channel=1, spatial_dims=x.ndim - 2, win_size=size)(x, y)

    return make


def compiled(function: Callable[..., Tensor]) -> Maker:
    """A straightforward loss of ``plain.py``, handed to ``torch.compile``."""
    return lambda: torch.compile(function, dynamic=False)


def plainly(function: Callable[..., Tensor]) -> Maker:
    """A straightforward loss of ``plain.py``, as it stands."""
    return lambda: function


def composed() -> Callable[..., Tensor]:
    """Our loss of a field that is followed by itself: resampling, and both of its gradients."""
    import medloss

    loss = medloss.InverseConsistencyLoss()
    return lambda u: loss(u, u)
