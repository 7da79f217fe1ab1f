"""Write ``medloss/functional.pyi``: ``python docs/stub.py``. Type checkers cannot see what is derived when it runs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from medloss.base import Loss
from medloss.functional import tensors_of
from medloss.options import REQUIRED, options
from medloss.registry import losses

STUB = Path(__file__).resolve().parent.parent / "medloss" / "functional.pyi"
HEAD = '''"""Losses as functions. Written by docs/stub.py; do not edit."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor

__all__ = [
{names}]
'''


def annotation(cls: type[Loss], name: str) -> str:
    """The type of an option, as the class body has it that is nearest."""
    found = next(annotations[name] for base in cls.__mro__ if name in (annotations := inspect.get_annotations(base)))
    return str(found)


def function(name: str, cls: type[Loss]) -> str:
    """The stub of one function: tensors by place, the mask, and options by name."""
    lines = [f"    {tensor}: Tensor," for tensor in tensors_of(cls)]
    lines += ["    /,", "    mask: Tensor | None = None,", "    *,"]
    for option, (default, _) in options(cls).items():
        shown = default is not REQUIRED and re.fullmatch(r"[\w.'\" ,()\[\]+-]{1,40}", repr(default))
        told = "" if default is REQUIRED else f" = {repr(default) if shown else '...'}"
        lines.append(f"    {option}: {annotation(cls, option)}{told},".replace("'", '"'))
    return "\n".join([f"def {name}(", *lines, ") -> Tensor: ..."])


def stub() -> str:
    """The whole file."""
    named = dict(sorted(losses().items()))
    head = HEAD.format(names="".join(f'    "{name}",\n' for name in named))
    return head + "\n" + "\n".join(function(name, cls) for name, cls in named.items()) + "\n"


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
