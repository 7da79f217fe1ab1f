"""What the network sees: pairs laid on one grid, with their labels and landmarks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from medloss.apps.common.batches import Batches
from medloss.apps.common.errors import UserError
from medloss.apps.registration.augment import augmented
from medloss.apps.registration.config import Augment, Data
from medloss.apps.registration.files import PairFiles, TrainingPairs
from medloss.apps.registration.geometry import INITIALISERS, grid_points, pull
from medloss.apps.registration.intensity import rescale
from medloss.apps.registration.loading import Files, all_classes, load_map
from medloss.apps.registration.output import Pair, as_tensor
from medloss.apps.registration.pyramid import grid_spacing, resize

__all__ = ["PairBatches", "PairDataset", "collate", "load_map", "prepare"]

NEIGHBOURS = 12
"""Files that stay in memory while pairs are read one after the other: those of a few pairs."""


class PairDataset(Dataset):
    """Prepared pairs, read once and kept in memory; see `prepare` for what each holds.

    Args:
        pairs: the pairs, or what the pairs of all epochs are made of.
        data: how they are prepared.
        sample: draw one of the regions anew each time.
        regions: ``"channels"``: label losses see them; ``"map"``: as integers, where only the Dice is asked for; None.
        augment: what is done at random to both images.
        changing: other pairs in each epoch (`PairBatches`), prepared when they are asked for.
    """

    def __init__(
        self,
        pairs: Sequence[PairFiles],
        data: Data,
        sample: bool = False,
        regions: str | None = "channels",
        augment: Augment | None = None,
        changing: bool = False,
    ) -> None:
        self.pairs, self.data, self.sample = list(pairs), data, sample
        self.regions, self.augment, self.changing = regions if data.labels else None, augment, changing
        self.cache: list[dict[str, Any]] | None = None
        self.files = Files(data)
        self.most = 0
        self.labelled = bool(self.regions) and any(pair.fixed_label and pair.moving_label for pair in self.pairs)

    def load(self) -> PairDataset:
        """Read and check everything now, so that a fault in the last file does not come an hour later."""
        classes = all_classes(self.pairs, self.data.labels, self.data.read) if self.regions else None
        self.files = Files(self.data, classes, None if self.changing else NEIGHBOURS)
        cache = []
        for each in self.pairs:
            pair = self.files.pair(self._wanted(each))
            if self.regions == "channels" and pair.fixed_label is not None:
                channels = pair.fixed_label.shape[0] if pair.fixed_label.ndim == 4 else 0
                self.most = max(self.most, len(pair.classes) if pair.classes is not None else channels)
            if not self.changing:
                cache.append(prepare(pair, self.data, self.regions))
        self.cache = cache
        return self

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int | PairFiles) -> dict[str, Any]:
        cache = self.load().cache if self.cache is None else self.cache
        assert cache is not None
        if isinstance(index, PairFiles) or self.changing:
            files = index if isinstance(index, PairFiles) else self.pairs[index]
            item = prepare(self.files.pair(self._wanted(files)), self.data, self.regions)
        else:
            item = dict(cache[index])
        if self.regions == "channels":
            item |= self._channels(item)
        if self.data.points:
            empty = item["spacing"].new_zeros(0, 3)
            item = {"fixed_points": empty, "moving_points": empty} | item
        return augmented(item, self.augment) if self.augment else item

    def _channels(self, item: dict[str, Any]) -> dict[str, Tensor]:
        """The regions of a pair, of which it has as many as every other one; empty ones where it lacks some."""
        sides = {key: item.get(key) for key in ("fixed_label", "moving_label")}
        region = None
        if self.sample and sides["fixed_label"] is not None:
            region = int(torch.randint(sides["fixed_label"].shape[0], ()))
        found = {}
        for key, given in sides.items():
            empty = item["fixed"].new_zeros(1 if self.sample else self.most, *item["fixed"].shape[1:])
            if given is not None and region is not None:
                empty = given[region : region + 1]
            elif given is not None:
                empty = torch.cat([given, empty[given.shape[0] :]])
            found[key] = empty
        return found if next(iter(found.values())).shape[0] else {}

    def _wanted(self, pair: PairFiles) -> PairFiles:
        """Without the files that nobody asks for."""
        if self.regions is None:
            pair = pair._replace(fixed_label=None, moving_label=None)
        return pair if self.data.points else pair._replace(fixed_points=None, moving_points=None)


class PairBatches(Batches):
    """Batches of the pairs of an epoch: their numbers where they are always the same, else the pairs themselves."""

    def __init__(self, pairs: TrainingPairs, size: int, seed: int, steps: int | None = None) -> None:
        self.pairs = pairs
        super().__init__(len(pairs.of(0)), size, seed, steps=steps)

    def __iter__(self) -> Iterator[list[Any]]:
        if self.pairs.fixed:
            yield from super().__iter__()
            return
        found = self.pairs.of(self.epoch)
        for batch in super().__iter__():
            yield [found[index % len(found)] for index in batch]


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack a batch; where pairs have unlike numbers of landmarks, ``points_mask`` tells the rows that hold one."""
    check_shapes([item["fixed"].shape for item in items])
    batch = {}
    for key in items[0]:
        values = [item[key] for item in items]
        if key.endswith(("label", "points")):
            most = max(value.shape[0] for value in values)
            values = [torch.cat([v, v.new_zeros(most - v.shape[0], *v.shape[1:])]) for v in values]
        batch[key] = torch.stack(values)
    if "fixed_points" in batch:
        counts = torch.tensor([[len(item["fixed_points"])] for item in items])
        batch["points_mask"] = (torch.arange(batch["fixed_points"].shape[1]) < counts).float()
    return batch


