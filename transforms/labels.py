"""Renumbering the values of label maps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, get_equivalent_dtype
from torch import Tensor

from medloss.transforms.inputs import as_tensor, like, naming, type_of


class RemapLabels(Transform):
    """Replace label values by others, for instance scattered structure ids by a network's class indices ``0 .. N-1``.

    The whole volume is looked up at once, so the time does not grow with the number of labels. Chains are safe: with
    ``{1: 2, 2: 1}`` the two labels change places.

    Args:
        mapping: new value of each label, ``{source: target}``. Several sources may share a target.
        others: what happens to values that the mapping does not name: ``"raise"`` (default) an error, ``"keep"`` them,
            or an integer that replaces them all.
        dtype: type of the result (torch or NumPy). By default the input's, provided that it holds every target exactly.

    Shape:
        any shape, the same comes out. Integer, bool or float values; floats must hold whole numbers.

    Raises:
        ValueError: for a value outside the mapping with ``others="raise"``, for fractions and NaN among the labels, for
            targets that the type of the result cannot hold.

    Example:
        >>> import numpy as np
        >>> from medloss.transforms import RemapLabels
        >>> remap = RemapLabels({0: 0, 17: 1, 53: 1, 4: 2})
        >>> remap(np.array([[0, 17, 53, 4]], dtype=np.int16))
        array([[0, 1, 1, 2]], dtype=int16)

        From ids to class indices and back:

        >>> to_index = RemapLabels.to_indices([0, 41, 42])
        >>> index = to_index(np.array([[42, 0, 41]]))
        >>> index
        array([[2, 0, 1]])
        >>> to_index.inverse()(index)
        array([[42,  0, 41]])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(self, mapping: Mapping[int, int], others: str | int = "raise", dtype: Any = None) -> None:
        if not isinstance(mapping, Mapping) or not mapping:
            raise ValueError(f"mapping must be a non-empty {{source: target}} mapping of labels, not {mapping!r}")
        self.mapping = {_whole(source, "source"): _whole(target, "target") for source, target in mapping.items()}
        if isinstance(others, str) and others not in ("keep", "raise"):
            raise ValueError(f"others must be 'keep', 'raise' or an integer, not {others!r}")
        self.others = others if isinstance(others, str) else _whole(others, "others")
        self.dtype = dtype

    @classmethod
    def to_indices(cls, labels: Sequence[int], others: str | int = "raise", dtype: Any = None) -> RemapLabels:
        """The mapping that numbers ``labels`` by their place in the sequence: the first becomes 0."""
        labels = list(labels)
        if len(set(labels)) != len(labels):
            raise ValueError(f"labels must differ from each other, but are {labels}")
        return cls({label: index for index, label in enumerate(labels)}, others=others, dtype=dtype)

    def inverse(self, others: str | int | None = None, dtype: Any = None) -> RemapLabels:
        """The transform that gives each target its source back.

        Args:
            others: policy of the inverse for values that are no target. By default this transform's own, but ``"keep"``
                where this one replaces unnamed values by a number: what they were is lost.
            dtype: type of the result, as in the constructor: the sources may need a wider type than the targets.

        Raises:
            ValueError: if two sources share a target, naming them.
        """
        sources: dict[int, list[int]] = {}
        for source, target in self.mapping.items():
            sources.setdefault(target, []).append(source)
        shared = {target: group for target, group in sources.items() if len(group) > 1}
        if shared:
            target, group = next(iter(shared.items()))
            raise ValueError(f"this mapping has no inverse: labels {group} all become {target}")
        if others is None:
            others = self.others if isinstance(self.others, str) else "keep"
        return RemapLabels({target: group[0] for target, group in sources.items()}, others=others, dtype=dtype)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """``img`` with its values replaced, as a new array of the same kind."""
        values = as_tensor(img, "label")
        dtype = self._result_dtype(type_of(img))
        result = self._look_up(whole_numbers(values))
        return like(result.to(dtype), img, dtype)

    def _look_up(self, values: Tensor) -> Tensor:
        table = torch.tensor(sorted(self.mapping.items()), dtype=torch.int64, device=values.device)
        sources, targets = table[:, 0].contiguous(), table[:, 1]
        place = torch.searchsorted(sources, values.contiguous()).clamp_(max=len(sources) - 1)
        named = sources[place] == values
        if self.others == "raise" and not bool(named.all()):
            strange = _listed(values[~named].unique().tolist())
            raise ValueError(
                f"label holds values that the mapping does not name: {strange}. It names "
                f"{_listed(sorted(self.mapping))}. Add them to the mapping, or pass others='keep' or others=0"
            )
        unnamed = values if isinstance(self.others, str) else torch.full_like(values, self.others)
        return torch.where(named, targets[place], unnamed)

    def _result_dtype(self, given: torch.dtype) -> torch.dtype:
        dtype = given if self.dtype is None else get_equivalent_dtype(self.dtype, torch.Tensor)
        targets = [*self.mapping.values(), *([] if isinstance(self.others, str) else [self.others])]
        low, high = exact_range(dtype)
        if min(targets) < low or max(targets) > high:
            raise ValueError(
                f"the new labels run from {min(targets)} to {max(targets)}, but {dtype} holds {low} to {high} exactly: "
                "pass a wider dtype, such as dtype=torch.int32"
            )
        return dtype


