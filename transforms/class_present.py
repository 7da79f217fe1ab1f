"""Which classes were annotated in a sample, for the losses of partially labelled data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Transform
from torch import Tensor

from medloss.options import frozen


class ClassPresent(Transform):
    """The vector of the classes that were annotated, as :class:`medloss.MarginalDiceCELoss` and others take it:
    ``class_present=``.

    A class that is annotated and does not occur is present: "annotated, and there is none". That is why this is a fact
    about the data set a sample comes from, and nothing that its label map could tell.

    Args:
        classes: number of classes, the background included, which is always present.

    Shape:
        class numbers in, a bool tensor of ``N`` out; a batch of them is ``B N``.

    Raises:
        ValueError: a number that is no class.

    Example:
        >>> from medloss.transforms import ClassPresent
        >>> ClassPresent(4)([2, 3])
        tensor([ True, False,  True,  True])
    """

    def __init__(self, classes: int) -> None:
        classes = frozen("classes", classes)
        if not isinstance(classes, int) or classes < 2:
            raise ValueError(f"classes={classes!r} must be the number of classes, background included: at least 2")
        self.classes = classes

    def __call__(self, data: Sequence[int]) -> Tensor:
        """The vector of the annotated class numbers ``data``."""
        numbers = [int(each) for each in data]
        strange = [each for each in numbers if not 0 <= each < self.classes]
        if strange:
            raise ValueError(f"annotated classes {strange}: expected numbers from 0 to {self.classes - 1}")
        present = torch.zeros(self.classes, dtype=torch.bool, device="cpu")
        present[[0, *numbers]] = True
        return present


class ClassPresentd(Transform):
    """:class:`ClassPresent` for a dictionary: from a list of class numbers, or from the name of the data set.

    Args:
        key: what the sample holds: a sequence of class numbers, or a name that ``annotated`` lists.
        classes: as in :class:`ClassPresent`.
        annotated: name of a data set to the class numbers that were annotated in it.
        present_key: where the vector is put.

    Raises:
        KeyError: the sample has no such key, or ``annotated`` no such name.

    Example:
        >>> from medloss.transforms import ClassPresentd
        >>> known = ClassPresentd("source", 4, annotated={"liver": [1], "kidneys": [2, 3]})
        >>> known({"source": "kidneys"})["class_present"]
        tensor([ True, False,  True,  True])
    """

    def __init__(
        self,
        key: Hashable,
        classes: int,
        annotated: Mapping[str, Sequence[int]] | None = None,
        present_key: Hashable = "class_present",
    ) -> None:
        self.key, self.present_key = key, present_key
        self.present = ClassPresent(classes)
        self.vectors = None if annotated is None else {name: self.present(given) for name, given in annotated.items()}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        if self.key not in data:
            raise KeyError(f"the data has no {self.key!r}: its keys are {sorted(map(str, data))}")
        value = data[self.key]
        if self.vectors is None:
            return {**data, self.present_key: self.present(value)}
        if value not in self.vectors:
            raise KeyError(f"{self.key!r} is {value!r}, but annotated lists {sorted(self.vectors)}")
        return {**data, self.present_key: self.vectors[value].clone()}
