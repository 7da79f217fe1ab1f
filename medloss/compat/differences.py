"""Where a drop-in and its peer differ, and why: one table, which the tests prove and the documentation prints."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """One difference between a drop-in and its peer.

    Attributes:
        key: names the row, and the test that shows both numbers.
        peer: the package.
        name: the losses, or the part of their interface.
        when: the call that shows it.
        theirs: what the peer does.
        ours: what the drop-in does.
        why: the reason.
    """

    key: str
    peer: str
    name: str
    when: str
    theirs: str
    ours: str
    why: str


def _joined() -> tuple[Difference, ...]:
    packages = ("monai", "kornia", "gdl")
    return tuple(row for name in packages for row in import_module(f"medloss.compat.{name}.differences").DIFFERENCES)


def __getattr__(name: str) -> Any:
    if name == "KNOWN_DIFFERENCES":  # the peers' tables import the type from here
        return _joined()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
