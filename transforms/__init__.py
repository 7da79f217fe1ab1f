"""Array and dictionary transforms that prepare what a loss needs, in the style of :mod:`monai.transforms`.

Each transform comes twice: ``Name`` works on one channel-first array (``C[spatial]``), ``Named`` on the entries of a
dictionary. NumPy arrays, tensors and :class:`monai.data.MetaTensor` go in; the same kind comes out, with its affine and
other meta data.
"""

from __future__ import annotations

from medloss.transforms.fields import WarpField, WarpFieldd
from medloss.transforms.labels import RemapLabels, RemapLabelsd
from medloss.transforms.masks import LossMask, LossMaskd

__all__ = ["LossMask", "LossMaskd", "RemapLabels", "RemapLabelsd", "WarpField", "WarpFieldd"]
