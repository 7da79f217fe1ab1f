"""The statistics that losses share, as operators of PyTorch. The only place with kernels, and without modules."""

from medloss.ops.differences import differences
from medloss.ops.dispatch import BackendError, backend
from medloss.ops.local_moments import local_moments
from medloss.ops.pointwise import pointwise
from medloss.ops.region_sums import Column, Terms, region_sums

__all__ = [
    "BackendError",
    "Column",
    "Terms",
    "backend",
    "differences",
    "local_moments",
    "pointwise",
    "region_sums",
]
