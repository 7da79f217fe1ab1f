"""The native library: found, checked and loaded, or built at first use. Nothing here raises; a reason is kept instead.

It is looked for beside this file (a wheel or ``pip install -e .`` puts it there), then in the caches of the user, then
built into the first of these that can take it. ``MEDLOSS_WITHOUT_NATIVE=1`` does without.

What is checked and what is loaded is one file: a cache is opened once, its entry is checked by this descriptor, and
loaded through it as ``/proc/self/fd/.../name``, since ``dlopen`` takes no descriptor. The folder's owner alone can
exchange the entry in between.
"""

from __future__ import annotations

import ctypes
import logging
import os
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from medloss.ops import build, cache

OPS = Path(__file__).resolve().parent
BUILD_TIME = "about two minutes of one core"
LEAST = {"v4": 4, "v3": 3, "base": 0}
"""What ``medloss_level`` of native.c must answer for an instruction set to run here."""
_log = logging.getLogger(__name__)


class Loaded(NamedTuple):
    """A library, where it lies and its instruction sets that run here, best first; or why there is none."""

    library: ctypes.CDLL | None
    path: Path | None = None
    levels: tuple[str, ...] = ()
    reason: str = ""


class Faults:
    """What stood in the way.

    Attributes:
        told: all of it.
        loud: what the user is told even where a library is found after all.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.loud: list[str] = []

    def add(self, text: str, loud: bool = True) -> None:
        """Keep the first line of one, once."""
        text = text.strip().splitlines()[0]
        if text not in self.told:
            self.told.append(text)
            self.loud += [text] if loud else []


_found: Loaded | None = None
_lock = threading.Lock()


def loaded() -> Loaded:
    """The library of this process. The first call finds or builds it, once, whatever the number of threads."""
    global _found
    if _found is not None:
        return _found
    with _lock:
        if first := _found is None:
            faults = Faults()
            _found = _reached(faults)
    if first:
        _tell(_found, faults)
    return _found


def would_be_built() -> bool:
    """Whether the first loss on the CPU would build the library: none is there, and a compiler is."""
    if _found is not None or os.environ.get("MEDLOSS_WITHOUT_NATIVE") == "1":
        return False
    faults = Faults()
    try:
        if _shipped(faults) or _cached(faults):
            return False
        build.compiler()
    except Exception:  # any: it cannot be built, and `loaded` says why at once
        return False
    return True


def _unlock() -> None:
    """In a forked process: the thread that was building is not there."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _tell(found: Loaded, faults: Faults) -> None:
    if found.library is None and os.environ.get("MEDLOSS_WITHOUT_NATIVE") != "1":
        text = (
            f"medloss has no native library, and the slower reference in PyTorch serves on the CPU: {found.reason}. "
            "A wheel brings the library, a C compiler builds it, MEDLOSS_WITHOUT_NATIVE=1 silences this."
        )
        try:
            warnings.warn(_printable(text), RuntimeWarning, stacklevel=3)
        except RuntimeWarning:  # warnings are errors here, and a loss does not fail for its speed
            _log.warning(_printable(text))
    elif faults.loud:
        _log.warning("medloss uses %s: %s", _printable(found.path), _printable("; ".join(faults.loud)))


