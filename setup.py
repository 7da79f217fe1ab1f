"""Builds the native CPU library beside the Python files; everything else stands in ``setup.cfg``.

The library is C and C++ without Python or torch headers, so one wheel serves every Python and every torch of its
platform. Without a compiler of both the package is built without it, and the torch reference serves.
"""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def index_page() -> str:
    """The README as an index shows it, which has none of the checkout's files: no pictures, names in place of links.

    The changes of this version follow.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = re.sub(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n*", "", readme)
    readme = re.sub(r"\[([^\]]*)\]\((?!https?:|#)[^)]*\)", r"\1", readme)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1]
    return f"{readme.rstrip()}\n\n## Changes in {changes.rstrip()}\n"


def compile_native(package: Path) -> Path | None:
    """Compile the kernels found under ``package`` into ``package/ops/_native``; None without a compiler.

    ``MEDLOSS_WITHOUT_NATIVE=1`` leaves them out.
    """
    if os.environ.get("MEDLOSS_WITHOUT_NATIVE") == "1":
        return None
    builder = runpy.run_path(str(ROOT / "medloss" / "ops" / "build.py"))
    try:
        return builder["build"](package / "ops", package / "ops" / "_native")
    except builder["BuildError"] as fault:
        print(f"warning: medloss is built without its native library: {fault}")
        return None


class BuildPyWithKernels(build_py):
    """``build_py`` that puts the native library beside the modules (into the sources when editable)."""

    def run(self) -> None:
        super().run()
        self.native = compile_native(ROOT / "medloss" if self.editable_mode else Path(self.build_lib) / "medloss")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        native = [str(self.native)] if getattr(self, "native", None) else []
        return [*super().get_outputs(include_bytecode), *native]


class DistributionWithKernels(Distribution):
    """A distribution for one platform, whose files go beside platform libraries and not beside pure Python."""

    def has_ext_modules(self) -> bool:
        return True


class PlatformWheel(bdist_wheel):
    """A wheel for this platform and every Python 3, as the library has no Python ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


setup(
    distclass=DistributionWithKernels,
    cmdclass={"build_py": BuildPyWithKernels, "bdist_wheel": PlatformWheel},
    long_description=index_page(),
    long_description_content_type="text/markdown",
)
