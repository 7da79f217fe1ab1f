"""The kind of command line that every application makes: a flag is not shown as if it took a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
import typer.core


def _without_value(params: list[Any]) -> list[Any]:
    """The same parameters; typer would write ``<bool>`` behind a flag, ``--help`` too."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


class Command(typer.core.TyperCommand):
    """A command whose help shows flags as flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As typer's."""
        return _without_value(super().get_params(ctx))


class Group(typer.core.TyperGroup):
    """A group of commands whose help shows flags as flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As typer's."""
        return _without_value(super().get_params(ctx))


class App(typer.Typer):
    """A group with such commands; called without one it shows its help."""

    def __init__(self, **more: Any) -> None:
        super().__init__(cls=Group, no_args_is_help=True, **more)

    def command(self, name: str | None = None, **more: Any) -> Callable[[Any], Any]:
        """As typer's."""
        return super().command(name, cls=Command, **more)
