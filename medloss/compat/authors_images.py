"""Registration and image losses beside their authors' code."""

from __future__ import annotations

ROWS: tuple[tuple[str, ...], ...] = (
    # key, loss, whose code, theirs, ours, equal with, why
)
