"""Faults of the input, as opposed to faults in this program, and what is told of them."""

from __future__ import annotations

import errno
import os
import sys

NO_MEMORY = ("not enough memory", "out of memory", "can't allocate memory", "Storage size calculation overflowed")
"""How torch's errors tell that memory is short."""


class UserError(Exception):
    """A fault in what the user gave: the message says what was given, what was expected and the likely fix.

    The command line prints it without a traceback and exits with code 2.
    """


def fault_of_the_input(error: BaseException) -> str | None:
    """What is told of an error that the user can mend; None where it is a fault in this program.

    A full disk, a place that cannot be written, a name that is too long (OSError) and too little memory are the
    user's to mend, as is every UserError and every fault in the configuration of a loss.
    """
    # Whoever raised a LossConfigError has imported medloss.config: looking it up here keeps ``--help`` free of torch.
    config = sys.modules.get("medloss.config")
    if isinstance(error, UserError) or (config is not None and isinstance(error, config.LossConfigError)):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        name = f" {os.fspath(error.filename)!r}" if isinstance(error.filename, (str, os.PathLike)) else ""
        return f"cannot read or write{name}: {error.strerror}; {_fix_of(error)}"
    if isinstance(error, MemoryError) or any(each in str(error) for each in NO_MEMORY):
        told = str(error).splitlines()[0] if str(error) else "no more memory"
        return f"out of memory ({told}); use smaller patches, batches or images (patch, batch, spacing), or more memory"
    return None


def _fix_of(error: OSError) -> str:
    """The likely fix of what the operating system refused."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return "a file stands where a folder is to be: give another place with --output"
    if isinstance(error, FileNotFoundError):
        return "check the path"
    if isinstance(error, PermissionError):
        return "give another place with --output, or change who may read and write it"
    if error.errno == errno.ENAMETOOLONG:
        return "give a shorter name"
    return "free some space, or give another place with --output"
