"""How the optional packages are installed; without torch, for the messages that name them."""

from __future__ import annotations


def install_line(extra: str) -> str:
    """The command that installs an extra of ``setup.cfg``, from an index and in a clone.

    >>> install_line("apps")
    "pip install 'medloss[apps]' (in a clone: pip install '.[apps]')"
    """
    return f"pip install 'medloss[{extra}]' (in a clone: pip install '.[{extra}]')"
