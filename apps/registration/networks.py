"""Networks by name: from ``(B, 2, *spatial)``, moving and fixed image, to a field ``(B, 3, *spatial)`` in voxels;
any size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from monai.networks.nets import LocalNet, RegUNet
from monai.networks.nets.voxelmorph import VoxelMorphUNet
from torch import Tensor, nn

from medloss.apps.registration.config import Network


def _local(config: Network) -> nn.Module:
    return LocalNet(
        spatial_dims=3,
        in_channels=2,
        out_channels=3,
        num_channel_initial=config.channels,
        extract_levels=tuple(range(config.depth + 1)),  # type: ignore[arg-type]  # MONAI says tuple[int], means any
        out_kernel_initializer="zeros",
        mode="trilinear",
        align_corners=False,
    )


def _unet(config: Network) -> nn.Module:
    return RegUNet(
        spatial_dims=3,
        in_channels=2,
        out_channels=3,
        num_channel_initial=config.channels,
        depth=config.depth,
        out_kernel_initializer="zeros",
        concat_skip=True,
    )


def _voxelmorph(config: Network) -> nn.Module:
    """The UNet of MONAI's VoxelMorph: the class around it keeps the velocity to itself, and the field losses may
    ask for it.
    """
    network = VoxelMorphUNet(
        spatial_dims=3,
        in_channels=2,
        unet_out_channels=config.channels,
        channels=[config.channels] * (2 * config.depth),
        final_conv_channels=[config.channels] * 2,
    )
    last = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d)][-1]
    nn.init.normal_(last.weight, std=1e-5)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return network


NETWORKS: dict[str, Callable[[Network], nn.Module]] = {"local": _local, "unet": _unet, "voxelmorph": _voxelmorph}


class AnySize(nn.Module):
    """Pads the input to a multiple of what the network needs, and crops its output."""

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network, self.multiple = network, multiple

    def forward(self, images: Tensor) -> Tensor:
        # at least two voxels must be left at the bottom
        goal = [max(2, -(-size // self.multiple)) * self.multiple for size in images.shape[2:]]
        missing = [want - size for want, size in zip(goal, images.shape[2:])]
        before = [total // 2 for total in missing]
        widths = [width for low, total in zip(before[::-1], missing[::-1]) for width in (low, total - low)]
        field = self.network(F.pad(images, widths))
        inner = [slice(low, low + size) for low, size in zip(before, images.shape[2:])]
        return field[(..., *inner)]


def build_network(config: Network) -> nn.Module:
    """The network that the configuration names; it starts from (nearly) no displacement."""
    return AnySize(NETWORKS[config.name](config), 2**config.depth)
