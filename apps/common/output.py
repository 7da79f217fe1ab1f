"""Files that are either whole or absent, and the folder that a training run leaves behind."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from medloss.apps.common.errors import UserError
from medloss.apps.common.notes import note

UNFINISHED = ".medloss-unfinished-"
"""How the folders begin in which files are written, before the machine and the process that write them."""
PACKAGES = ("medloss", "torch", "monai", "pytorch-ignite", "numpy", "nibabel", "itk-io")


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` with the same suffixes; it takes the name ``path`` only on success.

    A reader therefore sees the old file or the complete new one, and a failure leaves nothing behind. Where a format
    puts a second file beside it (the voxels of a ``.mhd``), that one comes first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_own_prefix()}{os.getpid()}-", dir=path.parent))
    try:
        yield folder / path.name  # the same name, so that writers see the suffix (.nii.gz) they go by
        for other in sorted(each for each in folder.iterdir() if each.name != path.name):
            os.replace(other, path.with_name(other.name))
        os.replace(folder / path.name, path)
    finally:
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()


def check_no_input(output: Path, inputs: Iterable[Path]) -> None:
    """Raise UserError where the output would replace a file that it is made of."""
    if output.resolve() in {each.resolve() for each in inputs}:
        raise UserError(f"{output} would replace its own input; give another place with --output")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left of unfinished files below ``folder``, to which nobody else writes."""
    for left in folder.rglob(f"{UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Remove unfinished files below ``folder`` of processes of this machine that no longer run; others may write it."""
    for left in folder.rglob(f"{_own_prefix()}*"):
        number = left.name.removeprefix(_own_prefix()).split("-")[0]
        if number.isdigit() and not _is_running(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _own_prefix() -> str:
    return f"{UNFINISHED}{re.sub(r'[^A-Za-z0-9]', '', platform.node())[:40]}-"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 asks, and sends nothing
    except ProcessLookupError:
        return False
    except OSError:  # it runs, as another user
        return True
    return True


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, obj: Any) -> None:
    """Write ``obj`` as indented JSON, atomically; numbers JSON does not know (NaN, infinities) become null."""
    write_text(path, json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``rows`` as CSV, atomically; the columns are all the keys met, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path | str) -> list[dict[str, str]]:
    """Read what :func:`write_csv` wrote: one dictionary of strings per row."""
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def read_json(path: Path | str) -> Any:
    """What :func:`write_json` wrote; None where there is no such file, or it is no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def digest_of(path: Path | str) -> str:
    """SHA-256 of a file, of a volume in an HDF5 file, or of the files in a folder in order of their names, in hex."""
    from medloss.apps.common.hdf5 import digest_in_hdf5, is_in_hdf5

    path, digest = Path(path), hashlib.sha256()
    if is_in_hdf5(path):
        return digest_in_hdf5(path)
    for file in sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]:
        with file.open("rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run: ``config.yaml``, ``environment.json``, ``log.txt``, ``checkpoints/``, ``previews/`` ..."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def previews(self) -> Path:
        return self.path / "previews"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @classmethod
    def create(cls, path: Path | str, config: str = "", **facts: Any) -> RunFolder:
        """Make the folder and write ``config.yaml`` (text ``config``) and ``environment.json`` (with ``facts``).

        Nothing is ever overwritten: where ``path`` exists and is not empty, ``path-2``, ``path-3``, ... is made. Two
        processes never get the same folder.
        """
        run = cls(_claim(Path(path).absolute(), config))
        write_json(run.path / "environment.json", {**environment(), **facts})
        return run

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """The run that stands at ``path``; a UserError says so when it is none."""
        run = cls(Path(path))
        if not run.path.is_dir():
            raise UserError(f"run folder {run.path} does not exist; give the folder that train printed")
        if not run.config.is_file():
            raise UserError(f"{run.path} is not a run folder: it holds no config.yaml")
        return run

    def log(self, message: str) -> None:
        """Print ``message`` and append it, with the time, to ``log.txt``; of several processes the first one does."""
        from tqdm import tqdm

        self._tell(message, tqdm.write)

    def note(self, message: str) -> None:
        """The same of ``note: message``, on standard error; a message that was printed before is not printed again."""
        self._tell(f"note: {message}", lambda _: note(message))

    def _tell(self, line: str, show: Callable[[str], None]) -> None:
        from medloss.apps.common import processes

        if not processes.is_main():
            return
        show(line)
        with (self.path / "log.txt").open("a", encoding="utf-8") as stream:
            stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")

    def best(self) -> Path | None:
        """The best checkpoint: the first of ``best.json`` that exists; None when there is none."""
        listed = read_json(self.path / "best.json")
        names = listed if isinstance(listed, list) else []
        return next((file for name in names if (file := self.checkpoints / Path(str(name)).name).is_file()), None)


@contextlib.contextmanager
def opened_first(run: RunFolder) -> Iterator[RunFolder]:
    """Within the block a new run folder is filled; where that fails, and nothing but its description was written, it
    goes again.
    """
    try:
        yield run
    except BaseException:
        if {each.name for each in run.path.iterdir()} <= {"config.yaml", "environment.json"}:
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def environment() -> dict[str, Any]:
    """What is needed to repeat a run: versions, commit, device and command line."""
    import torch

    cuda = torch.cuda.is_available()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_commit": _git_commit(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": torch.get_num_threads(),
    }


def _claim(path: Path, config: str) -> Path:
    """A new folder ``path``, or ``path-2``, ...; an empty one that stands is taken by the first who describes it."""
    if path.exists() and not path.is_dir():
        raise UserError(f"cannot make the folder {path}: a file of that name exists; give another --output")
    path.parent.mkdir(parents=True, exist_ok=True)
    for count in itertools.count(1):
        candidate = path if count == 1 else path.with_name(f"{path.name or 'run'}-{count}")
        if candidate.is_dir() and any(candidate.iterdir()):
            continue
        with contextlib.suppress(FileExistsError):
            candidate.mkdir(exist_ok=True)
            _write_first(candidate / "config.yaml", config)
            return candidate
    raise AssertionError("unreachable")


def _write_first(path: Path, text: str) -> None:
    """Write a file whole or not at all, of several writers the first; FileExistsError for the others."""
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=path.parent) as folder:
        written = Path(folder) / path.name
        written.write_text(text, encoding="utf-8")
        try:
            os.link(written, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            os.replace(written, path)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Commit of the checkout that this code runs from; None for an installed wheel or without git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _plain(obj: Any) -> Any:
    """Plain Python for JSON: numpy and torch scalars and arrays, paths and named tuples included."""
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if hasattr(obj, "tolist"):
        return _plain(obj.tolist())
    if isinstance(obj, (list, tuple, set)):
        return [_plain(value) for value in obj]
    if isinstance(obj, float):
        return obj if obj - obj == 0 else None
    return obj if obj is None or isinstance(obj, (str, int, bool)) else str(obj)
