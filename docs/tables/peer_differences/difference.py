"""What a row of the tables says."""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """One difference between a drop-in and its peer.

    Attributes:
        key: names the row, and the test that shows both numbers.
        peer: the package.
        name: the losses, or the part of their interface.
        when: the call that shows it.
        theirs: what the peer does.
        ours: what the drop-in does.
        why: the reason.
    """

    key: str
    peer: str
    name: str
    when: str
    theirs: str
    ours: str
    why: str


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
