"""Networks of MONAI by name, and the sliding window that applies them to whole volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, SegResNetDS, SwinUNETR, UNet

from medloss.apps.common.errors import UserError
from medloss.apps.segmentation.config import Inference, Network
from medloss.apps.segmentation.grid import LONGEST_AXIS
from medloss.apps.segmentation.inference import Windows, scorer
from medloss.apps.segmentation.instance_norm import with_fast_norms

LARGEST_PATCH = 96  # voxels along an axis, when the configuration leaves the patch open


def build_network(config: Network, classes: int, inputs: int = 1) -> torch.nn.Module:
    """A 3D network from ``inputs`` channels to ``classes`` logits (B, classes, i, j, k).

    With deep supervision it answers in training with a list of outputs, the finest first.
    """
    return with_fast_norms(_built(config, classes, inputs))


def _built(config: Network, classes: int, inputs: int) -> torch.nn.Module:
    coarser = config.deep_supervision.outputs
    channels, dropout, norm = list(config.channels), config.dropout, (config.norm, {"affine": True})
    if config.name == "unet":
        halved = [2] * (len(channels) - 1)
        return UNet(3, inputs, classes, channels, halved, num_res_units=1, norm=config.norm, dropout=dropout)
    if config.name == "basicunet":
        return BasicUNet(3, inputs, classes, channels, norm=norm, dropout=dropout)
    if config.name == "dynunet":
        return _dynunet(config, classes, inputs)
    if config.name == "swinunetr":
        return SwinUNETR(inputs, classes, feature_size=channels[0], drop_rate=dropout, norm_name=norm)
    down, up = (1, 2, 2, 4, 4, 4)[: len(channels)], (1,) * (len(channels) - 1)
    if coarser:
        return SegResNetDS(
            3, channels[0], inputs, classes, norm=norm, blocks_down=down, blocks_up=up, dsdepth=coarser + 1
        )
    return SegResNet(
        3, channels[0], inputs, classes, dropout_prob=dropout or None, norm=norm, blocks_down=down, blocks_up=up
    )


class CoarseDynUNet(DynUNet):
    """MONAI's DynUNet that answers in training with each output at its own resolution, the finest first.

    MONAI's repeats the coarser ones to full size: more work, and no coarser target.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Logits of an image (B, C, i, j, k), and in training those of the coarser levels."""
        logits = self.output_block(self.skip_layers(x))
        return [logits, *self.heads] if self.training and self.deep_supervision else logits


def _dynunet(config: Network, classes: int, inputs: int) -> CoarseDynUNet:
    steps = strides(config)
    coarser = config.deep_supervision.outputs
    return CoarseDynUNet(
        3,
        inputs,
        classes,
        kernel_size=[3] * len(config.channels),
        strides=[(1, 1, 1), *steps],
        upsample_kernel_size=steps,
        filters=list(config.channels),
        norm_name=(config.norm, {"affine": True}),
        dropout=config.dropout or None,
        res_block=config.residual,
        deep_supervision=coarser > 0,
        deep_supr_num=max(coarser, 1),
    )


def strides(config: Network) -> list[tuple[int, int, int]]:
    """By how much each level is smaller than the one above it, axis by axis."""
    if config.strides is not None:
        return list(config.strides)
    levels = {"basicunet": 4, "swinunetr": 5}.get(config.name, len(config.channels) - 1)
    return [(2, 2, 2)] * levels


def units(config: Network) -> tuple[int, int, int]:
    """What the size of a patch must be a multiple of, axis by axis: the product of the strides."""
    i, j, k = (math.prod(each[axis] for each in strides(config)) for axis in range(3))
    return i, j, k


def choose_patch(
    patch: Sequence[int] | None,
    config: Network,
    shapes: Sequence[Sequence[int]],
    spacings: Sequence[Sequence[float]],
    spacing: Sequence[float] | None,
) -> tuple[int, int, int]:
    """The patch given, checked against the network, or the median shape (after resampling) rounded up, at most 96."""
    unit = units(config)
    if patch is not None:
        return _checked(patch, config, unit)
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
        most = LARGEST_PATCH // unit[axis] * unit[axis]
        sizes.append(max(unit[axis], min(math.ceil(median / unit[axis]) * unit[axis], most)))
    i, j, k = (2 * each for each in unit) if tuple(sizes) == unit else sizes
    return i, j, k


def _checked(patch: Sequence[int], config: Network, unit: Sequence[int]) -> tuple[int, int, int]:
    """The patch that was given, where the network can take it."""
    told = f"{config.name} with {len(config.channels)} channels"
    if any(size % each for size, each in zip(patch, unit, strict=True)):
        nearest = [max(each, round(size / each) * each) for size, each in zip(patch, unit, strict=True)]
        of = f"{unit[0]}" if len(set(unit)) == 1 else f"{list(unit)}"
        raise UserError(
            f"data.patch {list(patch)}: each axis must be a multiple of {of} for {told}; nearest is {nearest}"
        )
    if config.norm == "instance" and tuple(patch) == tuple(unit):
        raise UserError(
            f"data.patch {list(patch)} leaves one voxel at the deepest level of {told}, where instance norm has "
            f"nothing to compare: take {[2 * each for each in unit]} or more, fewer channels, or model.norm=batch"
        )
    i, j, k = patch
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
