"""Poly-1: cross-entropy with more weight on its first polynomial term."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.labels import LabelView
from medloss.segmentation.voxelwise import LikelihoodLoss


class PolyLoss(LikelihoodLoss):
    r"""Cross-entropy plus epsilon times the probability that the label lacks (Poly-1).

    .. math::
        L = \frac{\sum_i w_i \sum_c a_c t_{ic} \bigl(-\log p_{ic} + \epsilon (1 - p_{ic})\bigr)}
                 {\sum_i w_i \sum_c a_c t_{ic}}

    with softmax probabilities p, memberships t, voxel weights w and class weights a (1 by default). The cross-entropy
    is the sum of :math:`(1 - p)^j / j`; epsilon is added to the factor of j = 1, whose gradient is that of the easy
    voxels. With ``sigmoid`` each channel is a binary problem of its own, averaged over voxels and channels; a then
    weighs the positives.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B [spatial],
    with ``sigmoid`` B N [spatial].

    Range: [0, inf) for epsilon of at least -1.

    Limits: epsilon = 0 is :class:`~medloss.CrossEntropyLoss`.

    Authors' code: equal; with ``weight`` at ``weighted="cross_entropy"``.

    Args:
        epsilon: at least -1, which takes the first term away.
        weighted: what the class weights weigh: ``"all"``, both terms, and the voxels in the mean; or
            ``"cross_entropy"``, that term alone, in a mean over the voxels.
        softmax: stands by itself; there is nothing else but ``sigmoid``.
        include_background: whether voxels of class 0 (with ``sigmoid``: channel 0) count.
        process_group: add up numerator and denominator over the processes: ``"world"``, or a group.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: epsilon below -1, or an activation other than these two.

    References:
        [1] Leng et al., PolyLoss: a polynomial expansion perspective of classification loss functions, ICLR 2022.

    >>> import torch, medloss
    >>> loss = medloss.PolyLoss(epsilon=2, to_onehot_y=True)
    >>> loss(torch.zeros(1, 4, 2), torch.tensor([[[0, 3]]]))  # log 4 + 2 (3/4)
    tensor(2.8863)
    """

    epsilon: float = 1.0
    weighted: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("epsilon", self.epsilon, -1)
        checks.choice("weighted", self.weighted, ("all", "cross_entropy"))

    def penalty(self) -> tuple[str, float]:
        """Poly-1 of the activation."""
        return f"poly_{self.activation}", self.epsilon

    def penalise(self, view: LabelView, positive: Tensor, negative: Tensor, reduce: bool = False) -> Tensor:
        """Poly-1 with the factors on both terms, or each term with its own."""
        if self.weighted == "all" or self._weight is None:
            return super().penalise(view, positive, negative, reduce)
        entropy = self.likelihood(view, (self.activation, 0.0), positive, negative, reduce)
        lacking = self.likelihood(view, (f"power_{self.activation}", 1.0), negative, negative, reduce)
        return entropy + self.epsilon * lacking

    def mass(self, view: LabelView, factors: Tensor) -> Tensor:
        """Voxels alike where the weights are of the cross-entropy alone."""
        return super().mass(view, self.class_factors(view)[1] if self.weighted == "cross_entropy" else factors)
