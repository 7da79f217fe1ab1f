"""The classes of a segmentation: names, the ids they have in the files, and what the network and the loss see of them.

One meaning for data, loss, metrics and ``evaluate``: a class (or region) is the set of voxels whose id in the file is
one of its ids, and voxels with the ignore label count nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medloss.apps.common.errors import UserError
from medloss.apps.common.output import read_json, write_json

NAMES_FILE = "labels.json"
"""The classes of a folder of masks, as ``medloss segment predict`` writes them."""
IGNORE = "ignore"

Labels = Mapping[str, int | Sequence[int]]


@dataclass(frozen=True)
class Classes:
    """Names with their ids in the files, exclusive classes or regions that overlap.

    A label volume and a prediction hold the same small numbers, ``index`` 0 to ``indices - 1``, 0 for the background.
    Exclusive: index ``c`` is class ``names[c - 1]`` and channel ``c`` of the network, whose channel 0 is background.
    Regions: an index stands for one id of the files, channel ``r`` of the network is region ``names[r]``, and
    ``order[r]`` is the id that a mask gets where that region is found, the largest region first.
    Regions in 4D files of ``layers`` volumes, one for each: the ids are sums of 2^r, and a mask is such a file, too.
    """

    names: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    ignore: int | None = None
    order: tuple[int, ...] = ()
    layers: int = 0

    @classmethod
    def from_mapping(
        cls, labels: Labels, ignore: int | None = None, order: Sequence[int] | None = None, layers: int = 0
    ) -> Classes:
        """From ``{name: id}`` or ``{name: [id, id]}``: several ids are one class, or a region where they overlap.

        ``order``: the id that is written for each region (nnU-Net's ``regions_class_order``); by default the first id
        of a region that no smaller region holds.

        Raises:
            UserError: an order that does not fit, or a region that no id stands for.
        """
        ids = tuple((value,) if isinstance(value, int) else tuple(value) for value in labels.values())
        classes = cls(tuple(labels), ids, ignore)
        flat = [each for group in ids for each in group]
        if len(set(flat)) == len(flat) and not order:
            return classes
        given = tuple(order) if order else classes._default_order()
        if len(given) != len(ids) or len(set(given)) != len(given) or not set(given) <= set(flat):
            raise UserError(
                f"data.region_order {list(given)}: expected one id for each of the regions {', '.join(labels)}, "
                f"each once, out of {sorted(set(flat))}"
            )
        return cls(tuple(labels), ids, ignore, given, layers)

    @property
    def exclusive(self) -> bool:
        """Whether a voxel has one class at most."""
        return not self.order

    @property
    def count(self) -> int:
        """Number of channels of the network: the classes and the background, or the regions."""
        return len(self.names) + 1 if self.exclusive else len(self.names)

    @property
    def indices(self) -> int:
        """Number of indices, the background's 0 included."""
        return len(self.to_ids())

    def to_channels(self) -> dict[int, int]:
        """File id to index; the ignore label becomes :attr:`ignore_channel`."""
        if self.exclusive:
            mapping = {0: 0} | {each: index for index, group in enumerate(self.ids, 1) for each in group}
        else:
            mapping = {int(each): index for index, each in enumerate(self.to_ids())}
        return mapping if self.ignore is None else {**mapping, self.ignore: self.ignore_channel}

    @property
    def ignore_channel(self) -> int:
        """The index that stands for the ignore label: the first that nothing else has."""
        return self.indices

    def to_ids(self) -> np.ndarray:
        """Look-up table from index to file id (the first one of a merged class), in the smallest integer dtype."""
        firsts = [group[0] for group in self.ids]
        table = np.array([0, *(firsts if self.exclusive else sorted({each for ids in self.ids for each in ids}))])
        smallest = np.uint8 if table.min() >= 0 and table.max() < 256 else np.int16
        return table.astype(smallest if np.array_equal(table.astype(smallest), table) else np.int32)

    def members(self) -> torch.Tensor:
        """Which index belongs to which name: bool, indices x names."""
        table = self.to_ids()
        return torch.tensor([[int(each) in ids for ids in self.ids] for each in table.tolist()], dtype=torch.bool)

    def target(self, label: torch.Tensor) -> torch.Tensor:
        """What the loss compares with: indices B 1 [spatial] as they are, or of regions memberships B R [spatial]."""
        if self.exclusive:
            return label
        table = self.members().T.to(label.device)  # regions x indices
        return torch.cat([row[label.long()] for row in table], 1)

    def decide(self, scores: torch.Tensor) -> torch.Tensor:
        """From logits N [...] to indices [...]: the largest one, or region by region (above 0), the largest first."""
        if self.exclusive:
            return scores.argmax(0).to(torch.uint8 if self.indices <= 256 else torch.int32)
        if self.layers:  # the index is the sum of 2^r itself
            bits = 1 << torch.arange(self.layers, device=scores.device).view(-1, *[1] * (scores.ndim - 1))
            return ((scores > 0) * bits).sum(0).to(torch.uint8)
        index_of = {int(each): index for index, each in enumerate(self.to_ids())}
        found = torch.zeros(scores.shape[1:], dtype=torch.uint8, device=scores.device)
        for region in self._painting():
            found[scores[region] > 0] = index_of[self.order[region]]
        return found

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """From logits N [...] to probabilities: of classes that add up to one, or of each region."""
        return torch.softmax(scores, 0) if self.exclusive else torch.sigmoid(scores)

    def mask_of(self, array: np.ndarray, name: str) -> np.ndarray:
        """The voxels of a file's ids that belong to a class or region."""
        return np.isin(array, self.ids[self.names.index(name)])

    def counted(self, array: np.ndarray) -> np.ndarray:
        """The voxels of a reference that count: all but those of the ignore label."""
        return np.ones(array.shape, bool) if self.ignore is None else array != self.ignore

    def describe(self) -> dict[str, int | list[int]]:
        """``{name: id}`` or ``{name: [id, id]}``, from which :meth:`from_mapping` makes the same classes."""
        return {name: list(ids) if len(ids) > 1 else ids[0] for name, ids in zip(self.names, self.ids, strict=True)}

    def _painting(self) -> list[int]:
        """The regions in the order in which they are written: a smaller one overwrites a larger one."""
        return sorted(range(len(self.ids)), key=lambda region: -len(self.ids[region]))

    def _default_order(self) -> tuple[int, ...]:
        painting, order = self._painting(), {}
        for place, region in enumerate(painting):
            smaller = {each for later in painting[place + 1 :] for each in self.ids[later]}
            own = [each for each in self.ids[region] if each not in smaller]
            if not own:
                raise UserError(
                    f"data.labels: every id of {self.names[region]} {list(self.ids[region])} belongs to another region "
                    "that is written over it; give data.region_order, one id for each region"
                )
            order[region] = own[0]
        return tuple(order[region] for region in range(len(self.ids)))


def write_classes(folder: Path, classes: Classes) -> None:
    """Leave the classes beside masks, for :func:`read_classes`."""
    content: dict[str, Any] = {"labels": classes.describe(), IGNORE: classes.ignore}
    content |= {} if classes.exclusive else {"region_order": list(classes.order)}
    write_json(folder / NAMES_FILE, content | ({"layers": classes.layers} if classes.layers else {}))


def read_classes(folder: Path) -> Classes | None:
    """The classes that ``predict`` left in a folder of masks, its run's ignore label included; None elsewhere.

    Raises:
        UserError: the file is there and is not what ``predict`` writes.
    """
    file = folder / NAMES_FILE
    if not file.is_file():
        return None
    content = read_json(file)
    try:
        labels = content["labels"] if isinstance(content.get("labels"), dict) else content  # an earlier version's
        checked = {str(name): [int(each) for each in np.atleast_1d(value)] for name, value in labels.items()}
        ignore = content.get(IGNORE) if labels is not content else None
        order, layers = content.get("region_order"), int(content.get("layers", 0)) if labels is not content else 0
        return Classes.from_mapping(checked, None if ignore is None else int(ignore), order, layers)
    except (ValueError, AttributeError, TypeError, UserError) as error:
        raise UserError(f"{file} must map label names to ids, as medloss segment predict writes it: {error}") from error
