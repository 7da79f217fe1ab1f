"""Divergences of heat maps: how far one distribution over the voxels is from another."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.ops import pointwise
from medloss.ops.masking import present
from medloss.reduction import mass, ratio, reduce


class _DivergenceLoss(ImageLoss):
    eps: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("eps", self.eps, 0)

    @property
    def divergence(self) -> str:
        """The operator's penalty."""
        raise NotImplementedError

    def _ordered(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What the operator takes for the prediction, and what for the target."""
        return input, target

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        sums = pointwise(*self._ordered(input, target), mask, penalty=self.divergence, gamma=self.eps, reduce=True)
        if mask is None:
            return reduce(sums, self.reduction)
        weight = mass(mask, input.shape, sums)
        counted = mass(mask > 0, input.shape, sums)
        return reduce(ratio(sums * counted, weight), self.reduction, present(weight))


class HeatmapKLDivLoss(_DivergenceLoss):
    r"""Kullback-Leibler divergence of a target heat map from the predicted one: the nats lost by believing the latter.

    .. math:: L = \sum_i t_i \log \frac{t_i + \epsilon}{p_i + \epsilon}

    for each sample and heat map, with 0 log 0 = 0; with ``direction="of_input"`` p and t change places. The maps are
    taken as they are: let each sum to 1 (a softmax over the voxels). Under a mask only its voxels are summed, a weight
    counting relative to the mean of those above 0.

    Shape: input (predicted) and target B N [spatial], mask B 1 or B N [spatial]; ``"none"`` gives B N.

    Range: [0, -log eps] for maps that sum to 1; 0 where they are equal.

    Limits: eps = 0 is the definition, infinite where the prediction is 0 and the target is not.

    Authors' code: that of DSNT is ``direction="of_input"``.

    Args:
        eps: added inside the logarithms, so that a prediction of 0 is finite.
        direction: ``"of_target"``: KL(target, prediction), as in kornia. ``"of_input"``: KL(prediction, target).

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a negative eps, or an unknown direction.

    References:
        [1] Kullback and Leibler, On information and sufficiency, Annals of Mathematical Statistics 1951.

    >>> import torch, medloss
    >>> predicted, target = torch.tensor([[[0.25, 0.75]]]), torch.tensor([[[1.0, 0.0]]])
    >>> medloss.HeatmapKLDivLoss()(predicted, target)  # log 4
    tensor(1.3863)
    """

    direction: str = "of_target"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("direction", self.direction, ("of_target", "of_input"))

    def _ordered(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return (input, target) if self.direction == "of_target" else (target, input)

    @property
    def divergence(self) -> str:
        """Relative entropy."""
        return "kullback_leibler"


class HeatmapJSDivLoss(_DivergenceLoss):
    r"""Jensen-Shannon divergence of two heat maps: how far both are from their mean.

    .. math::
        L = \frac{1}{2} \sum_i p_i \log \frac{p_i}{m_i} + \frac{1}{2} \sum_i t_i \log \frac{t_i}{m_i},
        \qquad m = \frac{p + t}{2}

    for each sample and heat map, with 0 log 0 = 0. The maps are taken as they are: let each sum to 1 (a softmax over
    the voxels). Under a mask only its voxels are summed, a weight counting relative to the mean of those above 0.

    Shape: input (predicted) and target B N [spatial], mask B 1 or B N [spatial]; ``"none"`` gives B N.

    Range: [0, log 2] for maps that sum to 1; 0 where they are equal, log 2 where nowhere both are above 0.

    Limits: the mean of the two :class:`~medloss.HeatmapKLDivLoss` of p and of t from m; symmetric.

    Args:
        eps: added to both sides of each fraction.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a negative eps.

    References:
        [1] Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on Information Theory 1991.

    >>> import torch, medloss
    >>> predicted, target = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]])
    >>> medloss.HeatmapJSDivLoss()(predicted, target)  # log 2
    tensor(0.6931)
    """

    @property
    def divergence(self) -> str:
        """The mean of two relative entropies."""
        return "jensen_shannon"
