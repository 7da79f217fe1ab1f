"""Names of cases, which become names of files and folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from medloss.apps.common.errors import UserError

LONGEST = 180
"""Bytes of a name: file systems take 255, and suffixes such as ``_probabilities.nii.gz`` are added."""


def check_case_name(name: str, source: str) -> str:
    """``name`` without blanks around it, where it is one part of a path on any system.

    Args:
        name: as given.
        source: where it stands, for the message: ``pairs.csv, line 3``.

    Raises:
        UserError: empty, ``.`` or ``..``, too long, or with a slash, a colon or a control character.
    """
    name = name.strip()
    if not name:
        raise UserError(f"{source}: the name is empty")
    better = re.sub(r"[\x00-\x1f\x7f/\\:*?\"<>|]+", "_", name).strip("._ ")
    if re.search(r"[\x00-\x1f\x7f/\\:*?\"<>|]", name) or name in (".", "..") or name.startswith("."):
        fix = f"; write for instance {better}" if better else ""
        raise UserError(f"{source}: {name!r} cannot be the name of a case, since files and folders get that name{fix}")
    if len(name.encode()) > LONGEST:
        raise UserError(
            f"{source}: the name {name[:40]}... has {len(name.encode())} bytes, at most {LONGEST} are possible"
        )
    return name


def check_distinct(names: Sequence[str], source: str) -> None:
    """Raise UserError where two cases have the same name, also where only capitals differ (macOS, Windows)."""
    counts = Counter(name.casefold() for name in names)
    repeated = sorted({name for name in names if counts[name.casefold()] > 1})
    if repeated:
        raise UserError(
            f"{source}: several cases have the same id: {', '.join(repeated[:5])}; give each an id (a name) of its own"
        )
