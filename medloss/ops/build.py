"""Compiles every ``cpu_kernel.cpp`` into one library. Standard library only: ``setup.py`` runs it.

Each kernel is compiled once per instruction set, with a suffix to its names, and the loader picks by the processor.
C++ is used for its templates alone: the C compiler links, and no library of C++ is asked for.
The library's name carries a digest of its sources, so that an edited kernel never meets a stale library.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

FLAGS = ("-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math")
# Never -ffast-math: compiled with it a NaN turns into a finite loss, linked with it denormals vanish process-wide.
LANGUAGES = {
    ".c": ("-std=gnu11", *FLAGS),
    ".cpp": ("-std=gnu++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", *FLAGS),
}
"""Suffixes of what is compiled, and the flags of each; what would need a library of C++ is switched off."""
SUFFIXES = (*LANGUAGES, ".h", ".hpp")
OPENMP = ("-fopenmp",)
SHORT_REMAINDERS = ("--param", "vect-epilogues-nomask=0", "--param", "max-completely-peel-times=12")
"""GCC's: what a vectorised loop leaves over, less than one vector, is neither vectorised again nor unrolled."""
TILED = ("confusion", "jaccard_extension", "pointwise", "power_sums", "region_loss", "region_sums", "squared_errors")
"""Kernels whose loops run through tiles of voxels, of which only the last has a remainder: a quarter smaller with
`SHORT_REMAINDERS`, and as fast. Those that run through rows of a volume have a remainder in each row."""
LEVELS = {
    "x86_64": {
        "v4": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
        "v3": ("-march=x86-64-v3",),
        "base": (),
    }
}
UNVECTORISED = ("components", "distance_map", "nth_largest")
"""Kernels that serve an x86-64 without AVX2, too; there torch is faster at what the others do."""

ROOM, LONGEST = 2**24, 900
"""Bytes that a build may want, where fewer are free the disk is to blame; seconds that one file may take."""


class BuildError(RuntimeError):
    """The native library cannot be built here; the message says why."""


class FolderError(BuildError):
    """A folder cannot take a library; another one may."""


def machine() -> str:
    """The processor's architecture, one name for each."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def levels() -> dict[str, tuple[str, ...]]:
    """Instruction sets that a library holds on this architecture, best first, with their compiler flags.

    ``MEDLOSS_BUILD_LEVELS=v3`` builds fewer, for the one who edits a kernel on a machine that runs no other.
    """
    offered = LEVELS.get(machine(), {"base": ()})
    wanted = os.environ.get("MEDLOSS_BUILD_LEVELS", "").split(",")
    return {level: flags for level, flags in offered.items() if level in wanted} or offered


def holds(kernel: str, level: str) -> bool:
    """Whether a library has a kernel at an instruction set."""
    return kernel in UNVECTORISED or (level, machine()) != ("base", "x86_64")


def sources(ops: Path) -> list[Path]:
    """Every kernel, in a fixed order."""
    return _files(ops, "*/cpu_kernel.*", tuple(LANGUAGES))


def _files(folder: Path, pattern: str, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.suffix in suffixes)


def _with_included(source: Path) -> list[bytes]:
    """What a source is made of: itself, and all that it includes by a name in quotes."""
    found: dict[Path, bytes] = {}
    left = [source]
    while left:
        path = left.pop().resolve()
        if path not in found and path.is_file():
            found[path] = path.read_bytes()
            left += [path.parent / name.decode() for name in re.findall(rb'#include "(.+?)"', found[path])]
    return [found[path] for path in sorted(found)]


def sources_digest(ops: Path) -> str:
    """A digest of all sources, which the library carries inside.

    Raises:
        OSError: there are none, or they cannot be read.
    """
    paths = [*_files(ops, "*", SUFFIXES), *_files(ops, "*/*", SUFFIXES)]
    if not paths:
        raise FileNotFoundError(f"there are no C sources in {ops}")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def library_name(ops: Path, only: str | None = None, digest: str | None = None) -> str:
    """The library's file name, which changes with any source, flag, system or architecture.

    Args:
        ops: the folder of the operators.
        only: the one instruction set that the library has; None where it has all.
        digest: that of the sources, where it is known already.
    """
    told = (
        digest or sources_digest(ops),
        LANGUAGES,
        SHORT_REMAINDERS,
        TILED,
        own_flags(),
        levels(),
        only,
        UNVECTORISED,
        sys.platform,
        machine(),
    )
    return f"libmedloss-{hashlib.sha256(repr(told).encode()).hexdigest()[:16]}.so"


def name_with_content(name: str, content: bytes) -> str:
    """A library's file name with a digest of its content, by which a damaged file is told from a sound one."""
    return f"{name.removesuffix('.so')}-{hashlib.sha256(content).hexdigest()[:32]}.so"


