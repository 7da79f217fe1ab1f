"""One subject of a data set, and what a data set says about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import strip_suffix
from medloss.apps.common.listing import LeftOut, split_channel


class Case(NamedTuple):
    """One subject.

    ``images``: one file, or one per channel. ``part`` (train, valid): "" leaves it to the split. ``annotated``: names
    of the classes that the label annotates, None for all. ``within``: a mask outside of which nothing counts.
    """

    id: str
    images: tuple[Path, ...]
    label: Path
    part: str = ""
    annotated: tuple[str, ...] | None = None
    within: Path | None = None

    @property
    def image(self) -> Path:
        """The file of the first channel, or of all."""
        return self.images[0]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the case."""
        return (*self.images, self.label, *([self.within] if self.within else []))


class Found(NamedTuple):
    """What a data set holds: its cases, the files that are left out, and what it declares itself (dataset.json)."""

    cases: list[Case]
    left_out: list[LeftOut]
    names: Mapping[str, int | Sequence[int]] = {}
    channels: tuple[str, ...] = ()
    ignore: int | None = None
    region_order: tuple[int, ...] | None = None


def in_order(case: str, files: Mapping[int, Path], count: int, names: Sequence[str]) -> tuple[Path, ...]:
    """The files of a case's channels.

    Raises:
        UserError: a channel is missing, by name; or there are more than ``count``.
    """
    if len(files) == 1 and 0 in files and split_channel(strip_suffix(files[0]))[1] is None:
        return (files[0],)  # all channels in one file, perhaps: its reader knows
    missing = [number for number in range(count) if number not in files]
    surplus = sorted(number for number in files if number >= count)
    if missing or surplus:
        told = [f"channel {number}{f' ({names[number]})' if number < len(names) else ''}" for number in missing]
        fault = f"{' and '.join(told)} missing" if missing else f"channel {surplus[0]} of {count} is one too many"
        raise UserError(f"case {case}: {fault}; it has {', '.join(str(path) for path in files.values())}")
    return tuple(files[number] for number in range(count))


def some(names: Sequence[str], count: int = 5) -> str:
    """The first names of many."""
    return ", ".join(names[:count]) + (f", ... ({len(names)} in all)" if len(names) > count else "")
