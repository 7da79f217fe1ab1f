"""What happened in each epoch: ``history.csv``, TensorBoard, the log line and the curve ``progress.png``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from medloss.apps.common import processes
from medloss.apps.common.output import RunFolder, write_csv

SECONDS_BETWEEN_DRAWINGS = 30.0  # drawing takes about a second


class History:
    """Collects the loss terms of an epoch (each raw, weight and weighted) and writes one row when it ends.

    A resumed run is given the rows of its checkpoint and writes ``history.csv`` anew.
    """

    def __init__(self, run: RunFolder, epoch: int = 0, rows: Sequence[Mapping[str, Any]] = ()):
        self.run = run
        self.file = run.path / "history.csv"
        self.rows: list[Mapping[str, Any]] = list(rows)
        self.writer: Any = None
        if processes.is_main():
            from torch.utils.tensorboard import SummaryWriter

            if epoch:
                write_csv(self.file, self.rows)
            self.writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=epoch + 1 if epoch else None)
        self.drawn_at = time.monotonic()
        self.start_epoch()

    def start_epoch(self) -> None:
        """Forget the sums of the last epoch."""
        self.sums: dict[str, Any] = {}
        self.counts: Counter[str] = Counter()

    def add(self, values: Mapping[str, Any]) -> None:
        """Add the values of one step; tensors are summed where they are, without waiting for the device."""
        self.counts.update(values.keys())
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Mean of everything that was added, over the steps of this epoch that have it."""
        return {name: float(value) / self.counts[name] for name, value in self.sums.items()}

    def end_epoch(self, row: Mapping[str, Any]) -> None:
        """Store one epoch: the CSV row, the TensorBoard scalars and, every half minute, the curves."""
        if self.writer is None:
            return
        write_csv(self.file, self.rows)
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self.writer.add_scalar(name, value, row["epoch"])
        self.writer.flush()
        if time.monotonic() - self.drawn_at > SECONDS_BETWEEN_DRAWINGS:
            self._draw()

    def add_pictures(self, pictures: Mapping[str, Any], epoch: int) -> None:
        """Show grey pictures (rows, columns), 0 to 1, in TensorBoard."""
        if self.writer is not None:
            for name, picture in pictures.items():
                self.writer.add_image(name, picture, epoch, dataformats="HW")

    def close(self) -> None:
        """Draw the curves to the end and close the TensorBoard file."""
        if self.writer is None:
            return
        if self.rows:
            self._draw()
        self.writer.close()

    def _draw(self) -> None:
        from medloss.apps.common.curves import curves

        self.drawn_at = time.monotonic()
        curves(self.run.path / "progress.png", self.file)
