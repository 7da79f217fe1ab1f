"""The calls of segmentation-models-pytorch whose values are stored: options, and tensors by closed forms.

``make_smp_values.py`` makes the values where the package is installed; the tests make the same tensors from here.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

SHAPE = (2, 3, 2, 3)
"""Samples, classes, height, width."""
TENSORS = ("weight", "pos_weight")
"""Options that are tensors."""


def tensors(mode: str, ignored: float | None, probabilities: bool, missing: bool, soft: bool) -> tuple[Tensor, Tensor]:
    """Prediction and target in double precision; every fourth voxel has the ignored label."""
    channels = 1 if mode == "binary" else SHAPE[1]
    shape = (SHAPE[0], channels, *SHAPE[2:])
    count = torch.Size(shape).numel()
    number = torch.arange(count, dtype=torch.float64).view(shape)
    logits = 2 * torch.sin(1.7 * number + 0.3)
    if probabilities:
        logits = torch.softmax(logits, 1) if mode == "multiclass" else torch.sigmoid(logits)
    if mode == "multiclass":
        place = torch.arange(count // channels).view(SHAPE[0], *SHAPE[2:])
        target = (place * 7 + place // 3) % (channels - int(missing))
    else:
        target = (torch.sin(2.3 * number) > 0.1).long()
        if missing:
            target[:, -1] = 0
        if soft:
            target = (1 + torch.sin(2.3 * number)) / 2
    if ignored is not None:
        some = torch.arange(target.numel()).view(target.shape) % 4 == 1
        target = torch.where(some, torch.as_tensor(ignored, dtype=target.dtype), target)
    return logits, target


def grid(**options: list[Any]) -> list[dict[str, Any]]:
    """Every combination."""
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]


def one_by_one(**options: list[Any]) -> list[dict[str, Any]]:
    """The defaults, then each value of each option beside the others' defaults."""
    return [{}, *({name: value} for name, values in options.items() for value in values)]


def overlap_cases(name: str, **more: list[Any]) -> list[dict[str, Any]]:
    """Those of one of the losses of overlapping regions."""
    several = {"classes": [[0, 2]], "class_weights": [[0.5, 1.0, 2.0]]}
    common = {"log_loss": [True], "from_logits": [False], "smooth": [1.0], "ignore_index": [255], "eps": [0.5]}
    found = []
    for mode in ("binary", "multiclass", "multilabel"):
        listed = one_by_one(**common, **({} if mode == "binary" else several), **more)
        found += [{"loss": name, "mode": mode, "options": options} for options in listed]
        found.append({"loss": name, "mode": mode, "missing": True, "options": {}})
        if mode != "multiclass":
            found.append({"loss": name, "mode": mode, "soft": True, "options": {}})
        else:
            both = {"classes": [0, 2], "class_weights": [0.5, 1.0, 2.0], "ignore_index": 255}
            found.append({"loss": name, "mode": mode, "missing": True, "options": both})
    return found


def focal_cases() -> list[dict[str, Any]]:
    """Those of the focal loss."""
    found = []
    for mode in ("binary", "multiclass", "multilabel"):
        listed = one_by_one(
            alpha=[0.25], gamma=[0.5, 3.0], from_logits=[False], normalized=[True], reduced_threshold=[0.4],
            reduction=["sum", "none", "batchwise_mean"],
            **({} if mode == "binary" else {"class_weights": [[0.5, 1.0, 2.0]]}),
        )  # fmt: skip
        listed.append({"alpha": 0.25, "normalized": True, "reduced_threshold": 0.4, "reduction": "sum"})
        if mode != "multilabel":  # where the peer crashes
            listed += [
                {"ignore_index": 255, "reduction": reduction, "alpha": 0.7}
                for reduction in ("mean", "sum", "none", "batchwise_mean")
            ]
            listed.append({"ignore_index": 255, "normalized": True})
        if mode == "multiclass":
            listed.append({"class_weights": [0.5, 1.0, 2.0], "ignore_index": 255})
        found += [{"loss": "FocalLoss", "mode": mode, "options": options} for options in listed]
        if mode != "multiclass":
            found.append({"loss": "FocalLoss", "mode": mode, "soft": True, "options": {"alpha": 0.25}})
    return found


