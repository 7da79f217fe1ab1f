"""The losses of a batch: every term with the target, mask and annotated classes that it is meant to see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.volumes import LABEL, MASK, PRESENT
from medloss.base import Term
from medloss.composite import WeightedSum


def loss_terms(loss: WeightedSum, classes: Classes, logits: Any, batch: Mapping[str, Any]) -> Mapping[str, Term]:
    """Each term by name.

    Exclusive classes that a case does not annotate reach the losses as ``class_present``. Of regions, each is its own
    question: what a case does not annotate is masked.
    """
    target, mask = classes.target(batch[LABEL]), batch.get(MASK)
    present: Tensor | None = batch.get(PRESENT)
    if present is None:
        return loss.terms(logits, target, mask=mask)
    if not classes.exclusive:
        told = present.view(*present.shape, *[1] * (target.ndim - 2)).expand(target.shape)
        return loss.terms(logits, target, mask=told if mask is None else told & (mask > 0))
    found = {}
    for name, term in loss.losses.items():
        raw = term(logits, target, mask=mask, class_present=present)
        found[name] = Term(raw, loss.weight(name), loss.weight(name) * raw)
    return found
