"""Binary cross-entropy with smoothed labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from medloss.labels import LabelView
from medloss.segmentation.voxelwise import LikelihoodLoss


class SoftBCELoss(LikelihoodLoss):
    r"""Binary cross-entropy of each channel, with labels that give a share to the other side.

    .. math::
        L = \frac{1}{N \sum_i w_i} \sum_i w_i \sum_c a_c
            \bigl(-b_c t'_{ic} \log p_{ic} - (1 - t'_{ic}) \log(1 - p_{ic})\bigr), \qquad t' = (1 - s) t + s (1 - t)

    with sigmoid probabilities p, memberships t, voxel weights w, class weights a and weights b of the positives (1 by
    default). A smoothing s of 0.1 makes 0.1 and 0.9 of 0 and 1, where ``torch``'s convention has 0.05 and 0.95. What is
    ignored leaves the mean.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives
    B N [spatial].

    Range: [0, inf).

    Limits: s = 0 is :class:`~medloss.CrossEntropyLoss` with ``sigmoid``, whose ``weight`` is this ``pos_weight``.

    Args:
        smooth_factor: s, in [0, 1/2].
        pos_weight: factor per channel on its positives, as many as the input has channels.
        weight: factor per channel.
        sigmoid: stands by itself; there is nothing else.
        include_background: whether channel 0 counts.
        process_group: add up numerator and denominator over the processes: ``"world"``, or a group.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a smoothing outside [0, 1/2], another activation, or weights that do not fit the channels.

    References:
        [1] Iakubovskii, Segmentation models PyTorch, 2019 (SoftBCEWithLogitsLoss).

    >>> import torch, medloss
    >>> logits = torch.tensor([[[1.0986]]])  # p = 3/4
    >>> medloss.SoftBCELoss(smooth_factor=0.1)(logits, torch.ones(1, 1, 1))  # -0.9 log(3/4) - 0.1 log(1/4)
    tensor(0.3975)
    """

    smooth_factor: float = 0.0
    pos_weight: Sequence[float] | Tensor | None = None
    _pos_weight: ClassVar[Tensor | None]  # a buffer of each instance, and no option

    def __post_init__(self) -> None:
        if self.softmax:
            raise ValueError("a binary cross-entropy has a sigmoid for each channel: it takes no softmax")
        self.sigmoid = True
        super().__post_init__()
        if not 0 <= self.smooth_factor <= 0.5:
            raise ValueError(f"smooth_factor={self.smooth_factor!r} lies outside [0, 1/2]")
        self._constant("pos_weight", self.pos_weight)

    def penalty(self) -> tuple[str, float]:
        """The likelihood of mixed labels."""
        return "smoothed_sigmoid", self.smooth_factor

    def class_factors(self, view: LabelView) -> tuple[Tensor, Tensor]:
        """Both parts of a channel take its weight, the positives theirs as well."""
        factors, _ = super().class_factors(view)
        positive = self._pos_weight
        if positive is None:
            return factors, factors
        if positive.numel() != factors.numel():
            raise ValueError(
                f"pos_weight has {positive.numel()} entries and input {factors.numel()} channels: give one per channel"
            )
        return factors * positive.to(factors), factors
