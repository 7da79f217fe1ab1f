"""What the drop-ins of every peer share: names and orders of earlier releases, and what is handed on from the peer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any


def earlier_names(
    names: Mapping[str, str], then: Callable[[Any], None] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a method take keywords by the names of earlier releases; its signature stays as it is written.

    Args:
        names: today's name of each earlier one.
        then: called with the instance afterwards, where an earlier name was used: what it meant beside its value.
    """

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def renamed(self: Any, *args: Any, **kwargs: Any) -> Any:
            used = [name for name in names if name in kwargs]
            for name in used:
                if names[name] in kwargs:
                    raise TypeError(f"{name} is an earlier name of {names[name]}: give one of them")
                kwargs[names[name]] = kwargs.pop(name)
            result = method(self, *args, **kwargs)
            if used and then is not None:
                then(self)
            return result

        return renamed

    return decorate


def earlier_order(
    kind: type, inserted: Any, at: int = 0, seen_at: int = 0
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a constructor be called by position as before a parameter was put in front of others.

    Args:
        kind: a type that the argument at ``seen_at`` has in such a call, and never in today's.
        inserted: what the new parameter then is.
        at: its position, behind ``self``.
        seen_at: where to look.
    """

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(init)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            if len(args) > seen_at and isinstance(args[seen_at], kind):
                args = (*args[:at], inserted, *args[at:])
            init(self, *args, **kwargs)

        return __init__

    return decorate


def handing_on(here: str, module: str, names: Collection[str] | None = None) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that looks a name up in the peer, which is imported by the first such look.

    Args:
        here: the module.
        module: the peer's.
        names: which names are handed on; None: every public one that the peer's module has.
    """

    def __getattr__(name: str) -> Any:
        if name.startswith("_") or (names is not None and name not in names):
            raise AttributeError(f"module {here!r} has no attribute {name!r}")
        try:
            peer = import_module(module)
        except ImportError as fault:
            if names is None:
                raise AttributeError(f"module {here!r} has no attribute {name!r}") from fault
            package = module.partition(".")[0]
            raise ImportError(f"{name} is handed on from {package} itself, which cannot be imported") from fault
        return getattr(peer, name)

    return __getattr__
