"""One-line remarks to the user, on standard error; each is printed once per process."""

from __future__ import annotations

import functools
import sys


@functools.lru_cache(maxsize=4096)
def note(message: str) -> None:
    """Print ``note: message`` without breaking a progress bar. A message that was printed before is not repeated."""
    from tqdm import tqdm

    tqdm.write(f"note: {message}", file=sys.stderr)
