"""The exponential average of a network's weights, which is what is measured and kept where it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


class WeightAverage:
    r"""The average of a network's weights over the updates so far.

    .. math:: \bar w \leftarrow d \bar w + (1 - d) w, \qquad d = \min(decay, (1 + n) / (10 + n))

    after the n-th update: the first weights are forgotten quickly. Buffers, such as the statistics of a batch norm, are
    taken as they are.

    >>> network = torch.nn.Linear(1, 1, bias=False)
    >>> average = WeightAverage(network, 0.0)
    >>> _ = network.weight.data.fill_(3.0)
    >>> average.update()
    >>> average.state_dict()["weight"]
    tensor([[3.]])
    """

    def __init__(self, network: torch.nn.Module, decay: float):
        self.network, self.decay, self.count = network, decay, 0
        self.weights = [parameter.detach().clone() for parameter in network.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        """The network has made an update."""
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.weights, [each.detach() for each in self.network.parameters()], 1 - decay)
        self.count += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this context the network has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """The averaged network, as the network's own ``state_dict`` gives it."""
        with self.in_place():
            return {name: value.clone() for name, value in self.network.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the network of ``state`` for both; :class:`Trained` then puts the weights of the training back."""
        self.network.load_state_dict(state)
        self.weights = [parameter.detach().clone() for parameter in self.network.parameters()]

    def _swap(self) -> None:
        for parameter, average in zip(self.network.parameters(), self.weights, strict=True):
            parameter.data, average.data = average.data, parameter.data


class Trained:
    """What goes on in a resumed training with an average: the network's own weights, and the number of updates."""

    def __init__(self, average: WeightAverage):
        self.average = average

    def state_dict(self) -> dict[str, Any]:
        """The network as it is, for a checkpoint."""
        return {"weights": self.average.network.state_dict(), "updates": self.average.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; after the average itself is restored."""
        self.average.network.load_state_dict(state["weights"])
        self.average.count = int(state["updates"])
