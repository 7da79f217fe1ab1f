"""The rows of the benchmark on a GPU: batches of volumes as networks are trained on them, and pairs to be registered.

The first ones first: where time is short, the last ones are left out.
"""

from __future__ import annotations

import plain
import torch
from contestants import Row
from peers import (
    compiled,
    fireants,
    fused_lncc,
    kornia,
    medloss,
    monai,
    msssim_package,
    nnunet_dice_ce,
    torch_cross_entropy,
)

MULTI = {"softmax": True, "to_onehot_y": True}
LNCC = "LocalNormalizedCrossCorrelationLoss"
PAIRS = {"160": (160, 160, 160), "192x160x224": (192, 160, 224)}
VOLUMES = {"n14": (14, (160,) * 3), "n4": (4, (128,) * 3), "n105": (105, (128,) * 3)}


def labels() -> list[Row]:
    """Two volumes of 14 classes at 160^3, of 4 at 128^3, and of 105 at 128^3."""
    rows = []
    for name, (classes, shape) in VOLUMES.items():

        def add(loss: str, ours: object, peers: dict, name=name, classes=classes, shape=shape, **more: object) -> None:
            rows.append(Row(f"{loss}_{name}", "labels", shape, ours, peers, classes=classes, batch=2, **more))

        own, theirs = medloss("DiceCELoss", **MULTI), monai("DiceCELoss", **MULTI)
        add("dice_ce", own, {"monai": theirs, "nnunet": nnunet_dice_ce})
        add("dice_ce_uint8", own, {}, labels=torch.uint8)
        add("dice", medloss("DiceLoss", **MULTI), {"monai": monai("DiceLoss", **MULTI)})
        add("tversky", medloss("TverskyLoss", **MULTI), {"monai": monai("TverskyLoss", **MULTI)})
        add("dice_focal", medloss("DiceFocalLoss", **MULTI), {"monai": monai("DiceFocalLoss", **MULTI)})
        add("focal", medloss("FocalLoss", **MULTI), {
            "kornia": kornia("focal_loss", alpha=None, reduction="mean"),
            "monai": monai("FocalLoss", to_onehot_y=True, use_softmax=True),
        })  # fmt: skip
        add("ce", medloss("CrossEntropyLoss", to_onehot_y=True), {"torch": torch_cross_entropy})
    return rows


def pairs() -> list[Row]:
    """Similarities of two images, and the bending of a field."""
    rows = []
    for name, shape in PAIRS.items():
        rows += [
            Row(f"lncc_k9_{name}", "images", shape, medloss(LNCC, kernel_size=9),
                {"monai": monai(LNCC, kernel_size=9), "fireants": fireants(LNCC, spatial_dims=3, kernel_size=9),
                 "fused-lncc": fused_lncc(9)}),
            Row(f"mi_gauss_{name}", "images", shape, medloss("GlobalMutualInformationLoss"),
                {"monai": monai("GlobalMutualInformationLoss"), "fireants": fireants("GlobalMutualInformationLoss")}),
            Row(f"bending_{name}", "field", shape, medloss("BendingEnergyLoss"), {"monai": monai("BendingEnergyLoss")}),
            Row(f"lncc_gauss9_{name}", "images", shape, medloss(LNCC, kernel_size=9, kernel_type="gaussian"),
                {"monai": monai(LNCC, kernel_size=9, kernel_type="gaussian")}),
            Row(f"ssim_{name}", "images", shape, medloss("SSIMLoss"), {"pytorch-msssim": msssim_package}),
            Row(f"diffusion_{name}", "field", shape, medloss("DiffusionLoss"), {"monai": monai("DiffusionLoss")}),
            Row(f"jacobian_{name}", "field", shape, medloss("JacobianLoss"), {"torch": lambda: plain.folding}),
            Row(f"ncc_{name}", "images", shape, medloss("NormalizedCrossCorrelationLoss"),
                {"torch": lambda: plain.correlation}),
        ]  # fmt: skip
    return rows


def others() -> list[Row]:
    """Losses with a sort, a distance transform or a skeleton within, and a volume so small that launches count."""
    four = {"classes": 4, "batch": 2}
    shape, distances = (96, 96, 96), 1 - torch.eye(4)
    return [
        Row("lovasz", "labels", shape, medloss("LovaszSoftmaxLoss", to_onehot_y=True), {}, **four),
        Row("hausdorff_dt", "labels", shape, medloss("HausdorffDTLoss", **MULTI), {}, target="blobs", **four),
        Row("cldice", "labels", shape, medloss("SoftclDiceLoss", **MULTI, iter_=3),
            {"monai": monai("SoftclDiceLoss", iter_=3, softmax=True, to_onehot_y=True)}, target="blobs", **four),
        Row("gwdl", "labels", shape, medloss("GeneralizedWassersteinDiceLoss", dist_matrix=distances), {}, **four),
        Row("dice_ce_tiny", "labels", (16,) * 3, medloss("DiceCELoss", **MULTI),
            {"monai": monai("DiceCELoss", **MULTI)}, classes=4),
    ]  # fmt: skip


def against_inductor() -> list[Row]:
    """Beside straightforward losses under ``torch.compile``, which takes half a minute for each."""
    shape = VOLUMES["n14"][1]
    return [
        Row("dice_ce_n14_compiled", "labels", shape, medloss("DiceCELoss", **MULTI),
            {"compiled": compiled(plain.dice_ce)}, classes=14, batch=2),
        Row("lncc_k9_160_compiled", "images", shape, medloss(LNCC, kernel_size=9), {"compiled": compiled(plain.lncc)}),
    ]  # fmt: skip


def in_turn(rows: list[Row]) -> list[Row]:
    """The first size of each loss before the second of any: where time is short, every loss has a figure."""
    seen: dict[str, int] = {}
    order = []
    for row in rows:
        loss = row.name
        for size in (*VOLUMES, *PAIRS):
            loss = loss.removesuffix(f"_{size}")
        seen[loss] = seen.get(loss, 0) + 1
        order.append(seen[loss])
    return [row for _, row in sorted(zip(order, rows), key=lambda pair: pair[0])]


GPU_ROWS = [*in_turn([*labels(), *pairs(), *others()]), *against_inductor()]
