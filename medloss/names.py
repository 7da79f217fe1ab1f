"""The public namespace is the registry: a loss's name is its class without ``Loss``, in snake case."""

from __future__ import annotations

import re

from medloss.base import FieldLoss, FieldPairLoss, ImageLoss, LabelLoss, Loss, PointLoss

KINDS: dict[str, type[Loss]] = {
    "label": LabelLoss,
    "image": ImageLoss,
    "field": FieldLoss,
    "field_pair": FieldPairLoss,
    "points": PointLoss,
}
"""What a loss sees. A field pair's losses are field losses too."""
ALIASES = {
    "lncc": "local_normalized_cross_correlation",
    "bending": "bending_energy",
    "ce": "cross_entropy",
}
"""Short names that the field uses."""


def snake_case(name: str) -> str:
    """``DiceCELoss`` is ``dice_ce``.

    >>> snake_case("DiceCELoss"), snake_case("LocalNormalizedCrossCorrelationLoss"), snake_case("MSELoss")
    ('dice_ce', 'local_normalized_cross_correlation', 'mse')
    """
    stem = name.removesuffix("Loss")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stem).lower()


def losses(kind: str | None = None) -> dict[str, type[Loss]]:
    """The exported losses by name; of one kind (see ``KINDS``) or all."""
    import medloss

    wanted = Loss if kind is None else KINDS[kind]
    exported = (getattr(medloss, name) for name in medloss.__all__)
    found = [thing for thing in exported if isinstance(thing, type) and issubclass(thing, wanted)]
    return {snake_case(cls.__name__): cls for cls in found if cls not in (Loss, *KINDS.values())}
