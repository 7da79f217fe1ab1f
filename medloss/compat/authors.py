"""Where a loss differs from the public code of the people who proposed it, and how to have their number."""

from __future__ import annotations

from typing import NamedTuple


class AuthorsDifference(NamedTuple):
    """One difference between a loss of medloss and its authors' code (or code that is used in its place).

    Attributes:
        key: names the row, and the test that shows it.
        name: the loss.
        code: whose code.
        theirs: what their code does.
        ours: what the loss does by default.
        equal: the options, or the factor, that give their number; or that there is none.
        why: the reason.
    """

    key: str
    name: str
    code: str
    theirs: str
    ours: str
    equal: str
    why: str


def authors_differences() -> tuple[AuthorsDifference, ...]:
    """Every row: segmentation losses, then registration and image losses."""
    from medloss.compat import authors_images, authors_labels

    return tuple(AuthorsDifference(*row) for row in (*authors_labels.ROWS, *authors_images.ROWS))
