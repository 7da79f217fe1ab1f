"""Losses from a mapping, as YAML gives it: checked against the constructors before anything runs, all faults at once.

.. code-block:: yaml

    dice:  {weight: 1.0, softmax: true, to_onehot_y: true, include_background: false}
    focal: {weight: 0.5, gamma: 2.0}
    edges: {name: dice_ce, schedule: {from: 0.0, to: 0.1, epochs: 50}, softmax: true}

The label is the loss's name unless ``name`` says otherwise. ``weight`` is the term's weight and ``class_weight`` the
loss's own factors per class. A wrapper takes the loss that it goes around under ``loss``, with its name and options:

.. code-block:: yaml

    lesions: {name: blob, weight: 0.5, beta: 2.0, loss: {dice_ce: {softmax: true, to_onehot_y: true}}}

There is no code in it: nothing is imported by path, nothing evaluated. Needs pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

from torch import nn

from medloss.base import FieldPairLoss, Loss
from medloss.composite import Schedule, WeightedSum
from medloss.extras import install_line
from medloss.multiscale import MultiScaleLoss
from medloss.options import REQUIRED, Configured
from medloss.options import options as options_of
from medloss.registry import ALIASES, losses
from medloss.segmentation import BlobLoss, ConnectedComponentLoss
from medloss.spelling import suggestion

NOT_IN_YAML = ("other_act", "process_group", "loss")
OUR_KEYS = ("name", "weight", "schedule")
WRAPPERS: dict[str, tuple[type[Configured], tuple[str, ...]]] = {
    "blob": (BlobLoss, ("label",)),
    "connected_component": (ConnectedComponentLoss, ("label",)),
    "multi_scale": (MultiScaleLoss, ("label", "image")),
}
"""The losses around another loss, and the kinds of loss that they go around."""


class LossConfigError(ValueError):
    """A mapping that makes no loss; the message lists every fault with its path."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


def loss_names(kind: str | None = None) -> dict[str, type[Loss]]:
    """The losses that a mapping may name, aliases too; of one kind or all. Where there is one field, none of pairs."""
    found = {name: cls for name, cls in losses(kind).items() if kind != "field" or not issubclass(cls, FieldPairLoss)}
    return found | {alias: found[name] for alias, name in ALIASES.items() if name in found}


def build_loss(mapping: Mapping[str, Any], kind: str | None = None, path: str = "loss") -> WeightedSum:
    """The weighted sum of losses that a mapping describes.

    Args:
        mapping: ``{label: {weight, name, schedule, **options}}``; None stands for no options.
        kind: ``"label"``, ``"image"``, ``"field"``, ``"field_pair"`` or ``"points"`` where only such losses fit.
        path: how messages call the mapping.

    Raises:
        LossConfigError: with all faults at once.

    >>> build_loss({"dice": {"softmx": True}}, kind="label")
    Traceback (most recent call last):
        ...
    medloss.config.LossConfigError: loss.dice.softmx: unknown option of DiceLoss; did you mean softmax?
    """
    if not isinstance(mapping, Mapping) or not mapping:
        raise LossConfigError([f"{path}: expected a mapping of at least one loss, such as {{dice: {{softmax: true}}}}"])
    faults: list[str] = []
    made: dict[str, nn.Module] = {}
    weights: dict[str, float | Schedule] = {}
    for label, entry in mapping.items():
        here = f"{path}.{label}"
        loss = _loss(label, entry, kind, here, faults)
        if loss is not None:
            made[label] = loss
        weights[label] = _weight(entry, here, faults) if isinstance(entry, Mapping) else 1.0
    if faults:
        raise LossConfigError(faults)
    return WeightedSum(made, weights)


def wraps(name: Any, kind: str | None = None) -> bool:
    """Whether this is the name of a loss around another one, of a kind or any."""
    return name in WRAPPERS and (kind is None or kind in WRAPPERS[name][1])


