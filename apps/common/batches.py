"""Which cases make the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

from medloss.apps.common import processes


class Batches(Sampler[list[int]]):
    """Batches of an epoch in an order that the seed and the epoch alone decide, for a loader's ``batch_sampler``.

    Processes that train together share each joined batch, so that together they see what one process with as many
    times the batch would see. Where the last one cannot be shared evenly, some of its cases count twice.

    Args:
        cases: how many there are.
        size: cases in a batch of one process.
        seed: of the order.
        drop_last: leave out a last batch that is smaller than the others; the only one stays.
        steps: how many batches an epoch has; one pass over the cases by default.
    """

    def __init__(
        self, cases: int, size: int, seed: int = 0, *, drop_last: bool = False, steps: int | None = None
    ) -> None:
        self.cases, self.seed, self.epoch, self.steps = cases, seed, 0, steps
        self.joined = size * processes.count()
        self.drop_last = drop_last and cases >= self.joined

    def set_epoch(self, epoch: int) -> None:
        """The epoch that follows."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.steps is not None:
            return self.steps
        return self.cases // self.joined if self.drop_last else -(-self.cases // self.joined)

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order(len(self) * self.joined if self.steps is not None else self.cases)
        number, all_of_them = processes.number(), processes.count()
        for step in range(len(self)):
            batch = order[step * self.joined : (step + 1) * self.joined]
            mine = -(-len(batch) // all_of_them)
            yield [batch[index % len(batch)] for index in range(number * mine, (number + 1) * mine)]

    def _order(self, needed: int) -> list[int]:
        """Passes over all cases, each in an order of its own, until there are as many as needed."""
        derived = int(np.random.SeedSequence([self.seed, self.epoch, 1]).generate_state(1)[0])
        generator, order = torch.Generator().manual_seed(derived), list[int]()
        while len(order) < needed:
            order += torch.randperm(self.cases, generator=generator).tolist()
        return order[:needed]
