"""Networks of MONAI by name, and the sliding window that applies them to whole volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, SegResNetDS, UNet

from medloss.apps.common.errors import UserError
from medloss.apps.segmentation.config import Inference, Network
from medloss.apps.segmentation.grid import LONGEST_AXIS
from medloss.apps.segmentation.inference import Windows, scorer

LARGEST_PATCH = 96  # voxels along an axis, when the configuration leaves the patch open


def build_network(config: Network, classes: int, inputs: int = 1) -> torch.nn.Module:
    """A 3D network from ``inputs`` channels to ``classes`` logits (B, classes, i, j, k).

    With deep supervision it answers in training with a list of several resolutions, or with a stack of its outputs.
    """
    coarser = config.deep_supervision.outputs
    channels, dropout, norm = list(config.channels), config.dropout, (config.norm, {"affine": True})
    if config.name == "unet":
        strides = [2] * (len(channels) - 1)
        return UNet(3, inputs, classes, channels, strides, num_res_units=1, norm=config.norm, dropout=dropout)
    if config.name == "basicunet":
        return BasicUNet(3, inputs, classes, channels, norm=norm, dropout=dropout)
    if config.name == "dynunet":
        levels = len(channels)
        return DynUNet(
            3,
            inputs,
            classes,
            kernel_size=[3] * levels,
            strides=[1] + [2] * (levels - 1),
            upsample_kernel_size=[2] * (levels - 1),
            filters=channels,
            norm_name=norm,
            dropout=dropout or None,
            res_block=True,
            deep_supervision=coarser > 0,
            deep_supr_num=max(coarser, 1),
        )
    down, up = (1, 2, 2, 4, 4, 4)[: len(channels)], (1,) * (len(channels) - 1)
    if coarser:
        return SegResNetDS(
            3, channels[0], inputs, classes, norm=norm, blocks_down=down, blocks_up=up, dsdepth=coarser + 1
        )
    return SegResNet(
        3, channels[0], inputs, classes, dropout_prob=dropout or None, norm=norm, blocks_down=down, blocks_up=up
    )


def stride(config: Network) -> int:
    """The factor that every axis of a patch must be a multiple of: 2 per level below the first."""
    return 2 ** (4 if config.name == "basicunet" else len(config.channels) - 1)


def choose_patch(
    patch: Sequence[int] | None,
    config: Network,
    shapes: Sequence[Sequence[int]],
    spacings: Sequence[Sequence[float]],
    spacing: Sequence[float] | None,
) -> tuple[int, int, int]:
    """The patch given, checked against the network, or the median shape (after resampling) rounded up, at most 96."""
    unit = stride(config)
    if patch is not None:
        if any(size % unit for size in patch):
            nearest = [max(unit, round(size / unit) * unit) for size in patch]
            raise UserError(
                f"data.patch {list(patch)}: each axis must be a multiple of {unit} for {config.name} with "
                f"{len(config.channels)} channels; nearest is {nearest}"
            )
        if config.norm == "instance" and all(size == unit for size in patch):
            raise UserError(
                f"data.patch {list(patch)} leaves one voxel at the deepest level of {config.name} with "
                f"{len(config.channels)} channels, where instance norm has nothing to compare: take "
                f"{[2 * unit] * 3} or more, fewer channels, or model.norm=batch"
            )
        i, j, k = patch
        return i, j, k
    sizes = []
    for axis in range(3):
        scale = [old[axis] / spacing[axis] if spacing else 1.0 for old in spacings]
        lengths = sorted(shape[axis] * factor for shape, factor in zip(shapes, scale, strict=True))
        median = lengths[len(lengths) // 2]
        if median > LONGEST_AXIS:
            raise UserError(
                f"data.spacing {list(spacing or ())} makes {median:.3g} voxels of an axis, at most {LONGEST_AXIS} are "
                "possible: is it in mm?"
            )
        sizes.append(max(unit, min(math.ceil(median / unit) * unit, LARGEST_PATCH // unit * unit)))
    i, j, k = (2 * unit if max(sizes) == unit else size for size in sizes)
    return i, j, k


def build_windows(
    config: Inference,
    patch: Sequence[int],
    networks: Sequence[torch.nn.Module],
    device: torch.device,
    mirror: Sequence[int] = (),
) -> Windows:
    """Windows of ``patch`` voxels through one network or several, and their mirrored copies along ``mirror``."""
    i, j, k = patch
    return Windows(scorer(networks, mirror), (i, j, k), config.overlap, config.batch, device)
