"""The losses of a segmentation: what the application and its data know, so that the configuration need not say it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medloss.apps.common.config import LossMapping
from medloss.apps.common.errors import UserError
from medloss.apps.common.notes import note

ACTIVATIONS = ("sigmoid", "softmax", "other_act")
FROM_DATA = "from_data"
BOUNDS = ("lower", "upper")
AUXILIARY = (
    "active_contour",
    "boundary",
    "exclusion",
    "generalized_surface",
    "hausdorff_dt",
    "hausdorff_er",
    "log_hausdorff_dt",
    "size_constraint",
    "skeleton_recall",
    "soft_cldice",
)
"""Losses that leave much undecided: they are meant beside a Dice or a cross-entropy."""


@dataclass(frozen=True)
class Facts:
    """What losses may ask of the data. ``shares``: of all voxels, those of each channel; None: not counted yet.

    ``partial``: some cases annotate some classes alone. ``spacing``: mm, or None where it is each file's own.
    ``bounds``: the smallest and the largest share of a patch that each channel may take; None: not counted yet.
    """

    exclusive: bool = True
    channels: int = 2
    shares: Sequence[float] | None = None
    partial: bool | None = None
    spacing: Sequence[float] | None = None
    bounds: Mapping[str, Sequence[float]] | None = None


def check_losses(mapping: LossMapping, facts: Facts) -> None:
    """Raise ValueError with all faults of a mapping at once, as far as they show before the data are read."""
    from medloss.config import build_loss  # imports torch: only when a configuration is read

    build_loss(complete_losses(mapping, facts), kind="label")


def complete_losses(mapping: LossMapping, facts: Facts = Facts()) -> LossMapping:
    """Each loss with what it needs and the mapping is silent about.

    The network gives logits. Where classes are exclusive, labels are indices: ``softmax`` and ``to_onehot_y``. Of
    regions, labels are memberships: ``sigmoid``. A loss of the logits themselves gets no activation. A distance between
    classes is 1 by default, and voxels have the spacing of the data. ``class_weight: from_data`` becomes one over the
    root of each channel's share of the voxels, 1 on average; ``lower`` and ``upper: from_data``, bounds of sizes, the
    share of a patch that each channel may take by its sizes in the training cases.
    """
    return {label: _complete(label, options, facts) for label, options in mapping.items()}


def settle_losses(mapping: LossMapping, facts: Facts) -> LossMapping:
    """The completed losses, checked against the data; a line where a loss is meant to stand beside another.

    Raises:
        UserError: a loss that the data make senseless: one that does nothing with them, or that would learn from
            missing annotations.
    """
    completed = complete_losses(mapping, facts)
    names = {label: _name(label, options) for label, options in completed.items()}
    for label, name in names.items():
        fault = _senseless(name, completed[label], facts)
        if fault:
            raise UserError(f"loss.{label}: {fault}")
    if set(names.values()) <= set(AUXILIARY):
        note(
            f"{' and '.join(names)} alone leave{'s' * (len(names) == 1)} much undecided: add dice or dice_ce beside, "
            "for instance loss=[dice_ce," + ",".join(names) + "]"
        )
    return completed


def _senseless(name: str, options: Any, facts: Facts) -> str:
    cls = _class_of(name)
    if cls is None:
        return ""
    takes = "class_present" in inspect.signature(cls.forward).parameters
    labelled = isinstance(options, Mapping) and options.get("labelled") is not None
    if facts.partial and facts.exclusive and not takes and not labelled:
        return (
            f"some cases annotate some of the classes alone, and {name} would learn that the others are not there; "
            "take marginal_dice_ce or tal, and exclusion beside it"
        )
    if name == "exclusion" and not facts.partial and not labelled:
        return "all cases annotate all classes, where exclusion is 0 and teaches nothing; leave it out"
    return ""


def _complete(label: str, options: Any, facts: Facts) -> Any:
    from medloss.config import wraps
    from medloss.options import options as options_of

    if options is not None and not isinstance(options, dict):
        return options  # a fault that the check of the losses will tell
    options = dict(options or {})
    if wraps(options.get("name", label)):
        if isinstance(options.get("loss"), dict):
            options["loss"] = complete_losses(options["loss"], facts)
        return options
    cls = _class_of(_name(label, options))
    if cls is None:
        return options
    known = options_of(cls)
    options = _bounded(_weighted(options, facts), facts)
    if "dist_matrix" in known and "dist_matrix" not in options:
        options["dist_matrix"] = [[float(i != j) for j in range(facts.channels)] for i in range(facts.channels)]
    if "spacing" in known and "spacing" not in options and facts.spacing is not None:
        options["spacing"] = [float(size) for size in facts.spacing]
    wanted = "softmax" if facts.exclusive else "sigmoid"
    if not any(name in options for name in ACTIVATIONS) and _takes(cls, wanted, options):
        options[wanted] = True
    if "to_onehot_y" in known:
        options.setdefault("to_onehot_y", facts.exclusive)
    return options if facts.exclusive else _of_regions(label, options, cls)


def _of_regions(label: str, options: dict[str, Any], cls: Any) -> dict[str, Any]:
    if not _takes(cls, "sigmoid", options) and not _takes(cls, "", options, but="softmax"):
        raise ValueError(f"loss.{label}: it is a loss of classes that exclude each other, and these are regions")
    if options.get("softmax"):
        raise ValueError(f"loss.{label}.softmax: regions overlap, and a softmax makes classes exclude each other")
    if options.get("to_onehot_y"):
        raise ValueError(f"loss.{label}.to_onehot_y: of regions the targets are memberships, not indices")
    if options.get("include_background") is False:
        raise ValueError(f"loss.{label}.include_background: regions have no background channel; leave it out")
    return options


def _weighted(options: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """``class_weight: from_data``, or ``weight: from_data``, as numbers."""
    if options.get("weight") == FROM_DATA:
        options = {key: value for key, value in options.items() if key != "weight"} | {"class_weight": FROM_DATA}
    if options.get("class_weight") != FROM_DATA:
        return options
    if facts.shares is None:  # the data are not read yet
        return {key: value for key, value in options.items() if key != "class_weight"}
    rare = [max(share, 1e-6) ** -0.5 for share in facts.shares]
    return options | {"class_weight": [round(each * len(rare) / sum(rare), 4) for each in rare]}


def _bounded(options: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """``lower: from_data`` and ``upper: from_data`` as numbers; left out while the data are not read yet."""
    asked = [name for name in BOUNDS if options.get(name) == FROM_DATA]
    known = {} if facts.bounds is None else {name: list(facts.bounds[name]) for name in asked}
    return {name: value for name, value in options.items() if name not in asked} | known


def _takes(cls: Any, activation: str, options: Mapping[str, Any], but: str = "") -> bool:
    """Whether a loss can be made with an activation (some have their own, or none), and does not insist on another."""
    from medloss.options import REQUIRED
    from medloss.options import options as options_of

    known = options_of(cls)
    if activation and activation not in known:
        return False
    needed = {name: options[name] for name, option in known.items() if option.default is REQUIRED and name in options}
    try:
        made = cls(**needed, **({activation: True} if activation else {}))
    except (ValueError, TypeError):
        return False
    return not (but and getattr(made, but, False))


def _name(label: str, options: Any) -> str:
    return str(options.get("name", label)) if isinstance(options, Mapping) else label


def _class_of(name: str) -> Any:
    from medloss.config import loss_names

    return loss_names(kind="label").get(name)
