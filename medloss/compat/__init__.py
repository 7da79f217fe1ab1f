"""Drop-ins for the losses of other packages: their names, signatures and numbers over the losses of this package.

Where a number, an error or a shape is another one, :data:`KNOWN_DIFFERENCES` has a row that says so, and why.
"""

from typing import Any as _Any

from medloss.compat.differences import Difference

__all__ = ["KNOWN_DIFFERENCES", "Difference"]


def __getattr__(name: str) -> _Any:
    if name == "KNOWN_DIFFERENCES":  # its rows stand in the subpackages, which import this one first
        from medloss.compat import differences

        return differences.KNOWN_DIFFERENCES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
