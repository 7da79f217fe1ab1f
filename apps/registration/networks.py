"""Networks by name: from ``(B, 2, *spatial)``, moving and fixed image, to a field ``(B, 3, *spatial)`` in voxels;
any size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import BasicUNet, DynUNet, GlobalNet, LocalNet, RegUNet, SegResNet
from monai.networks.nets.voxelmorph import VoxelMorphUNet
from torch import Tensor, nn

from medloss.apps.common.errors import UserError
from medloss.apps.registration.network_config import Network
from medloss.apps.registration.pyramid import SMALLEST, resize, resize_field

SMALL = 1e-5
"""Standard deviation of the last weights where MONAI's class cannot begin with zeros: nearly no displacement."""


def _local(config: Network, size: Sequence[int] | None) -> nn.Module:
    options: dict[str, Any] = {
        "num_channel_initial": config.channels,
        "extract_levels": tuple(range(config.depth + 1)),
        "out_kernel_initializer": "zeros",
        "mode": "trilinear",
        "align_corners": False,
    }
    return LocalNet(spatial_dims=3, in_channels=2, out_channels=3, **options | config.options)


def _unet(config: Network, size: Sequence[int] | None) -> nn.Module:
    options: dict[str, Any] = {
        "num_channel_initial": config.channels,
        "depth": config.depth,
        "out_kernel_initializer": "zeros",
        "concat_skip": True,
    }
    return RegUNet(spatial_dims=3, in_channels=2, out_channels=3, **options | config.options)


def _global(config: Network, size: Sequence[int] | None) -> nn.Module:
    assert size is not None, "the configuration asks for data.size"
    options: dict[str, Any] = {"num_channel_initial": config.channels, "depth": config.depth}
    padded = padded_size(size, 2**config.depth)
    return GlobalNet(image_size=padded, spatial_dims=3, in_channels=2, **options | config.options)


def _voxelmorph(config: Network, size: Sequence[int] | None) -> nn.Module:
    """The UNet of MONAI's VoxelMorph: the class around it keeps the velocity to itself, and the field losses may
    ask for it.
    """
    options: dict[str, Any] = {
        "unet_out_channels": config.channels,
        "channels": [config.channels] * (2 * config.depth),
        "final_conv_channels": [config.channels] * 2,
    }
    return _from_little(VoxelMorphUNet(spatial_dims=3, in_channels=2, **options | config.options))


def _segresnet(config: Network, size: Sequence[int] | None) -> nn.Module:
    options: dict[str, Any] = {
        "init_filters": config.channels,
        "blocks_down": (1,) + (2,) * config.depth,
        "blocks_up": (1,) * config.depth,
        "norm": "instance",
    }
    return _from_little(SegResNet(spatial_dims=3, in_channels=2, out_channels=3, **options | config.options))


def _basicunet(config: Network, size: Sequence[int] | None) -> nn.Module:
    features = [config.channels * 2 ** min(level, 4) for level in range(5)]
    options: dict[str, Any] = {"features": [*features, config.channels]}
    return _from_little(BasicUNet(3, 2, 3, **options | config.options))


def _dynunet(config: Network, size: Sequence[int] | None) -> nn.Module:
    levels = config.depth + 1
    options: dict[str, Any] = {
        "kernel_size": [3] * levels,
        "strides": [1] + [2] * config.depth,
        "upsample_kernel_size": [2] * config.depth,
        "filters": [config.channels * 2**level for level in range(levels)],
        "res_block": True,
    }
    return _from_little(DynUNet(3, 2, 3, **options | config.options))


def _from_little(network: nn.Module) -> nn.Module:
    """The network with a last layer that gives nearly nothing."""
    last = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d)][-1]
    nn.init.normal_(last.weight, std=SMALL)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    return network


