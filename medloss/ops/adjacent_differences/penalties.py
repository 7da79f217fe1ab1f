"""The penalties of steps between neighbours as the kernels number them."""

from __future__ import annotations

CODES = {("absolute", None): 0, ("magnitude", 1.0): 1, ("magnitude", 2.0): 2, ("isotropic", None): 3}
"""Penalties and exponents as the kernels number them."""


def code_of(penalty: str, shape: float) -> int | None:
    """The kernels' number of a penalty; None where they have none."""
    return CODES.get((penalty, shape if penalty == "magnitude" else None))
