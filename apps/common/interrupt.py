"""Ctrl-C and SIGTERM end a command in one way: one line, and the exit code that shells expect."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143
"""128 + the number of the signal."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came; whoever cleans up after a KeyboardInterrupt cleans up after this one, too."""


@contextlib.contextmanager
def interruptible(told: str) -> Iterator[None]:
    """Within the block Ctrl-C and SIGTERM print ``told`` and end the process with exit code 130 or 143."""
    main = threading.current_thread() is threading.main_thread()
    earlier = signal.signal(signal.SIGTERM, _terminate) if main else None
    try:
        yield
    except KeyboardInterrupt as stop:
        print(f"stopped: {told}", file=sys.stderr, flush=True)
        raise SystemExit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED) from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, earlier or signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