def _printable(text: object) -> str:
    """Text that every stream takes: a path may hold bytes that are no UTF-8."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def _reached(faults: Faults) -> Loaded:
    if os.environ.get("MEDLOSS_WITHOUT_NATIVE") == "1":
        return Loaded(None, reason="MEDLOSS_WITHOUT_NATIVE=1 is set")
    try:
        return _shipped(faults) or _cached(faults) or _built(faults)
    except Exception as fault:  # any: the reference serves, and the reason is told
        text = str(fault).strip() if isinstance(fault, build.BuildError) else f"{type(fault).__name__}: {fault}"
        reasons = [*faults.told, (text or type(fault).__name__).splitlines()[0]]
        return Loaded(None, reason="; ".join(dict.fromkeys(reasons)))


def _shipped(faults: Faults) -> Loaded | None:
    """The library of a wheel or of an editable installation, which has every instruction set."""
    folder, digest = OPS / "_native", None
    try:
        digest = build.sources_digest(OPS)
        names = [build.library_name(OPS, digest=digest)]
    except (OSError, build.BuildError):  # sources that cannot be read are those of the library beside them
        names = sorted(path.name for path in folder.glob("libmedloss-*.so"))
    for name in names:
        try:
            if (folder / name).is_file():
                if _cut_short(folder / name):
                    raise cache.Refused("the file is cut short")
                return _accepted(ctypes.CDLL(str(folder / name)), folder / name, digest)
        except (OSError, cache.Refused) as fault:
            faults.add(f"{folder / name}: {fault}")
    return None


def _cut_short(path: Path) -> bool:
    """Whether an ELF file of 64 bits ends before its segments do, which ends a process by SIGBUS; False for others."""
    with path.open("rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
            return False  # what is no such file is refused by the loader of the system
        table, sections = struct.unpack_from("<QQ", header, 32)
        each, count, section, number = struct.unpack_from("<HHHH", header, 54)
        file.seek(table)
        entries = file.read(each * count)
        if each < 56 or len(entries) < each * count:
            return True
        places = (struct.unpack_from("<QQQQ", entries, at * each + 8) for at in range(count))
        ends = [offset + held for offset, _, _, held in places]
        return max([sections + section * number, *ends]) > path.stat().st_size


def _cached(faults: Faults) -> Loaded | None:
    """A library that an earlier process built."""
    for place in cache.places():
        try:
            with cache.opened(place) as folder:
                if found := _from_folder(folder, place, faults):
                    return found
        except FileNotFoundError:  # none was built there
            continue
        except (OSError, cache.Refused) as fault:
            faults.add(str(fault), loud=place.asked or isinstance(fault, cache.Refused))
    return None


def _from_folder(folder: int, place: cache.Place, faults: Faults) -> Loaded | None:
    for name in _candidates(folder):
        try:
            return _checked(folder, place.path / name)
        except (OSError, cache.Refused) as fault:
            faults.add(f"{place.path}: {fault}")
    return None


def _candidates(folder: int) -> Iterator[str]:
    """Libraries of these sources for this processor, whatever their content."""
    stem = build.library_name(OPS, _own_level()).removesuffix(".so")
    return (name for name in sorted(os.listdir(folder)) if name.startswith(f"{stem}-") and name.endswith(".so"))


def _checked(folder: int, path: Path) -> Loaded:
    """The library of a cache, loaded if it is what its name says, and nobody else can have written it."""
    cache.check_library(folder, path.name)
    through = f"/proc/self/fd/{folder}/{path.name}"
    if os.path.exists(through):
        library = ctypes.CDLL(str(path), handle=ctypes.CDLL(through)._handle)
    else:  # macOS: by its path, which nobody else can change either
        cache.check_above(path.parent)
        library = ctypes.CDLL(str(path))
    return _accepted(library, path, build.sources_digest(OPS))


def _accepted(library: ctypes.CDLL, path: Path, digest: str | None) -> Loaded:
    """The library with the instruction sets that run here; refused if it has none, or is of other sources."""
    try:
        library.medloss_sources.restype, library.medloss_level.restype = ctypes.c_char_p, ctypes.c_int
    except AttributeError as fault:
        raise cache.Refused(f"{path.name} is no library of medloss: {fault}") from fault
    if digest and library.medloss_sources() != digest.encode():
        raise cache.Refused(f"{path.name} was built from other sources")
    able, offered = library.medloss_level(), build.levels()
    levels = tuple(level for level in offered if LEAST[level] <= able and holds(library, level))
    if not levels:
        raise cache.Refused(f"{path.name} has no kernels for this processor")
    return Loaded(library, path, levels)


def holds(library: ctypes.CDLL, level: str) -> bool:
    """Whether a library was built for an instruction set; every one has the components."""
    return hasattr(library, f"components_f32_{level}")


def _built(faults: Faults) -> Loaded:
    """A library built here, by one process at a time, for this processor alone."""
    build.compiler()  # none: said before a folder is made
    for place in cache.places():
        try:
            with cache.opened(place, make=True) as folder, cache.alone(folder, place.path):
                return _from_folder(folder, place, Faults()) or _build_in(folder, place, faults)
        except (OSError, cache.Refused, build.FolderError) as fault:
            faults.add(str(fault), loud=place.asked)
    raise build.BuildError("no folder can keep the library")


def _build_in(folder: int, place: cache.Place, faults: Faults) -> Loaded:
    if not os.access(place.path, os.W_OK | os.X_OK):
        raise build.FolderError(f"{place.path} cannot be written")
    _log.warning(
        "medloss builds its native library in %s, once: %s. A wheel brings it built.%s",
        _printable(place.path),
        BUILD_TIME,
        _printable(f" ({'; '.join(faults.loud)})" if faults.loud else ""),
    )
    faults.loud.clear()
    damaged = list(_candidates(folder))
    path = build.build(OPS, place.path, _own_level(), with_content=True)
    for name in damaged:
        if name != path.name:
            os.unlink(name, dir_fd=folder)
    try:
        return _checked(folder, path)
    except (OSError, cache.Refused) as fault:  # another folder would not help
        raise build.BuildError(f"the library was built, but cannot be used: {fault}") from fault


def _own_level() -> str | None:
    """The best instruction set of those offered, by what torch found this processor to have, or a lower one if
    ``MEDLOSS_LEVEL`` asks for it; None where in doubt."""
    offered = list(build.levels())
    best = {"AVX512": "v4", "AVX2": "v3"}.get(torch.backends.cpu.get_cpu_capability(), "base")
    if best not in offered:
        return None
    wanted = os.environ.get("MEDLOSS_LEVEL")
    return wanted if wanted in offered[offered.index(best) :] else best
