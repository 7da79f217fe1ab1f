"""Compiles every ``kernel.c`` into the one shared library. Standard library only: ``setup.py`` runs this file alone.

Each kernel is compiled once per instruction set, with a suffix to its names, and the loader picks by the processor.
The library's name carries a digest of its sources, so that an edited kernel never meets a stale library.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math")
# Never -ffast-math: compiled with it a NaN turns into a finite loss, linked with it denormals vanish process-wide.
LEVELS = {
    "x86_64": {
        "v4": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
        "v3": ("-march=x86-64-v3",),
        "base": (),
    }
}
UNVECTORISED = ("components", "distance_map", "nth_largest")
"""Kernels that serve an x86-64 without AVX2, too; there torch is faster at what the others do."""


class BuildError(RuntimeError):
    """The native library cannot be built here; the message says why."""


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
    return sorted(ops.glob("*/kernel.c"))


def library_name(ops: Path, only: str | None = None) -> str:
    """The library's file name, which changes with any source, flag, system or architecture."""
    digest = hashlib.sha256(repr((FLAGS, levels(), only, UNVECTORISED, sys.platform, machine())).encode())
    for path in [*sorted(ops.glob("*.[ch]")), *sorted(ops.glob("*/*.[ch]"))]:
        digest.update(path.read_bytes())
    return f"libmedloss-{digest.hexdigest()[:16]}.so"


def build(ops: Path, folder: Path, only: str | None = None) -> Path:
    """Compile the kernels under ``ops`` into ``folder``; the library appears there whole or not at all.

    Args:
        ops: the folder of the operators.
        folder: where the library is put.
        only: the one instruction set that is wanted, by its name; all of the architecture's where it is None.

    Raises:
        BuildError: no compiler, or it failed.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise BuildError("no C compiler found (looked for $CC, cc, gcc, clang)")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / library_name(ops, only)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            built = _compile(compiler, ops, Path(scratch), only, ("-fopenmp",))
        except BuildError:  # clang of macOS has no OpenMP: one thread then
            built = _compile(compiler, ops, Path(scratch), only, ())
        os.replace(built, target)
    return target


def _compile(compiler: str, ops: Path, scratch: Path, only: str | None, openmp: tuple[str, ...]) -> Path:
    jobs = [(ops / "native.c", "native.o", ())]
    for source in sources(ops):
        for level, flags in levels().items():
            if only in (None, level) and holds(source.parent.name, level):
                jobs.append((source, f"{source.parent.name}_{level}.o", (*flags, f"-DMEDLOSS_LEVEL={level}")))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda job: _object(compiler, ops, scratch, *job, openmp), jobs))
    library = scratch / "library.so"
    _run(compiler, "-shared", *openmp, *map(str, objects), "-lm", "-o", str(library))
    return library


def _object(
    compiler: str, ops: Path, scratch: Path, source: Path, name: str, flags: tuple[str, ...], openmp: tuple[str, ...]
) -> Path:
    """One source at one level, compiled anew or, with ``MEDLOSS_OBJECTS=folder``, taken from there if it stands."""
    command = (compiler, *FLAGS, *openmp, *flags, "-c", str(source))
    kept = os.environ.get("MEDLOSS_OBJECTS")
    if not kept:
        _run(*command, "-o", str(scratch / name))
        return scratch / name
    digest = hashlib.sha256(repr((compiler, FLAGS, openmp, flags)).encode())
    for path in (*sorted(ops.glob("*.h")), *sorted(source.parent.glob("*.[ch]"))):
        digest.update(path.read_bytes())
    found = Path(kept) / f"{digest.hexdigest()[:16]}_{name}"
    if not found.is_file():
        found.parent.mkdir(parents=True, exist_ok=True)
        _run(*command, "-o", str(scratch / name))
        shutil.copyfile(scratch / name, found.with_suffix(f".{os.getpid()}"))
        os.replace(found.with_suffix(f".{os.getpid()}"), found)
    return found


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise BuildError(f"{command[0]}: {fault}") from fault
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr.strip()[-2000:]}")


if __name__ == "__main__":  # beside an installation that is told to leave it out, as ``make`` does
    try:
        print(build(Path(__file__).parent, Path(__file__).parent / "_native"))
    except BuildError as fault:
        print(f"note: there is no native library: {fault}")
