"""The configuration of a registration network."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from medloss.apps.common.config import Model


class Network(Model):
    """A network of MONAI by name, and what it predicts: a displacement (``ddf``), a velocity (``dvf``) or an affine
    transform (``affine``)."""

    name: Literal["unet", "local", "global", "voxelmorph", "segresnet", "basicunet", "dynunet"] = "unet"
    """unet: MONAI's RegUNet; local: DeepReg's LocalNet, whose 7 x 7 x 7 convolutions are slow on a CPU; global: its
    GlobalNet, which predicts an affine map and needs data.size.
    """
    output: Literal["ddf", "dvf", "affine"] = "ddf"
    """``affine``: the affine transform nearest to the field of the network, also written as ``affine.tfm``."""
    channels: int = pydantic.Field(8, ge=1, le=4096)
    """Channels at full resolution; each coarser level has twice as many (``voxelmorph``: the same number)."""
    depth: int = pydantic.Field(3, ge=1, le=6)
    """How many times the resolution is halved."""
    downsample: int = pydantic.Field(1, ge=1, le=8)
    """2: the network sees half of the voxels along each axis, and its field is interpolated. A step of ``unet`` takes
    about a sixth of the time; the field cannot follow details of one voxel.
    """
    norm: Literal["auto", "instance", "class"] = "auto"
    """``instance`` replaces each batch norm by an instance norm; ``auto`` does so if a batch is one pair, since the
    statistics of one pair do not fit other pairs; ``class`` leaves MONAI's class as it is.
    """
    options: dict[str, Any] = {}
    """Further arguments of MONAI's class."""
    integration_steps: int = pydantic.Field(6, ge=1, le=12)
    """Number of squaring steps that integrate a velocity field: 6 correspond to 64 Euler steps."""