def _by_instance(network: nn.Module) -> nn.Module:
    """The network with an instance norm for each batch norm.

    One pair's statistics differ from the running ones, by which a batch norm predicts: the field of the trained network
    is then another one than that of the training.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm3d):
                setattr(module, name, nn.InstanceNorm3d(child.num_features, eps=child.eps, affine=True))
    return network


NETWORKS: dict[str, Callable[[Network, Sequence[int] | None], nn.Module]] = {
    "local": _local,
    "unet": _unet,
    "global": _global,
    "voxelmorph": _voxelmorph,
    "segresnet": _segresnet,
    "basicunet": _basicunet,
    "dynunet": _dynunet,
}
HALVINGS = {"basicunet": 4}
"""How often this one halves the resolution, whatever ``depth`` says."""


def padded_size(size: Sequence[int], multiple: int) -> list[int]:
    """The next multiples, of which at least two are left at the bottom."""
    return [max(2, -(-each // multiple)) * multiple for each in size]


def coarser_size(size: int, factor: int) -> int:
    """Voxels along an axis of which every ``factor``-th is kept, but not fewer than some."""
    return min(size, max(-(-size // factor), SMALLEST))


class AnySize(nn.Module):
    """Pads the input to a multiple of what the network needs, and crops its output."""

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network, self.multiple = network, multiple

    def forward(self, images: Tensor) -> Tensor:
        goal = padded_size(images.shape[2:], self.multiple)
        missing = [want - size for want, size in zip(goal, images.shape[2:])]
        before = [total // 2 for total in missing]
        widths = [width for low, total in zip(before[::-1], missing[::-1]) for width in (low, total - low)]
        field = self.network(F.pad(images, widths))
        inner = [slice(low, low + size) for low, size in zip(before, images.shape[2:])]
        return field[(..., *inner)]


class OnCoarserGrid(nn.Module):
    """The network sees images of fewer voxels, and its field is interpolated to the grid of the images.

    The field is as fine as the coarser grid; losses compare images and labels at full resolution all the same.
    """

    def __init__(self, network: nn.Module, factor: int) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, images: Tensor) -> Tensor:
        shape = images.shape[2:]
        coarse = [coarser_size(size, self.factor) for size in shape]
        return resize_field(self.network(resize(images, coarse)).float(), shape)


class NearestAffine(nn.Module):
    """The displacement of the affine map that is nearest, in the least squares, to the field of a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return nearest_affine(self.network(images).float())


def nearest_affine(field: Tensor) -> Tensor:
    """The projection of a field ``(B, d, *spatial)`` on those that are affine in the position, which keeps its shape.

    Coordinates counted from the centre of a grid are orthogonal to each other and to a constant: each has a slope of
    its own.
    """
    axes = tuple(range(2, field.ndim))
    found = field.mean(axes, keepdim=True).expand_as(field)
    for axis, size in zip(axes, field.shape[2:]):
        shape = [size if each == axis else 1 for each in range(field.ndim)]
        line = (torch.arange(size, dtype=field.dtype, device=field.device) - (size - 1) / 2).reshape(shape)
        slope = (field * line).mean(axes, keepdim=True) / line.square().mean().clamp(min=SMALL)
        found = found + slope * line
    return found


def build_network(config: Network, size: Sequence[int] | None = None, pairs: int = 1) -> nn.Module:
    """The network that the configuration names; it starts from (nearly) no displacement.

    Args:
        size: of the grid, for networks that are made for one.
        pairs: in a batch of the training.

    Raises:
        UserError: options that MONAI's class does not take.
    """
    if size is not None:
        size = [coarser_size(each, config.downsample) for each in size]
    try:
        made = NETWORKS[config.name](config, size)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"model {config.name} cannot be built so: {error}; see model.options, depth, channels"
        ) from error
    if config.norm == "instance" or (config.norm == "auto" and pairs == 1):
        made = _by_instance(made)
    network: nn.Module = AnySize(made, 2 ** HALVINGS.get(config.name, config.depth))
    if config.downsample > 1:
        network = OnCoarserGrid(network, config.downsample)
    return NearestAffine(network) if config.output == "affine" else network
