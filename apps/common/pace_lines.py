"""What a training tells of its epochs: the line of the log, and what stands behind the progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medloss.apps.common.pace import Pace, duration


def shown(epoch: int, pace: Pace, output: Mapping[str, Any]) -> dict[str, Any]:
    """What stands behind the bar of an epoch: the loss, and how long the whole training still takes."""
    left = pace.left(epoch - 1) if pace.count or pace.seconds else 0.0
    return {"loss": float(output["loss"])} | ({"left": duration(left)} if left else {})


def epoch_line(row: Mapping[str, Any], pace: Pace, metrics: Mapping[str, float], is_best: bool) -> str:
    """The line of an epoch: its loss with every term raw, its learning rate, times and metrics."""
    terms = " ".join(f"{name.removesuffix('_raw')} {row[name]:.4f}" for name in row if name.endswith("_raw"))
    measured = "".join(f"  {name} {value:.4f}" for name, value in metrics.items())
    number = f"{row['epoch']}" if pace.seconds else f"{row['epoch']}/{pace.epochs}"
    line = f"epoch {number}  loss {row['loss']:.4f} ({terms})  lr {row['lr']:.2e}"
    left = pace.left(row["epoch"])
    times = f"{row['seconds']:.1f} s" + (f", {duration(left)} left" if left >= 1 else "")
    return f"{line}  {times}" + measured + ("  (best so far)" if is_best else "")
