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
    "cbdice": "centerline_boundary_dice",
    "ce": "cross_entropy",
    "cldice": "soft_cldice",
    "gce": "generalized_cross_entropy",
    "gdl": "generalized_dice",
    "iou": "jaccard",
    "jukebox": "spectral_amplitude",
    "lmi": "local_mutual_information",
    "mi": "global_mutual_information",
    "mind": "mind_ssc",
    "multi_scale_ssim": "ms_ssim",
    "ncc": "normalized_cross_correlation",
    "ngf": "normalized_gradient_field",
    "nmi": "normalized_mutual_information",
    "ohem": "ohem_cross_entropy",
    "svls": "spatially_varying_label_smoothing",
    "tal": "target_adaptive",
}
"""Short names that the field uses."""
SPELLED = {
    "BoundaryDoU": "boundary_dou",
    "DiceTopK": "dice_topk",
    "GemanMcClure": "geman_mcclure",
    "GradICON": "gradicon",
    "MbLS": "mbls",
    "MINDSSC": "mind_ssc",
    "MSSSIML1": "ms_ssim_l1",
    "MultiScaleSSIM": "ms_ssim",
    "SoftDiceclDice": "soft_dice_cldice",
    "SoftclDice": "soft_cldice",
    "T": "t_loss",
    "TopK": "topk",
}
"""Names whose capitals do not tell the words apart."""


def short_names(name: str) -> list[str]:
    """The short names of a loss, given its name in YAML.

    >>> short_names("mind_ssc")
    ['mind']
    """
    return [short for short, whole in ALIASES.items() if whole == name]


def snake_case(name: str) -> str:
    """``DiceCELoss`` is ``dice_ce``.

    >>> snake_case("DiceCELoss"), snake_case("LocalNormalizedCrossCorrelationLoss"), snake_case("SoftclDiceLoss")
    ('dice_ce', 'local_normalized_cross_correlation', 'soft_cldice')
    """
    stem = name.removesuffix("Loss")
    if stem in SPELLED:
        return SPELLED[stem]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stem).lower()


def losses(kind: str | None = None) -> dict[str, type[Loss]]:
    """The exported losses by name; of one kind (see ``KINDS``) or all."""
    import medloss

    wanted = Loss if kind is None else KINDS[kind]
    names: list[str] = vars(medloss)["__all__"]  # what a type checker is not shown
    exported = (getattr(medloss, name) for name in names)
    found = [thing for thing in exported if isinstance(thing, type) and issubclass(thing, wanted)]
    return {snake_case(cls.__name__): cls for cls in found if cls not in (Loss, *KINDS.values())}
