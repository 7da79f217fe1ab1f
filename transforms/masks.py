"""Which voxels a loss counts, from ignore labels, fields of view and other masks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, ensure_tuple

from medloss.options import frozen
from medloss.transforms.inputs import as_tensor, like, naming, spatial_shape, type_of


class LossMask(Transform):
    """The mask of voxels that a loss should count, as every medloss loss takes it: ``loss(input, target, mask)``.

    A voxel counts if its label is none of the ignored ones *and* if it lies inside every further mask (a field of view,
    an organ, the slices that were annotated).

    Args:
        ignore: label value or values that mean "not annotated".
        replace: value that :meth:`clean` puts in place of the ignored ones, so that nothing downstream (a one-hot
            encoding, a metric) meets a label outside the classes.

    Shape:
        label ``C[spatial]``, further masks ``1[spatial]`` or ``K[spatial]`` of the same spatial shape, where values
        above 0 are inside (NaN is outside). The result is a bool array ``1[spatial]``; with several channels a voxel
        must pass in all of them.

    Raises:
        ValueError: if there is nothing to mask by, or the shapes differ.

    Example:
        >>> import torch
        >>> from medloss.transforms import LossMask
        >>> label = torch.tensor([[[0, 1, 255], [2, 255, 1]]])
        >>> seen = torch.tensor([[[1, 1, 1], [0, 1, 1]]])
        >>> mask = LossMask(ignore=255)
        >>> mask(label, seen)
        tensor([[[ True,  True, False],
                 [False, False,  True]]])
        >>> mask.clean(label)
        tensor([[[0, 1, 0],
                 [2, 0, 1]]])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(self, ignore: int | Sequence[int] | None = None, replace: int = 0) -> None:
        ignore, replace = frozen("ignore", ignore), frozen("replace", replace)
        self.ignore = () if ignore is None else tuple(ensure_tuple(ignore))
        if not all(isinstance(value, (int, np.integer)) for value in (*self.ignore, replace)):
            raise ValueError(f"ignore and replace must be label values (integers), not {ignore!r} and {replace!r}")
        if replace in self.ignore:
            raise ValueError(f"replace={replace} is itself one of the ignored labels {self.ignore}")
        self.replace = replace

    def __call__(self, label: NdarrayOrTensor, *masks: NdarrayOrTensor) -> NdarrayOrTensor:
        """The loss mask ``1[spatial]`` of ``label`` within ``masks``, of the same kind as ``label``."""
        if not self.ignore and not masks:
            raise ValueError("there is nothing to mask by: pass ignore=<label>, or at least one mask to the call")
        shape = spatial_shape(label, "label")
        counted = ~self._ignored(label).any(dim=0, keepdim=True)
        for number, mask in enumerate(masks, start=1):
            if spatial_shape(mask, f"mask {number}") != shape:
                raise ValueError(f"mask {number} has shape {tuple(mask.shape)}, but the label has {tuple(label.shape)}")
            inside = as_tensor(mask, f"mask {number}") > 0
            counted = counted & inside.all(dim=0, keepdim=True).to(counted.device)
        return like(counted, label, torch.bool)

    def clean(self, label: NdarrayOrTensor) -> NdarrayOrTensor:
        """``label`` with ``replace`` in place of the ignored values, as a new array of the same kind and type."""
        values = as_tensor(label, "label")
        cleaned = values.masked_fill(self._ignored(label), self.replace)
        return like(cleaned, label, type_of(label))

    def _ignored(self, label: NdarrayOrTensor) -> torch.Tensor:
        values = as_tensor(label, "label")
        ignored = torch.zeros(values.shape, dtype=torch.bool, device=values.device)
        for value in self.ignore:
            ignored |= values == value
        return ignored


class LossMaskd(MapTransform):
    """:class:`LossMask` for the label maps ``keys`` of a dictionary; each gets a mask of its own.

    Args:
        keys: keys of the label maps.
        mask_keys: where the loss masks are put, one for each of ``keys``.
        ignore: label value or values that mean "not annotated".
        within: keys of further masks, all of which a voxel must lie inside.
        replace: if given, the ignored values of the label map itself are replaced by this one. By default they stay.

    Example:
        >>> import torch
        >>> from medloss.transforms import LossMaskd
        >>> sample = LossMaskd("label", ignore=255, replace=0)({"label": torch.tensor([[[0, 1], [255, 2]]])})
        >>> sample["loss_mask"]
        tensor([[[ True,  True],
                 [False,  True]]])
        >>> sample["label"]
        tensor([[[0, 1],
                 [0, 2]]])
    """

    backend = LossMask.backend

    def __init__(
        self,
        keys: KeysCollection,
        mask_keys: KeysCollection = "loss_mask",
        ignore: int | Sequence[int] | None = None,
        within: KeysCollection = (),
        replace: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_keys = ensure_tuple(mask_keys)
        self.within = ensure_tuple(within)
        if len(self.mask_keys) != len(self.keys) or len(set(self.mask_keys)) != len(self.mask_keys):
            raise ValueError(f"mask_keys must name one mask for each of keys {self.keys}, but is {self.mask_keys}")
        if ignore is None and not self.within:
            raise ValueError("there is nothing to mask by: pass ignore=<label> or within=<key of a mask>")
        if ignore is None and replace is not None:
            raise ValueError(f"replace={replace} needs ignore=<label>: it says what the ignored labels become")
        self.mask = LossMask(ignore, replace=0 if replace is None else replace)
        self.replaces = replace is not None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        missing = [key for key in self.within if key not in result]
        if missing:
            raise KeyError(f"the data has no mask {missing}: its keys are {sorted(map(str, result))}")
        for key, mask_key in self.key_iterator(result, self.mask_keys):
            with naming(key):
                label = result[key]
                result[mask_key] = self.mask(label, *(result[other] for other in self.within))
                if self.replaces:
                    result[key] = self.mask.clean(label)
        return result
