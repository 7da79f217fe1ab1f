"""Which implementation runs: force one, or ask."""

from __future__ import annotations

from typing import Any

import torch

from medloss.ops import native
from medloss.ops.dispatch import BackendError, backend, listen

__all__ = ["BackendError", "backend", "explain"]


def explain(loss: Any, *args: Any, **kwargs: Any) -> str:
    """Which backend serves each operator of a loss for these inputs, and why the faster ones do not.

    The loss is called once, without gradients. Where a native kernel serves, the last line names its library.

    >>> import medloss
    >>> with medloss.backend("reference"):
    ...     print(explain(medloss.MSELoss(), torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)))
    pointwise: reference
    """
    with listen() as heard, torch.no_grad():
        loss(*args, **kwargs)
    lines = []
    for decision in heard:
        why = "; ".join(f"not {name}: {', '.join(reasons)}" for name, reasons in decision.reasons.items() if reasons)
        lines.append(f"{decision.operator}: {decision.backend}" + (f" ({why})" if why else ""))
    if any(decision.backend == "native" for decision in heard):
        lines.append(f"native library: {native.serving()}")
    return "\n".join(lines)
