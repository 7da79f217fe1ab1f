"""The losses of a segmentation: what the application knows about them, so that the YAML need not say it."""

from __future__ import annotations

from typing import Any

from medloss.apps.common.config import LossMapping

ACTIVATIONS = ("sigmoid", "softmax", "other_act")


def complete_losses(mapping: LossMapping) -> LossMapping:
    """Add ``softmax: true`` and ``to_onehot_y: true`` where a loss takes them and the mapping is silent.

    The network of this application gives logits and its labels are indices, so there is only one right choice. An
    activation that the mapping names is left alone.
    """
    return {label: _complete(label, options) for label, options in mapping.items()}


def _complete(label: str, options: Any) -> Any:
    from medloss.config import loss_names, wraps
    from medloss.options import options as options_of

    if options is not None and not isinstance(options, dict):
        return options  # a fault that the check of the losses will tell
    options = dict(options or {})
    if wraps(options.get("name", label)):
        if isinstance(options.get("loss"), dict):
            options["loss"] = complete_losses(options["loss"])
        return options
    loss = loss_names(kind="label").get(options.get("name", label))
    known = options_of(loss)
    if "softmax" in known and not any(name in options for name in ACTIVATIONS):
        options["softmax"] = True
    if "to_onehot_y" in known:
        options.setdefault("to_onehot_y", True)
    return options
