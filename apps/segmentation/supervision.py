"""The losses of a network that answers at several resolutions."""

from __future__ import annotations

from medloss.apps.segmentation.config import DeepSupervision
from medloss.composite import WeightedSum
from medloss.supervision import DeepSupervisionLoss


def supervised(loss: WeightedSum, config: DeepSupervision) -> WeightedSum:
    """The same terms, each over all outputs of the network, where it answers with several."""
    if not config.outputs:
        return loss
    around = {
        name: DeepSupervisionLoss(term, weights=config.weights, resize=config.resize)
        for name, term in loss.losses.items()
    }
    return WeightedSum(around, loss.weights)