def cases() -> list[dict[str, Any]]:
    """All of them."""
    found = overlap_cases("DiceLoss") + overlap_cases("JaccardLoss")
    found += overlap_cases("TverskyLoss", alpha=[0.2], beta=[0.9], gamma=[0.75])
    found += focal_cases()
    for mode, options in product(("binary", "multiclass", "multilabel"), grid(per_image=[False, True])):
        for more in ({}, {"ignore_index": 255}):
            found.append({"loss": "LovaszLoss", "mode": mode, "options": {**options, **more}})
    found.append({"loss": "LovaszLoss", "mode": "multiclass", "missing": True, "options": {"per_image": True}})
    for options in grid(reduction=["mean", "sum", "none"], smooth_factor=[0.0, 0.2], ignore_index=[-100, 255, None]):
        found.append({"loss": "SoftCrossEntropyLoss", "mode": "multiclass", "options": options})
    for options in grid(reduction=["mean", "sum", "none"], smooth_factor=[None, 0.1], ignore_index=[-100, None]):
        found.append({"loss": "SoftBCEWithLogitsLoss", "mode": "multilabel", "soft": True, "options": options})
    channels = [[[0.5]], [[1.0]], [[3.0]]]
    for options in ({"weight": channels}, {"pos_weight": channels}, {"weight": channels, "pos_weight": channels}):
        more = {"ignore_index": -100, "smooth_factor": 0.1, **options}
        found.append({"loss": "SoftBCEWithLogitsLoss", "mode": "multilabel", "soft": True, "options": more})
    for options in one_by_one(eps=[0.5]):
        found.append({"loss": "MCCLoss", "mode": "binary", "probabilities": True, "options": options})
    return found


def built(package: Any, case: dict[str, Any]) -> Any:
    """The loss of a case."""
    options = {
        name: torch.tensor(value, dtype=torch.float64) if name in TENSORS else value
        for name, value in case["options"].items()
    }
    first = (case["mode"],) if case["loss"] not in ("SoftCrossEntropyLoss", "SoftBCEWithLogitsLoss", "MCCLoss") else ()
    return getattr(package, case["loss"])(*first, **options)


def outcome(package: Any, case: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Value and gradient, under a fixed cotangent."""
    options = case["options"]
    probabilities = case.get("probabilities", not options.get("from_logits", True))
    ignored = options.get("ignore_index")
    y_pred, y_true = tensors(case["mode"], ignored, probabilities, case.get("missing", False), case.get("soft", False))
    if case["loss"] == "SoftBCEWithLogitsLoss":
        y_true = y_true.double()
    if case["loss"] == "LovaszLoss":  # whose hinge knows single precision alone
        y_pred = y_pred.float()
    y_pred.requires_grad_()
    value = built(package, case)(y_pred, y_true)
    cotangent = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).view(value.shape)
    return value.detach(), torch.autograd.grad(value, y_pred, cotangent)[0]


def faults() -> dict[str, Any]:
    """Calls in which the peer is wrong, by the key of the difference: functions of the package."""
    logits, labels = tensors("multiclass", None, False, False, False)
    logits, ignored = logits.float(), torch.full_like(labels, 255)
    blind = torch.where(labels.unsqueeze(1) == 0, torch.nan, logits)
    ones = torch.ones(1, 1, 300, 300, dtype=torch.float16)
    members = (logits > 0).long()
    return {
        "no-smoothing": lambda package: package.SoftCrossEntropyLoss()(logits, labels),
        "nothing-valid-lovasz": lambda package: package.LovaszLoss("multiclass", ignore_index=255)(logits, ignored),
        "nothing-valid-focal": lambda package: package.FocalLoss("multiclass", ignore_index=255)(logits, ignored),
        "double-hinge": lambda package: package.LovaszLoss("binary")(logits[:, :1].double(), members[:, :1]),
        "multilabel-ignored": lambda package: package.FocalLoss("multilabel", ignore_index=255)(logits, members),
        "ignored-nan": lambda package: package.DiceLoss("multiclass", ignore_index=0)(blind, labels),
        "half-sums": lambda package: package.DiceLoss("binary", from_logits=False)(ones, ones.long()),
        "integer-labels": lambda package: package.SoftBCEWithLogitsLoss()(logits, members),
    }
