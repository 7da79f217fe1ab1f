"""Settings that hold inside a ``with`` block, for the thread (or the task of asyncio) that entered it, and no other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class _Block(Generic[T]):
    """One block that is open; two of them are never equal, whatever they hold."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


class Blocks(Generic[T]):
    """The values of the blocks that the caller is in, the outermost first.

    A block leaves by itself: blocks may end in any order, and nothing that one of them set remains.
    """

    def __init__(self, name: str) -> None:
        self._open: ContextVar[tuple[_Block[T], ...]] = ContextVar(name, default=())
        self._lock, self._count = threading.Lock(), 0
        # whether any thread is in a block: what torch.compile can look at, which cannot read a context variable
        self.somewhere = False

    @contextlib.contextmanager
    def holding(self, value: T) -> Iterator[T]:
        """A block that holds a value."""
        mine = _Block(value)
        self._counted(1)
        self._open.set((*self._open.get(), mine))
        try:
            yield value
        finally:
            self._open.set(tuple(block for block in self._open.get() if block is not mine))
            self._counted(-1)

    def values(self) -> tuple[T, ...]:
        """The values of the caller's blocks."""
        return tuple(block.value for block in self._open.get()) if self.somewhere else ()

    def innermost(self, default: T) -> T:
        """The value of the caller's innermost block, or the default. A compiler sees what holds while it traces."""
        return self._innermost(default) if self.somewhere else default

    def _innermost(self, default: T) -> T:
        found = self._open.get()
        return found[-1].value if found else default

    # all that torch.compiler.assume_constant_result does, at whose call torch imports its compiler: a second or more
    _innermost._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def _counted(self, step: int) -> None:
        with self._lock:
            self._count += step
            self.somewhere = self._count > 0
