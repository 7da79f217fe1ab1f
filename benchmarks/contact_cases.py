"""What is run at the first contact with a GPU: losses on small odd and even volumes, and operators that could race."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import medloss
from medloss.ops import components, distance_map, nth_largest

MULTI = {"softmax": True, "to_onehot_y": True}
ODD, EVEN = (19, 22, 27), (16, 24, 32)
Loss = Callable[..., Tensor]


def logits(classes: int, *shape: int, labels: torch.dtype = torch.int64, device: str = "cpu", batch: int = 2) -> list:
    """Logits and labels, the same at every call."""
    made = {"generator": torch.Generator(device).manual_seed(1), "device": device}
    target = torch.randint(0, classes, (batch, 1, *shape), **made).to(labels)
    return [3 * torch.randn(batch, classes, *shape, **made), target]


def images(*shape: int, device: str = "cpu") -> list[Tensor]:
    """Two images."""
    made = {"generator": torch.Generator(device).manual_seed(2), "device": device}
    return [torch.rand(1, 1, *shape, **made) for _ in range(2)]


def field(*shape: int, device: str = "cpu") -> list[Tensor]:
    """A displacement field."""
    return [torch.randn(1, 3, *shape, generator=torch.Generator(device).manual_seed(3), device=device)]


LOSSES: dict[str, tuple[Loss, list[Tensor]]] = {
    "dice_ce": (medloss.DiceCELoss(**MULTI), logits(14, *EVEN)),
    "dice_ce_odd": (medloss.DiceCELoss(**MULTI), logits(5, *ODD, labels=torch.uint8)),
    "dice_ce_105": (medloss.DiceCELoss(**MULTI), logits(105, 9, 8, 16)),
    "tversky": (medloss.TverskyLoss(**MULTI), logits(4, *EVEN)),
    "focal": (medloss.FocalLoss(**MULTI), logits(14, *ODD)),
    "dice_focal": (medloss.DiceFocalLoss(sigmoid=True, to_onehot_y=True), logits(3, *ODD)),
    "lncc": (medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=9), images(*ODD)),
    "lncc_gauss": (
        medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=9, kernel_type="gaussian"), images(*EVEN)
    ),
    "ssim": (medloss.SSIMLoss(), images(24, 26, 32)),
    "mi": (medloss.GlobalMutualInformationLoss(num_bins=32), images(*ODD)),
    "mi_bspline": (medloss.GlobalMutualInformationLoss(kernel_type="b-spline", num_bins=32), images(*EVEN)),
    "ncc": (medloss.NormalizedCrossCorrelationLoss(), images(*ODD)),
    "bending": (medloss.BendingEnergyLoss(), field(*ODD)),
    "diffusion": (medloss.DiffusionLoss(), field(*EVEN)),
    "jacobian": (medloss.JacobianLoss(), field(*ODD)),
    "lovasz": (medloss.LovaszSoftmaxLoss(to_onehot_y=True), logits(4, *ODD)),
    "hausdorff_dt": (medloss.HausdorffDTLoss(**MULTI), logits(3, *EVEN)),
    "cldice": (medloss.SoftclDiceLoss(iter_=3, **MULTI), logits(3, *EVEN)),
    "mind": (medloss.MINDSSCLoss(), images(*ODD)),
}  # fmt: skip
"""What ``check`` runs: a loss and its tensors."""


def mask() -> Tensor:
    """Near the percolation of faces: long, winding components."""
    return torch.rand(2, 1, 40, 41, 43, generator=torch.Generator().manual_seed(4)) > 0.6


def ranked(device: str) -> Tensor:
    """The n-th largest of many."""
    values = torch.randn(3, 100003, generator=torch.Generator().manual_seed(5)).to(device)
    wanted = torch.tensor([[1], [777], [99999]], device=device)
    return nth_largest(values, torch.ones_like(values, dtype=torch.bool), wanted)


def distances(device: str) -> Tensor:
    """Of voxels in millimetres that differ by axis."""
    sources = mask() & mask().roll(1, 2) & mask().roll(2, 3)
    return distance_map(sources.to(device), [1.0, 1.5, 0.7], torch.float64)


OPERATORS: dict[str, Callable[[str], Tensor]] = {
    "components": lambda device: components(mask().to(device), 1),
    "components_26": lambda device: components((~mask()).to(device)),
    "distance_map": distances,
    "nth_largest": ranked,
}
"""Those whose programs write to the same places, which no interpreter shows."""
