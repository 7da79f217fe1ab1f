"""Folders that keep a library built at first use, and what is checked before one of them is believed.

A library is code that runs with the rights of the user, so that nobody else may have put it there. Owner and mode are
those of the open folder and of the open file, not those of a path: who can rename a folder above gains nothing.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medloss import _start
from medloss.ops import build

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PATIENCE = 900.0
"""Seconds that a process waits for another one that builds, before it builds for itself."""
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Refused(Exception):
    """A folder or a file that is not believed; the message says why."""


class Place(NamedTuple):
    """A folder for libraries, and whether the user named it."""

    path: Path
    asked: bool


def places() -> list[Place]:
    """Where a library may be kept, best first: ``$MEDLOSS_CACHE``, the user's cache, a folder beside temporary files.

    A relative ``MEDLOSS_CACHE`` is one of the folder in which medloss was imported.
    """
    found = []
    if asked := os.environ.get("MEDLOSS_CACHE"):
        found.append(Place(Path(_start.FOLDER, os.path.expanduser(asked)), True))
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    if os.path.isabs(base):  # "~" remains where there is neither HOME nor an entry of passwd
        found.append(Place(Path(base, "medloss"), False))
    if hasattr(os, "geteuid"):
        with contextlib.suppress(OSError):  # no folder for temporary files
            found.append(Place(Path(tempfile.gettempdir(), f"medloss-{os.geteuid()}"), False))
    return found


@contextlib.contextmanager
def opened(place: Place, make: bool = False) -> Iterator[int]:
    """The descriptor of a folder that is believed.

    Args:
        place: the folder.
        make: whether it is made where it is missing, for its owner alone.

    Raises:
        Refused: somebody else could have put something there.
        OSError: it is not there, or it is no folder.
    """
    if not hasattr(os, "O_DIRECTORY"):
        raise Refused("this system does not tell who may write a folder")
    if make:
        place.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(place.path, 0o700)
    folder = os.open(place.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(folder)
        if not place.asked and status.st_uid == os.geteuid() and status.st_mode & OTHERS_WRITE:
            # ours, as an earlier version made it under a wide umask; each file is looked at anyway
            os.fchmod(folder, stat.S_IMODE(status.st_mode) & ~OTHERS_WRITE)
            status = os.fstat(folder)
        _check(status, str(place.path))
        yield folder
    finally:
        os.close(folder)


def check_library(folder: int, name: str) -> None:
    """Refuse a library that others could have written, or whose content is not what its name says.

    Raises:
        Refused: the file is not believed.
        OSError: it cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as fault:
        if fault.errno == errno.ELOOP:
            raise Refused(f"{name} is a symbolic link") from fault
        raise
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{name} is no regular file")
        _check(status, name)
        plain = f"{name.rpartition('-')[0]}.so"
        if build.name_with_content(plain, file.read()) != name:
            raise Refused(f"{name} is damaged: its content has not the digest that its name tells")


def check_above(path: Path) -> None:
    """Refuse a folder that others could exchange for another one, as they can write one above it.

    Raises:
        Refused: they can.
    """
    for above in path.resolve().parents:
        status = above.stat()
        if not status.st_mode & stat.S_ISVTX:
            _check(status, str(above))


def _check(status: os.stat_result, name: str) -> None:
    if status.st_uid not in (os.geteuid(), 0):
        raise Refused(f"{name} belongs to another user (number {status.st_uid})")
    if status.st_mode & OTHERS_WRITE:
        raise Refused(f"{name} can be written by others (mode {stat.S_IMODE(status.st_mode):o}; chmod go-w mends it)")


_locks: set[int] = set()


@contextlib.contextmanager
def alone(folder: int, path: Path) -> Iterator[None]:
    """Wait until no other process builds in a folder. On a filesystem without locks nobody waits."""
    lock = _locked(folder, path)
    try:
        yield
    finally:
        if lock is not None:
            _locks.discard(lock)
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)  # at once, even if a process that was forked meanwhile has it, too
            os.close(lock)


def _locked(folder: int, path: Path) -> int | None:
    """The descriptor of the locked file, which the system unlocks if this process dies."""
    if fcntl is None:
        return None
    try:
        lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError:  # read-only or full: the build itself will say so
        return None
    _locks.add(lock)
    end, told = time.monotonic() + PATIENCE, False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > end:
                return lock
        except OSError:  # no locks here
            return lock
        if not told:
            logging.getLogger(__name__).warning("medloss waits: another process is building the library in %s", path)
            told = True
        time.sleep(0.1)


def _forget_locks() -> None:
    """In a forked process: the parent's locks are not ours, and must not outlive the parent."""
    for lock in _locks:
        with contextlib.suppress(OSError):
            os.close(lock)
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)