class RemapLabelsd(MapTransform):
    """:class:`RemapLabels` for the entries ``keys`` of a dictionary.

    Example:
        >>> import torch
        >>> from medloss.transforms import RemapLabelsd
        >>> remap = RemapLabelsd("label", {0: 0, 10: 1, 20: 2})
        >>> remap({"label": torch.tensor([[0, 20, 10]])})
        {'label': tensor([[0, 2, 1]])}
    """

    backend = RemapLabels.backend

    def __init__(
        self,
        keys: KeysCollection,
        mapping: Mapping[int, int],
        others: str | int = "raise",
        dtype: Any = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.remap = RemapLabels(mapping, others=others, dtype=dtype)

    def inverse(self, others: str | int | None = None, dtype: Any = None) -> RemapLabelsd:
        """The transform of the same keys that gives each target its source back; see :meth:`RemapLabels.inverse`."""
        back = self.remap.inverse(others=others, dtype=dtype)
        return RemapLabelsd(self.keys, back.mapping, back.others, back.dtype, self.allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            with naming(key):
                result[key] = self.remap(result[key])
        return result


def whole_numbers(values: Tensor) -> Tensor:
    """Label values as int64.

    Raises:
        ValueError: if a float label holds a fraction (as after resampling a label map linearly), NaN or infinity.
    """
    if values.is_floating_point():
        whole = values.trunc() == values  # False for NaN
        whole &= values.abs() < 2.0**63  # and for infinity
        if not bool(whole.all()):
            raise ValueError(
                f"labels must be whole numbers, but {values[~whole].flatten()[0].item():g} is among them: "
                "was the label map resampled linearly instead of by nearest neighbour, or is this the image?"
            )
    elif values.is_complex():
        raise ValueError("labels must be whole numbers, not complex ones")
    return values.to(torch.int64)


def _whole(number: Any, what: str) -> int:
    """``number`` as an int, where it is one in value: 3, np.int16(3) and 3.0, but not "3" or 3.5."""
    if isinstance(number, (int, float, np.integer, np.floating)) and float(number).is_integer():
        return int(number)
    raise ValueError(f"{what} must be a whole number, not {number!r}")


def exact_range(dtype: torch.dtype) -> tuple[int, int]:
    """The smallest and largest whole number up to which ``dtype`` holds every one."""
    if dtype == torch.bool:
        return 0, 1
    if dtype.is_floating_point:
        bound = round(2 / torch.finfo(dtype).eps)
        return -bound, bound
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def _listed(labels: Sequence[int], most: int = 10) -> str:
    """At most ten labels, and how many more there are."""
    text = ", ".join(str(label) for label in labels[:most])
    return text if len(labels) <= most else f"{text} and {len(labels) - most} more"
