"""What ``medloss losses list``, ``show`` and ``time`` print."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence

from medloss.apps.common.errors import UserError
from medloss.apps.losses.describe import (
    example,
    formulas,
    from_where,
    options_in_words,
    plain,
    section,
    summary,
    text_of,
)
from medloss.apps.losses.find import TITLES, found
from medloss.apps.losses.formula_text import plain_formula
from medloss.base import Loss
from medloss.registry import losses

WIDTH = 100
EXPLAINED = 32
"""Voxels along each axis of the volume for which ``show`` asks which path runs."""


def loss_named(name: str) -> type[Loss]:
    """A loss by its name in YAML, a short name of the field, or its class.

    Raises:
        UserError: there is none; the message names the nearest one.

    >>> loss_named("lncc").__name__, loss_named("DiceCELoss").__name__
    ('LocalNormalizedCrossCorrelationLoss', 'DiceCELoss')
    """
    from medloss.config import loss_names
    from medloss.spelling import suggestion

    known = loss_names()
    by_class = {cls.__name__: cls for cls in known.values()}
    if name not in known and name not in by_class:
        hint = suggestion(name, [*known, *by_class])
        search = f"medloss losses list {shlex.quote(name)}" if found(None, [name]) else "medloss losses list"
        raise UserError(f"no loss is called {name!r}{hint if 'did you mean' in hint else f'; see {search}'}")
    return known.get(name) or by_class[name]


def listed(kind: str | None = None, words: Sequence[str] = (), width: int | None = None) -> Iterator[str]:
    """A line for each loss, by what it sees.

    Args:
        kind: one of what a loss sees; None: all.
        words: what must stand in the name, the text or the family of a loss.
        width: columns that a line may take, beyond which a text ends in "..."; None: it is whole.

    Raises:
        UserError: there is no such kind, or no such loss.
    """
    if kind is not None and kind not in TITLES:
        raise UserError(f"a loss sees one of {', '.join(TITLES)}; got {kind!r}")
    names = found(kind, words)
    if not names:
        among = f" of the kind {kind}" if kind else ""
        raise UserError(f"no loss{among} has {' and '.join(map(repr, words))} in its name, text or family")
    cut = False
    for each, members in names.items():
        yield f"{TITLES[each]}:"
        known, longest = losses(each), max(map(len, members))
        for name in members:
            told = plain(summary(text_of(known[name])))
            short = told if width is None else textwrap.shorten(told, max(20, width - longest - 4), placeholder=" ...")
            cut |= short != told
            yield f"  {name:{longest}}  {short}"
        yield ""
    if cut:
        yield "whole texts: medloss losses list WORD, medloss losses show NAME, or into a file or pipe"


def shown(cls: type[Loss]) -> Iterator[str]:
    """Everything about one loss: what it measures, formula, options in words, which path runs here and why."""
    from medloss.registry import snake_case

    text = text_of(cls)
    yield f"medloss.{cls.__name__}, in YAML {snake_case(cls.__name__)}"
    yield from _block(plain(summary(text)))
    for formula in formulas(text):
        yield ""
        for line in plain_formula(formula).splitlines():
            yield from textwrap.wrap(line, WIDTH, initial_indent="    ", subsequent_indent="        ")
    for name in ("Shape", "Range", "Limits"):
        if told := section(text, name):
            yield ""
            yield from _block(f"{name}: {plain(' '.join(told.split()))}")
    yield ""
    yield "Options:"
    for option in options_in_words(cls):
        source = from_where(option, cls)
        yield f"  {option.name} = {option.default}" + (f"   (of {source})" if source else "")
        yield from _block(plain(option.words), "      ")
    yield ""
    yield f"Which path runs here, for a volume of {EXPLAINED}^3 voxels:"
    yield from (f"  {line}" for line in path_of(cls).splitlines())
    yield ""
    yield from _block(f"References: {plain(' '.join(section(text, 'References').split()))}")
    yield ""
    yield example(text)


def path_of(cls: type[Loss], size: int = EXPLAINED) -> str:
    """What :func:`medloss.explain` says of a loss on the standard phantom."""
    import warnings

    from medloss import explain
    from medloss.apps.losses.phantom import scene

    loss, tensors = scene(cls, (size,) * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explain(loss, *tensors) or "plain torch: no operator of medloss is part of it"


def timed(name: str, size: int) -> Iterator[str]:
    """Time and memory of one step, ours and the peers', in a table."""
    import torch

    from medloss.apps.losses.measure import peaks, times

    (memory, faults), taken = peaks(name, size), times(name, size)
    yield f"{name} on {sizes_of(name, size)}, float32, forward and backward, {torch.get_num_threads()} threads"
    yield f"  {'':10} {'ms':>10} {'times ours':>11} {'memory':>8}"
    ours = taken["medloss"]["median_ms"]
    for who, each in taken.items():
        peak = f"{memory[who]:8.2f}" if who in memory else f"{'-':>8}"
        yield f"  {who:10} {each['median_ms']:10.2f} {each['median_ms'] / ours:11.1f} {peak}"
    yield "memory: the peak beyond the inputs, in units of the first tensor (1 is its gradient alone)"
    for who, why in faults.items():
        yield f"no memory{f' of {who}' if who else ''}: {why}"
    if len(taken) == 1:
        yield "no installed package has the same loss, as far as this command knows"


def sizes_of(name: str, size: int) -> str:
    """The standard phantom in words: batch, channels and voxels, and for labels the number of classes."""
    from medloss.apps.losses.phantom import kind_of, scene
    from medloss.config import loss_names

    cls = loss_names()[name]
    first = scene(cls, (size,) * 3).tensors[0]
    if kind_of(cls) == "points":
        return f"a batch of {first.shape[0]}, {first.shape[1]} points"
    batch, channels = first.shape[:2]
    named = {"label": "class", "image": "channel", "field": "component"}[kind_of(cls)]
    plural = "" if channels == 1 else "es" if named == "class" else "s"
    return f"a batch of {batch}, {channels} {named}{plural}, {size}^3 voxels"


def _block(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
