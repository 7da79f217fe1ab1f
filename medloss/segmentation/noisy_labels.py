"""Cross-entropies that trust a label less: generalised, and symmetric."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.labels import LabelView
from medloss.ops import pointwise
from medloss.segmentation.voxelwise import LikelihoodLoss


class GeneralizedCrossEntropyLoss(LikelihoodLoss):
    r"""Between cross-entropy and absolute error: a label that the network contradicts pulls less (GCE).

    .. math::
        L = \frac{\sum_i w_i \sum_c a_c t_{ic} (1 - p_{ic}^q) / q}{\sum_i w_i \sum_c a_c t_{ic}}

    with softmax probabilities p, memberships t, voxel weights w and class weights a (1 by default). With ``sigmoid``
    each channel is a binary problem of its own, averaged over voxels and channels; a then weighs the positives.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B [spatial],
    with ``sigmoid`` B N [spatial].

    Range: [0, 1/q] for weights of 1.

    Limits: q towards 0 is :class:`~medloss.CrossEntropyLoss`; q = 1 is half the absolute error of the probabilities.

    Authors' code: equal to the part that is not truncated; the truncation, which leaves out samples for good as
    training goes on, is no part of a loss without memory.

    Args:
        q: in (0, 1]. The larger, the less a label counts that the network contradicts.
        softmax: stands by itself; there is nothing else but ``sigmoid``.
        include_background: whether voxels of class 0 (with ``sigmoid``: channel 0) count.
        process_group: add up numerator and denominator over the processes: ``"world"``, or a group.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: q outside (0, 1], or an activation other than these two.

    References:
        [1] Zhang and Sabuncu, Generalized cross entropy loss for training deep neural networks with noisy labels,
        NeurIPS 2018.

    >>> import torch, medloss
    >>> loss = medloss.GeneralizedCrossEntropyLoss(q=0.5, to_onehot_y=True)
    >>> loss(torch.zeros(1, 4, 2), torch.tensor([[[0, 3]]]))  # (1 - sqrt(1/4)) / (1/2)
    tensor(1.)
    """

    q: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.q <= 1:
            raise ValueError(f"q={self.q!r} lies outside (0, 1]")

    def penalty(self) -> tuple[str, float]:
        """The power of the likelihood."""
        return f"power_{self.activation}", self.q


class SymmetricCrossEntropyLoss(LikelihoodLoss):
    r"""Cross-entropy in both directions: of the label with the prediction, and of the prediction with the label (SCE).

    .. math::
        L = \frac{\sum_i w_i \bigl(\alpha \sum_c a_c t_{ic} (-\log p_{ic})
              + \beta \sum_c a_c t_{ic} \sum_c p_{ic} (-\log t_{ic})\bigr)}{\sum_i w_i \sum_c a_c t_{ic}}

    with softmax probabilities p, memberships t, voxel weights w and class weights a (1 by default). The logarithm of a
    membership is at least A, ``log_zero``. The second term is bounded, and so is what a wrong label can do to it.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B [spatial].

    Range: [0, inf).

    Limits: beta = 0, alpha = 1 is :class:`~medloss.CrossEntropyLoss`; for hard labels alpha = 1 is
    :class:`~medloss.PolyLoss` of epsilon = -A beta.

    Authors' code: both public codes clip the labels at 1e-4: ``log_zero=math.log(1e-4)``, which is -9.21, beside the
    same alpha and beta. The -4 here is printed in the paper.

    Args:
        alpha: weight of the cross-entropy, at least 0. The defaults of both weights are the paper's for images of ten
            classes, half of whose labels may be wrong; where labels are clean its authors advise a weight of 1.
        beta: weight of the reverse cross-entropy, at least 0, to make both terms of one size.
        log_zero: A below 0, what stands for the logarithm of 0; for segmentations its authors advise -1 or -2.
        include_background: whether voxels of class 0 count.
        process_group: add up numerator and denominator over the processes: ``"world"``, or a group.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a negative weight, A not below 0, or ``sigmoid``.

    References:
        [1] Wang et al., Symmetric cross entropy for robust learning with noisy labels, ICCV 2019.

    >>> import torch, medloss
    >>> loss = medloss.SymmetricCrossEntropyLoss(alpha=1, beta=0.5, to_onehot_y=True)
    >>> loss(torch.zeros(1, 4, 2), torch.tensor([[[0, 3]]]))  # log 4 + 0.5 (3/4) 4
    tensor(2.8863)
    """

    alpha: float = 0.1
    beta: float = 1.0
    log_zero: float = -4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 0)
        checks.at_least("beta", self.beta, 0)
        if not self.log_zero < 0:
            raise ValueError(f"log_zero={self.log_zero!r} must be below 0")
        if self.sigmoid:
            raise ValueError("symmetric cross-entropy compares distributions over the classes: it takes no sigmoid")

    def penalty(self) -> tuple[str, float]:
        """The cross-entropy."""
        return "softmax", 0.0

    def penalise(self, view: LabelView, positive: Tensor, negative: Tensor, reduce: bool = False) -> Tensor:
        """Cross-entropy, and the reverse one with the weight of the voxel's class."""
        weight = self.mass(view, positive).unsqueeze(1)
        reverse = pointwise(
            view.input,
            view.target,
            weight,
            penalty="reverse_softmax",
            indexed=view.indexed,
            gamma=-self.log_zero,
            reduce=reduce,
            joined=True,
        )
        return self.alpha * super().penalise(view, positive, negative, reduce) + self.beta * reverse