def check_shapes(shapes: Sequence[Sequence[int]]) -> None:
    """Raise UserError where fixed images of unlike shapes shall make a batch."""
    unlike = sorted({tuple(shape) for shape in shapes})
    if len(unlike) > 1:
        raise UserError(
            f"a batch of fixed images of unlike shapes {unlike}: set train.batch=1, or data.size to one grid"
        )


def prepare(pair: Pair, data: Data, regions: str | None = "channels") -> dict[str, Any]:
    """Lay the moving side on the fixed grid (or on ``data.size`` over it), intensities rescaled.

    Returns: ``fixed`` and ``moving`` ``(1, *grid)``, ``spacing`` ``(3,)`` in mm of that grid; with ``"channels"``
        ``fixed_label`` and ``moving_label`` ``(N, *grid)`` between 0 and 1, with ``"map"`` ``fixed_map`` and
        ``moving_map`` ``(1, *grid)`` of integers; ``fixed_points`` and ``moving_points`` ``(n, 3)`` in voxels of the
        grid.
    """
    fixed, moving = pair.fixed, pair.moving
    shape = data.size or fixed.array.shape
    points = grid_points(fixed.array.shape)
    initial = INITIALISERS[data.initialise](fixed, moving)
    matrix = np.linalg.inv(moving.affine) @ initial @ fixed.affine

    def on_grid(channels: Tensor, pulled: bool) -> Tensor:
        channels = pull(channels, matrix, points) if pulled else channels
        return resize(channels[None], shape)[0]

    item: dict[str, Any] = {
        "fixed": on_grid(rescale(as_tensor(fixed))[None], pulled=False),
        "moving": on_grid(rescale(as_tensor(moving))[None], pulled=True),
        "spacing": torch.tensor(grid_spacing(fixed.array.shape, fixed.spacing, shape)),
    }
    ratio = [(size - 1) / max(less - 1, 1) for size, less in zip(fixed.array.shape, shape, strict=True)]
    if pair.fixed_label is not None and pair.moving_label is not None and regions == "channels":
        item["fixed_label"] = on_grid(as_channels(pair.fixed_label, pair.classes), pulled=False)
        item["moving_label"] = on_grid(as_channels(pair.moving_label, pair.classes), pulled=True)
    elif pair.fixed_label is not None and pair.moving_label is not None and regions == "map":
        places = grid_points(shape) * torch.tensor(ratio, dtype=torch.float64).reshape(3, 1, 1, 1)
        item["fixed_map"] = pull(pair.fixed_label[None], np.eye(4), places, "nearest", fill=0)
        item["moving_map"] = pull(pair.moving_label[None], matrix, places, "nearest", fill=0)
    if pair.points is not None:
        to_fixed = np.linalg.inv(fixed.affine)
        for side, world, back in (("fixed", pair.points[0], np.eye(4)), ("moving", pair.points[1], initial)):
            item[f"{side}_points"] = _in_voxels(world, to_fixed @ np.linalg.inv(back), ratio)
    return item


def as_channels(label: Tensor, classes: Sequence[int] | None) -> Tensor:
    """Probabilities ``(N, i, j, k)`` of the ``classes`` of a map (no background), or of those channels of masks."""
    if label.ndim == 4:
        return (label if classes is None else label[list(classes)]).float()
    return torch.stack([label == value for value in classes or ()]).float()


def _in_voxels(world: np.ndarray, matrix: np.ndarray, ratio: Sequence[float]) -> Tensor:
    voxels = world @ matrix[:3, :3].T + matrix[:3, 3]
    return torch.tensor(voxels / np.asarray(ratio), dtype=torch.float32)
