"""Which images make the pairs: paired, unpaired, grouped, or all of them with an atlas."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from medloss.apps.common.errors import UserError
from medloss.apps.registration.config import Data
from medloss.apps.registration.sources import (
    LISTS,
    PairFiles,
    Source,
    listed_pairs,
    listed_sources,
    pair_of,
    same_names,
    sources_in,
)

__all__ = ["PairFiles", "TrainingPairs", "find_pairs", "read_pairs", "train_and_valid"]


class TrainingPairs(NamedTuple):
    """The pairs to train on: ``of(epoch)`` are those of an epoch, ``sources`` all that they are made of.

    ``fixed``: they are the same in every epoch.
    """

    of: Callable[[int], list[PairFiles]]
    sources: list[PairFiles]
    fixed: bool


def find_pairs(data: Data, split: str, seed: int) -> list[PairFiles]:
    """The pairs of a split, the same at each call.

    Raises:
        UserError: the split has no folder, or the folder is not as ``data.kind`` says.
    """
    if data.kind == "paired":
        return _paired(data, split)
    return KINDS[data.kind](_sources(data, split), data, random.Random(seed))


def train_and_valid(data: Data, seed: int) -> tuple[TrainingPairs, list[PairFiles]]:
    """Pairs to train on and to validate with: of valid/, or the last ``valid_fraction`` of the training data.

    Of unpaired images some are held out, of grouped ones some groups: no image is in both.
    """
    if data.kind == "paired":
        pairs, held = _apart(_paired(data, "train"), data, least=1)
        held = _paired(data, "valid") if data.split("valid") else held
        return TrainingPairs(lambda epoch: pairs, pairs, fixed=True), held
    make, sources = KINDS[data.kind], _sources(data, "train")
    groups = list(dict.fromkeys(each.group or each.name for each in sources))
    alone = data.kind == "atlas" or (data.kind == "grouped" and data.intra_group_prob == 1)
    learned, held_groups = _apart(groups, data, least=1 if alone else 2)
    learners = [each for each in sources if (each.group or each.name) not in set(held_groups)]
    valid = [each for each in sources if (each.group or each.name) in set(held_groups)]
    if valid and not learned:
        raise UserError("too few images to hold some out: give a valid/ folder or data.valid_fraction=0")
    valid = _sources(data, "valid") if data.split("valid") else valid
    varies = {"grouped": data.sample_image_in_group, "unpaired": data.pairs == "random"}.get(data.kind, False)

    def of(epoch: int) -> list[PairFiles]:
        return make(learners, data, random.Random(f"{seed} {epoch}"))

    first = of(0)
    single = [PairFiles(each.name, each.image, each.image, each.label, each.label, each.points, each.points)
              for each in learners]  # fmt: skip
    return (
        TrainingPairs(of if varies else lambda epoch: first, single if varies else first, fixed=not varies),
        make(valid, data, random.Random(seed)) if valid else [],
    )


def read_pairs(path: Path, data: Data) -> list[PairFiles]:
    """The pairs of a CSV or JSON list; paths are relative to it."""
    return listed_pairs(path, "test", data)


def _paired(data: Data, split: str) -> list[PairFiles]:
    found = []
    for folder in _folders(data, split):
        if folder.suffix.lower() in LISTS:
            found += listed_pairs(folder, split, data)
            continue
        fixed, moving = (
            {each.name: each for each in sources_in(folder, data, f"{side}_")} for side in ("fixed", "moving")
        )
        same_names(fixed, moving, (folder / "fixed_images", folder / "moving_images"))
        found += [pair_of(fixed[name], moving[name], name) for name in sorted(fixed)]
    return found


def _sources(data: Data, split: str) -> list[Source]:
    found = []
    for folder in _folders(data, split):
        if folder.suffix.lower() in LISTS:
            found += listed_sources(folder, split, data)
        else:
            found += sources_in(folder, data, groups=data.kind == "grouped")
    return found


def _folders(data: Data, split: str) -> list[Path]:
    folders = data.split(split)
    for folder in folders or [(data.root or Path(".")) / split]:
        if not folder.exists():
            raise UserError(f"there is no folder for the split {split!r}: expected {folder}")
    return folders


def _apart(items: Sequence, data: Data, least: int) -> tuple[list, list]:
    """The first ones, and the last that are held out; two at least where a pair is made of two."""
    if data.split("valid") or not data.valid_fraction or len(items) <= least:
        return list(items), []
    held = max(round(len(items) * data.valid_fraction), least)
    return list(items[: len(items) - held]), list(items[len(items) - held :])


def _unpaired(sources: list[Source], data: Data, drawn: random.Random) -> list[PairFiles]:
    if len(sources) < 2:
        raise UserError("there is one unpaired image: a pair needs two")
    chosen = list(itertools.permutations(sources, 2))
    if data.pairs == "random":
        chosen = drawn.sample(chosen, min(len(sources), len(chosen)))
    return [pair_of(fixed, moving) for fixed, moving in chosen]


def _atlas(sources: list[Source], data: Data, drawn: random.Random) -> list[PairFiles]:
    assert data.atlas is not None
    atlas = Source("atlas", data.atlas, data.atlas_label if data.labels else None, data.atlas_points)
    return [pair_of(atlas, each) for each in sources if each.image != data.atlas]


def _grouped(sources: list[Source], data: Data, drawn: random.Random) -> list[PairFiles]:
    """DeepReg's: one pair for each group, drawn within it or with another one; or all the pairs that there are."""
    groups: dict[str, list[Source]] = {}
    for each in sources:
        groups.setdefault(each.group, []).append(each)
    members = list(groups.values())
    if data.intra_group_prob < 1 and len(members) < 2:
        raise UserError(f"there is one group, and pairs between groups need two: {', '.join(groups)}")
    if not data.sample_image_in_group:
        inside = data.intra_group_prob == 1
        chosen = [pair for group in members for pair in _ordered(group, data)] if inside else _between(members)
    else:
        chosen = [pair for group in members for pair in _drawn(group, members, data, drawn)]
    if not chosen:
        raise UserError("no group has two images, and data.intra_group_prob=1 asks for pairs within groups")
    return [pair_of(fixed, moving) for moving, fixed in chosen]


def _drawn(
    group: list[Source], members: list[list[Source]], data: Data, drawn: random.Random
) -> list[tuple[Source, Source]]:
    """Moving and fixed image of one pair; none of a group with a single image."""
    if drawn.random() <= data.intra_group_prob:
        found = _ordered(group, data)
        return [drawn.choice(found)] if found else []
    other = drawn.choice([each for each in members if each is not group])
    return [(drawn.choice(group), drawn.choice(other))]


def _ordered(group: list[Source], data: Data) -> list[tuple[Source, Source]]:
    """All pairs (moving, fixed) of a group: forward has the moving image first in its order, backward the fixed one."""
    forward = list(itertools.combinations(group, 2))
    backward = [(later, earlier) for earlier, later in forward]
    return {"forward": forward, "backward": backward, "unconstrained": forward + backward}[data.intra_group_option]


def _between(members: list[list[Source]]) -> list[tuple[Source, Source]]:
    return [pair for one, other in itertools.permutations(members, 2) for pair in itertools.product(one, other)]


KINDS: dict[str, Callable[[list[Source], Data, random.Random], list[PairFiles]]] = {
    "unpaired": _unpaired,
    "grouped": _grouped,
    "atlas": _atlas,
}
"""How images become pairs, by ``data.kind``."""
