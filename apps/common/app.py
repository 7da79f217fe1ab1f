"""The kind of command line that every application makes: a flag is not shown as if it took a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
import typer.core


class _Flags:
    """Of a command whose help shows flags as flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As typer's; it would write ``<bool>`` behind a flag, ``--help`` too."""
        params = super().get_params(ctx)  # type: ignore[misc]  # that of typer's class, which stands beside this one
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return params


class Command(_Flags, typer.core.TyperCommand):
    """A command."""


class Group(_Flags, typer.core.TyperGroup):
    """A group of commands."""


class App(typer.Typer):
    """A group with such commands; called without one it shows its help."""

    def __init__(self, **more: Any) -> None:
        super().__init__(cls=Group, no_args_is_help=True, **more)

    def command(self, name: str | None = None, **more: Any) -> Callable[[Any], Any]:
        """As typer's."""
        return super().command(name, cls=Command, **more)
