"""The folder in which the program imported medloss, from which a relative path in the environment counts."""

from __future__ import annotations

import os


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:  # the working directory was removed
        return os.sep


FOLDER = _here()
