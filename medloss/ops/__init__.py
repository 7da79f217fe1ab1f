"""The statistics that losses share, as operators of PyTorch. The only place with kernels, and without modules."""

from medloss.ops.adjacent_differences import adjacent_differences
from medloss.ops.calibration_error import calibration_error
from medloss.ops.components import components
from medloss.ops.confusion import confusion
from medloss.ops.differences import differences
from medloss.ops.dispatch import BackendError, backend
from medloss.ops.distance_map import border_distance, distance_map, nearest_source, signed_distance
from medloss.ops.global_moments import global_moments
from medloss.ops.gradient_alignment import gradient_alignment
from medloss.ops.hyperelastic import hyperelastic
from medloss.ops.jaccard_extension import jaccard_extension
from medloss.ops.jacobian import jacobian_determinant, jacobian_penalty
from medloss.ops.joint_histogram import joint_histogram
from medloss.ops.local_correlation import local_correlation
from medloss.ops.local_moments import local_error, local_moments, local_ssim
from medloss.ops.mind import mind
from medloss.ops.nth_largest import nth_largest
from medloss.ops.pointwise import pointwise
from medloss.ops.power_sums import power_sums
from medloss.ops.region_loss import region_loss, share_sums
from medloss.ops.region_sums import COLUMNS, Column, Terms, region_sums
from medloss.ops.resample import resample
from medloss.ops.soft_morphology import boundary_sums, erosion_hausdorff, max_pool, skeleton_sums, soft_skeleton
from medloss.ops.sorted_errors import sorted_errors
from medloss.ops.squared_errors import squared_errors

__all__ = [
    "COLUMNS",
    "BackendError",
    "Column",
    "Terms",
    "adjacent_differences",
    "backend",
    "border_distance",
    "boundary_sums",
    "calibration_error",
    "components",
    "confusion",
    "differences",
    "distance_map",
    "erosion_hausdorff",
    "global_moments",
    "gradient_alignment",
    "hyperelastic",
    "jaccard_extension",
    "jacobian_determinant",
    "jacobian_penalty",
    "joint_histogram",
    "local_correlation",
    "local_error",
    "local_moments",
    "local_ssim",
    "max_pool",
    "mind",
    "nearest_source",
    "nth_largest",
    "pointwise",
    "power_sums",
    "region_loss",
    "region_sums",
    "resample",
    "share_sums",
    "signed_distance",
    "skeleton_sums",
    "soft_skeleton",
    "sorted_errors",
    "squared_errors",
]
