"""Whether volumes may be mirrored left to right in training: only where no two classes are sides of one organ."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator

import numpy as np

from medloss.apps.common.labels import load_labels
from medloss.apps.segmentation.data import Prepared

LOOKED_AT = 3  # cases whose labels are read for the places of the classes
LIKE = 1.5  # ratio of volumes up to which two classes may be sides of one organ
SIDE = re.compile(r"(^|[^a-z])(left|right|l|r|lh|rh)([^a-z]|$)")


def mirror_axes(prepared: Prepared) -> tuple[list[int], str]:
    """``[0]``, left-right, or none; and the reason.

    Two classes are taken for sides of one organ when their names say so, or when their volumes are alike and one lies
    to the left of the other rather than before or above it.
    """
    sided = [name for name in prepared.classes.names if SIDE.search(name.lower())]
    if sided:
        return [], f"Off: {sided[0]!r} names a side, and in a mirrored copy that name would be wrong."
    pair = next(_sides(prepared), None)
    if pair is not None:
        told = " and ".join(pair)
        return [], f"Off: {told} look like the left and the right one of an organ. If they are not, write [0]."
    return [0], "Left-right: no two classes look like sides of one organ. Write [] where a side means something else."


def _sides(prepared: Prepared) -> Iterator[tuple[str, str]]:
    classes, looks = prepared.classes, prepared.seen.looks
    volumes = [
        float(np.median([sum(look.counts.get(each, 0) for each in ids) * math.prod(look.spacing) for look in looks]))
        for ids in classes.ids
    ]
    alike = [
        (first, second)
        for first, second in itertools.combinations(range(len(volumes)), 2)
        if 0 < max(volumes[first], volumes[second]) < LIKE * min(volumes[first], volumes[second])
    ]
    if not alike:
        return
    places = np.stack([_places(prepared, number) for number in range(min(LOOKED_AT, len(prepared.train)))])
    for first, second in alike:
        apart = np.abs(places[:, first] - places[:, second])
        apart = apart[np.isfinite(apart).all(1)]
        if len(apart) and np.argmax(np.median(apart, 0)) == 0:
            yield classes.names[first], classes.names[second]


def _places(prepared: Prepared, number: int) -> np.ndarray:
    """The middle of each class of a case in mm, from left to right, back to front, below to above."""
    label = load_labels(prepared.train[number].label, prepared.config.data.read, prepared.classes.layers)
    middles = []
    for ids in prepared.classes.ids:
        voxels = np.argwhere(np.isin(label.array, ids))
        middle = voxels.mean(0) if len(voxels) else np.full(3, np.nan)
        middles.append(label.affine[:3, :3] @ middle + label.affine[:3, 3])
    return np.array(middles)
