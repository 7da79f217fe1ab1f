"""Networks of MONAI by name, and the sliding window that applies them to whole volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, SegResNetDS, UNet

from medloss.apps.common.errors import UserError
from medloss.apps.segmentation.config import Inference, Network

LONGEST_AXIS = 4096  # voxels of a volume along an axis, after resampling
LARGEST_PATCH = 96  # voxels along an axis, when the configuration leaves the patch open


def build_network(config: Network, classes: int) -> torch.nn.Module:
    """A 3D network from one channel to ``classes`` logits (B, classes, i, j, k).

    With deep supervision it answers in training with a list of several resolutions, or with a stack of its outputs.
    """
    coarser = config.deep_supervision.outputs
    channels, dropout, norm = list(config.channels), config.dropout, (config.norm, {"affine": True})
    if config.name == "unet":
        strides = [2] * (len(channels) - 1)
        return UNet(3, 1, classes, channels, strides, num_res_units=1, norm=config.norm, dropout=dropout)
    if config.name == "basicunet":
        return BasicUNet(3, 1, classes, channels, norm=norm, dropout=dropout)
    if config.name == "dynunet":
        levels = len(channels)
        return DynUNet(
            3,
            1,
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
        return SegResNetDS(3, channels[0], 1, classes, norm=norm, blocks_down=down, blocks_up=up, dsdepth=coarser + 1)
    return SegResNet(
        3, channels[0], 1, classes, dropout_prob=dropout or None, norm=norm, blocks_down=down, blocks_up=up
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


def build_inferer(config: Inference, patch: Sequence[int]) -> SlidingWindowInferer:
    """Windows of ``patch`` voxels, blended by a Gaussian; volumes smaller than a window are padded."""
    return SlidingWindowInferer(patch, sw_batch_size=config.batch, overlap=config.overlap, mode="gaussian")


def mirrored_mean(
    inferer: SlidingWindowInferer, image: torch.Tensor, network: torch.nn.Module, axes: Sequence[int] = ()
) -> torch.Tensor:
    """Class probabilities (B, N, i, j, k), averaged over the copies mirrored along every subset of ``axes``."""
    total, copies = None, 2 ** len(axes)
    for subset in range(copies):
        dims = [2 + axis for bit, axis in enumerate(axes) if subset >> bit & 1]
        logits = torch.as_tensor(inferer(image.flip(dims) if dims else image, network)).float()
        part = torch.softmax(logits, 1).flip(dims) if dims else torch.softmax(logits, 1)
        total = part if total is None else total + part
    return total / copies
