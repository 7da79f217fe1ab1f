"""Array and dictionary transforms that prepare what a loss needs, in the style of :mod:`monai.transforms`.

Each transform comes twice: ``Name`` works on one channel-first array (``C[spatial]``), ``Named`` on the entries of a
dictionary. NumPy arrays, tensors and :class:`monai.data.MetaTensor` go in; the same kind comes out, with its affine and
other meta data.
"""

from __future__ import annotations

try:
    import monai  # noqa: F401
except ModuleNotFoundError as fault:
    if fault.name != "monai":
        raise
    from medloss.extras import install_line

    needs = f"medloss.transforms needs MONAI, which is not installed: {install_line('transforms')}"
    raise ModuleNotFoundError(needs, name="monai") from None

from medloss.transforms.border_weights import BorderWeightMap, BorderWeightMapd
from medloss.transforms.class_present import ClassPresent, ClassPresentd
from medloss.transforms.class_stats import ClassCounts, ClassCountsd, ClassStats
from medloss.transforms.class_weights import ClassBalanceMap, ClassBalanceMapd, class_weights
from medloss.transforms.components import ComponentLabels, ComponentLabelsd
from medloss.transforms.distances import DistanceMap, DistanceMapd
from medloss.transforms.fields import WarpField, WarpFieldd
from medloss.transforms.labels import RemapLabels, RemapLabelsd
from medloss.transforms.loss_from_keys import LossFromKeys
from medloss.transforms.masks import LossMask, LossMaskd
from medloss.transforms.skeletons import SkeletonMap, SkeletonMapd
from medloss.transforms.soft_labels import SmoothLabels, SmoothLabelsd, SoftOneHot, SoftOneHotd
from medloss.transforms.sparse_slices import RandSparseSlices, RandSparseSlicesd

__all__ = [
    "BorderWeightMap",
    "BorderWeightMapd",
    "ClassBalanceMap",
    "ClassBalanceMapd",
    "ClassCounts",
    "ClassCountsd",
    "ClassPresent",
    "ClassPresentd",
    "ClassStats",
    "ComponentLabels",
    "ComponentLabelsd",
    "DistanceMap",
    "DistanceMapd",
    "LossFromKeys",
    "LossMask",
    "LossMaskd",
    "RandSparseSlices",
    "RandSparseSlicesd",
    "RemapLabels",
    "RemapLabelsd",
    "SkeletonMap",
    "SkeletonMapd",
    "SmoothLabels",
    "SmoothLabelsd",
    "SoftOneHot",
    "SoftOneHotd",
    "WarpField",
    "WarpFieldd",
    "class_weights",
]