def _loss(label: Any, entry: Any, kind: str | None, here: str, faults: list[str]) -> nn.Module | None:
    """The loss of one entry, with the one inside it where it is a wrapper's."""
    entry = {} if entry is None else entry
    if not isinstance(entry, Mapping):
        faults.append(f"{here}: expected a mapping of options, not {entry!r}")
        return None
    name = entry.get("name", label)
    options = {key: value for key, value in entry.items() if key not in OUR_KEYS}
    if not wraps(name, kind):
        cls = _named(name, kind, here, faults)
        return None if cls is None else _constructed(cls, options, here, faults)
    inside = options.pop("loss", None)
    if not isinstance(inside, Mapping) or len(inside) != 1:
        faults.append(f"{here}.loss: {name} goes around one loss, such as {{dice: {{}}}}, not {inside!r}")
        return None
    label, given = next(iter(inside.items()))
    there = f"{here}.loss.{label}"
    for key in sorted({"weight", "schedule"} & set(given)) if isinstance(given, Mapping) else ():
        faults.append(f"{there}.{key}: the weight of a term stands outside, in {here}")
    found = _loss(label, given, kind, there, faults)
    return None if found is None else _constructed(WRAPPERS[name][0], options, here, faults, found)


def _named(name: Any, kind: str | None, here: str, faults: list[str]) -> type[Loss] | None:
    known = loss_names(kind)
    if name in known:
        return known[name]
    wrappers = [wrapper for wrapper in WRAPPERS if wraps(wrapper, kind)]
    if kind == "field" and name in loss_names("field_pair"):
        faults.append(f"{here}: {name} compares a field with its inverse, and here there is one field alone")
    elif name in loss_names() or name in WRAPPERS:
        faults.append(f"{here}: {name} is no {kind} loss; choose one of {', '.join(sorted(known))}")
    else:
        faults.append(f"{here}: no loss is named {name!r}{suggestion(str(name), [*known, *wrappers])}")
    return None


def _weight(entry: Mapping[str, Any], here: str, faults: list[str]) -> float | Schedule:
    schedule = entry.get("schedule")
    try:
        weight = float(entry.get("weight", 1.0))
        if not 0 <= weight < float("inf"):
            raise ValueError
    except (TypeError, ValueError):
        faults.append(f"{here}.weight: expected a number of at least 0, not {entry.get('weight')!r}")
        return 1.0
    if schedule is None:
        return weight
    if not isinstance(schedule, Mapping) or set(schedule) != {"from", "to", "epochs"}:
        faults.append(f"{here}.schedule: expected {{from: ..., to: ..., epochs: ...}}, not {schedule!r}")
        return weight
    try:
        made = Schedule(float(schedule["from"]), float(schedule["to"]), int(schedule["epochs"]))
    except (TypeError, ValueError) as fault:
        faults.append(f"{here}.schedule: {fault}")
        return weight
    if "weight" in entry and weight != made.end:
        faults.append(f"{here}.weight: {weight} is not where the schedule ends ({made.end}); leave one of them out")
    return made


def _constructed(
    cls: type[Configured], options: dict[str, Any], here: str, faults: list[str], *inside: nn.Module
) -> nn.Module | None:
    model = options_model(cls)
    known = list(model.model_fields)
    unknown = [key for key in options if key not in known]
    for key in unknown:
        faults.append(f"{here}.{key}: unknown option of {cls.__name__}{suggestion(str(key), known)}")
    from pydantic import ValidationError

    try:
        checked = model(**{str(key): value for key, value in options.items() if key in known})
    except ValidationError as fault:
        for error in fault.errors():
            where = ".".join(map(str, error["loc"][:1]))
            faults.append(f"{here}.{where}: {error['msg'].lower()}, not {error['input']!r}")
        return None
    if unknown:
        return None
    given = {key: getattr(checked, key) for key in options}
    if "class_weight" in given:
        given["weight"] = given.pop("class_weight")
    try:
        return cls(*inside, **given)
    except (TypeError, ValueError) as fault:
        faults.append(f"{here}: {fault}")
        return None


def options_model(cls: type[Configured]) -> Any:
    """A pydantic model of a loss's options, made from its class body: types, defaults, and a JSON schema.

    Raises:
        ImportError: pydantic is not installed.
    """
    try:
        from pydantic import ConfigDict, create_model
    except ImportError as fault:
        raise ImportError(f"losses from a mapping need pydantic: {install_line('apps')}") from fault
    hints = get_type_hints(cls)
    options: dict[str, Any] = {}
    for name, option in options_of(cls).items():
        if name not in NOT_IN_YAML:
            default = ... if option.default is REQUIRED else option.default
            options["class_weight" if name == "weight" else name] = (hints[name], default)
    config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())
    return create_model(f"{cls.__name__}Options", __config__=config, **options)
