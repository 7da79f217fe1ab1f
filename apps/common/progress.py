"""When a progress bar is drawn."""

from __future__ import annotations


def hidden(wanted: bool) -> bool | None:
    """tqdm's ``disable``: True where no bar is wanted, else None, which draws in a terminal and not in a log file."""
    return None if wanted else True
