"""Numbers that a loss holds as tensors: class weights, bounds, distances between classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def constant(name: str, values: Sequence[Any] | Tensor | float) -> Tensor:
    """Numbers of at least 0 in float32, where torch makes new tensors.

    Never on meta: a loss that is built there, as a large model is, would have none.

    Raises:
        ValueError: a number below 0, or none.
    """
    found = held(values, torch.float32)
    if not bool((found >= 0).all()):
        raise ValueError(f"{name} must hold numbers of at least 0: {found.tolist()}")
    return found


def held(values: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Numbers as a tensor: one that is given where it is, others where torch makes new ones, but never on meta."""
    if isinstance(values, Tensor):
        return values if dtype is None else values.to(dtype)
    meta = torch.get_default_device().type == "meta"
    return torch.as_tensor(values, dtype=dtype, device="cpu" if meta else None)


class Constants(nn.Module):
    """A module whose buffers are constants: they follow to a device, and keep their numbers whatever else is done.

    ``to_empty`` would leave new memory in their place, ``half`` would round them, and on meta they would be lost.
    """

    def _constant(self, name: str, values: Sequence[float] | Tensor | float | None) -> None:
        """Keep numbers as a buffer that stays out of ``state_dict()``."""
        buffer = None if values is None else constant(name, values).flatten()
        self.register_buffer(f"_{name}", buffer, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        held = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, before in held.items():
            after = self._buffers[name]
            if before is not None and type(after) is Tensor and not (before.is_meta and not after.is_meta):
                self._buffers[name] = before if after.is_meta else before.to(after.device)
        return self