def own_flags() -> tuple[str, ...]:
    """Further flags for compiler and linker, by ``MEDLOSS_BUILD_FLAGS``: sanitizers, say."""
    return _words("MEDLOSS_BUILD_FLAGS")


def compiler() -> tuple[str, ...]:
    """The C compiler as a command: ``$CC``, which may be several words, or the first one found.

    Raises:
        BuildError: there is none.
    """
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if command := _command("CC") or (found and (found,)):
        return command
    raise BuildError("no C compiler found (looked for $CC, cc, gcc, clang)")


def _command(variable: str) -> tuple[str, ...]:
    named = os.environ.get(variable, "").strip()
    return (named,) if named and shutil.which(named) else _words(variable)


def _words(variable: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(os.environ.get(variable, "")))
    except ValueError as fault:
        raise BuildError(f"{variable}={os.environ[variable]!r} is not a command line: {fault}") from fault


def build(ops: Path, folder: Path, only: str | None = None, with_content: bool = False) -> Path:
    """Compile the kernels under ``ops`` into ``folder``; the library appears there whole or not at all.

    Args:
        ops: the folder of the operators.
        folder: where the library is put.
        only: the one instruction set that is wanted, by its name; all of the architecture's where it is None.
        with_content: whether its name carries a digest of its content, too.

    Raises:
        BuildError: no compiler, or it failed.
        FolderError: the folder cannot be made or written.
    """
    command = compiler()
    # the same one compiles C++, so that there is one OpenMP library
    compilers = {".c": command, ".cpp": _command("CXX") or (*command, "-x", "c++")}
    try:
        name, digest = library_name(ops, only), sources_digest(ops)
    except OSError as fault:
        raise BuildError(f"the sources cannot be read: {fault}") from fault
    with _scratch(folder) as scratch:
        try:
            built = _Build(ops, scratch, compilers, digest).library(only)
            built.chmod(0o755)  # whatever the umask: a library that others may write is not loaded
            target = folder / (name_with_content(name, built.read_bytes()) if with_content else name)
            os.replace(built, target)
        except OSError as fault:
            raise FolderError(f"{folder}: {fault}") from fault
        except BuildError as fault:
            if shutil.disk_usage(scratch).free < ROOM:
                raise FolderError(f"{folder} has no space left: {fault}") from fault
            raise
    return target


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder for objects inside ``folder``, removed at the end; those that killed builds left are removed, too."""
    host = re.sub(r"\W", "_", platform.node())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("building-*"):
            if _abandoned(left, host):
                shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(dir=folder, prefix=f"building-{host}-{os.getpid()}-"))
    except OSError as fault:
        raise FolderError(f"{folder} cannot be written: {fault}") from fault
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _abandoned(scratch: Path, host: str) -> bool:
    """Whether the process that made a folder of objects is no more; on another host, whether a day has passed."""
    name, process = [*scratch.name.split("-"), "", ""][1:3]
    try:
        if name == host and process.isdigit() and os.name == "posix":
            os.kill(int(process), 0)
            return False
        return time.time() - scratch.stat().st_mtime > 86400
    except ProcessLookupError:
        return True
    except OSError:
        return False


class _Build(NamedTuple):
    """One build: where the sources and the objects are, and who compiles, by the suffix of the source."""

    ops: Path
    scratch: Path
    compilers: dict[str, tuple[str, ...]]
    digest: str
    openmp: tuple[str, ...] = ()
    tiled: tuple[str, ...] = ()

    def library(self, only: str | None) -> Path:
        """The library, linked in the scratch folder."""
        # clang of macOS has no OpenMP: one thread then
        told = self._replace(openmp=self.known(OPENMP), tiled=self.known(SHORT_REMAINDERS))
        library = self.scratch / "library.so"
        told.run("-shared", *map(str, told.objects(only)), "-lm", "-o", str(library))
        return library

    def known(self, flags: tuple[str, ...]) -> tuple[str, ...]:
        """The flags, or none where the compiler does not take them."""
        with suppress(BuildError):
            probe = (str(self.ops / "native.c"), "-o", str(self.scratch / "probe.so"))
            self.run("-shared", "-fPIC", *flags, *self.own(), *probe)
            return flags
        return ()

    def own(self) -> tuple[str, ...]:
        """What the library says of itself."""
        return (f'-DMEDLOSS_SOURCES="{self.digest}"',)

    def objects(self, only: str | None) -> list[Path]:
        """Every kernel at every instruction set, compiled; a fault ends it at once."""
        jobs = [(self.ops / "native.c", "native.o", self.own())]
        for source in sources(self.ops):
            for level, flags in levels().items():
                kernel = source.parent.name
                if only in (None, level) and holds(kernel, level):
                    own = (*flags, *(self.tiled if kernel in TILED else ()), f"-DMEDLOSS_LEVEL={level}")
                    jobs.append((source, f"{kernel}_{level}.o", own))
        pool = ThreadPoolExecutor(_processors())
        try:
            return list(pool.map(lambda job: self.compiled(*job), jobs))
        finally:
            pool.shutdown(cancel_futures=True)

    def compiled(self, source: Path, name: str, flags: tuple[str, ...]) -> Path:
        """One source at one level, compiled anew or, with ``MEDLOSS_OBJECTS=folder``, taken from there if it stands."""
        kept = os.environ.get("MEDLOSS_OBJECTS")
        if not kept:
            return self.anew(source, name, flags)
        try:
            return self.kept(Path(kept), source, name, flags)
        except OSError as fault:
            raise BuildError(f"MEDLOSS_OBJECTS={kept}: {fault}") from fault

    def anew(self, source: Path, name: str, flags: tuple[str, ...]) -> Path:
        """The object of one source, compiled."""
        command = (*LANGUAGES[source.suffix], *flags, "-c", str(source), "-o", str(self.scratch / name))
        self.run(*command, suffix=source.suffix)
        return self.scratch / name

    def kept(self, folder: Path, source: Path, name: str, flags: tuple[str, ...]) -> Path:
        """An object of an earlier build, or one that is put there for a later one."""
        told = (shlex.join(self.compilers[source.suffix]), LANGUAGES[source.suffix] + own_flags(), self.openmp, flags)
        digest = hashlib.sha256(repr(told).encode())
        for content in _with_included(source):
            digest.update(content)
        found = folder / f"{digest.hexdigest()[:16]}_{name}"
        if not found.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            partial = found.with_suffix(f".{os.getpid()}")
            shutil.copyfile(self.anew(source, name, flags), partial)
            os.replace(partial, found)
        return found

    def run(self, *arguments: str, suffix: str = ".c") -> None:
        """Call the compiler of a language; its own scratch files go where ours are.

        What it says goes to a file: a process that another thread forks meanwhile would hold a pipe open, and wait for
        this build, which would wait for the end of the pipe.
        """
        compiler = self.compilers[suffix]
        command = (*compiler, *self.openmp, *arguments, *own_flags())  # the last word is the user's
        environment = {**os.environ, "TMPDIR": str(self.scratch)}
        try:
            with tempfile.TemporaryFile(dir=self.scratch) as said:
                # without close_fds there is no pipe of subprocess' own either
                done = subprocess.run(
                    command, stdout=said, stderr=said, timeout=LONGEST, check=False, env=environment, close_fds=False
                )
                said.seek(0)
                told = said.read().decode("utf-8", errors="replace").strip()
        except subprocess.TimeoutExpired as fault:
            raise BuildError(f"{compiler[0]} took more than {LONGEST} s at one file") from fault
        except OSError as fault:
            raise BuildError(f"{compiler[0]}: {fault}") from fault
        if done.returncode:
            told = told or f"exit status {done.returncode}"
            errors = [line for line in told.splitlines() if "error:" in line and "collect2" not in line]
            first = (errors or told.splitlines()[-1:])[0]
            raise BuildError(f"{compiler[0]} failed: {first}\n{shlex.join(command)}\n{told[-2000:]}")


def _processors() -> int:
    """How many compilers may run at once: the processors of this process, not those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":  # beside an installation that is told to leave it out, as ``make`` does
    try:
        print(build(Path(__file__).parent, Path(__file__).parent / "_native"))
    except BuildError as fault:
        print(f"note: there is no native library: {fault}")
