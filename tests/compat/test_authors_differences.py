"""Every row of the losses beside their authors' code has a test of its own, and every such test a row."""

from __future__ import annotations

import re
from pathlib import Path

from peer_differences import AUTHORS_DIFFERENCES

import medloss

TESTS = Path(__file__).resolve().parent.parent


def test_every_row_is_shown_and_every_test_is_of_one() -> None:
    rows = AUTHORS_DIFFERENCES
    keys = [row.key for row in rows]
    found = {
        name.replace("_", "-")
        for path in TESTS.glob("*/test_*.py")
        for name in re.findall(r"^def test_authors_(\w+)\(", path.read_text(encoding="utf-8"), re.M)
        if "authors" in path.name
    }
    assert len(set(keys)) == len(keys)
    assert set(keys) == found


def test_every_row_names_a_loss_and_says_everything() -> None:
    for row in AUTHORS_DIFFERENCES:
        assert all(row), row.key
        for name in row.name.split(", "):
            assert hasattr(medloss, name), name
