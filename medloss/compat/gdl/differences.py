"""The rows of this peer: none yet."""

from __future__ import annotations

from medloss.compat.differences import Difference

DIFFERENCES: tuple[Difference, ...] = ()
