"""Compile every kernel ahead of time for one target, with the Triton that is on the path.

    python tests/compile_kernels.py [cuda:90 | hip:gfx942] [test_joint_histogram.py ...]

For what ``make test`` has no time for: another Triton (``make oldest-triton``) and AMD's GPUs. It says what fails to
compile and what spills. ``--stack``: bytes of stack that a kernel may use. Triton 3.6 gives 8 to two of them that spill
nothing; 3.7 gives none.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)
TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import torch  # noqa: E402

if any(name.startswith("hip:") for name in sys.argv[1:]):
    torch.version.hip = torch.version.hip or "made up"  # paths ask as they are imported

import triton  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton_harness import _catch_launches, _describe, _NoDevice  # noqa: E402


def target_of(name: str) -> GPUTarget:
    """``cuda:90`` or ``hip:gfx942``."""
    kind, arch = name.split(":")
    return GPUTarget(kind, int(arch) if kind == "cuda" else arch, 32 if kind == "cuda" else 64)


def launches_of(file: Path) -> dict[str, Any]:
    """The launches of a test file; none where it has no kernels of its own."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, "LAUNCHES", {})


def faults_of(label: str, launch: Any, made: list[Any], target: GPUTarget, stack: int) -> list[str]:
    """What is wrong about the kernels of a launch."""
    made.clear()
    try:
        launch.call()
    except Exception as error:  # any: the other launches are worth knowing of
        return [f"{label}: {type(error).__name__}: {str(error).strip()[-400:]}"]
    kernels = [_describe(kernel) for kernel in made] if target.backend == "cuda" else []
    return [f"{label}: {kernel} spills" for kernel in kernels if kernel.local or kernel.stack > stack]


def main() -> None:
    """Compile, and end with 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", default="cuda:90")
    parser.add_argument("files", nargs="*", help="of tests/ops/triton, all without any")
    parser.add_argument("--stack", type=int, default=0)
    given = parser.parse_intermixed_args()
    target, device = target_of(given.target), _NoDevice(0)
    device.target, device.get_current_device = target, lambda: 0
    triton.runtime.driver.set_active(device)
    made, faults, count = _catch_launches(), [], 0
    for file in sorted(given.files or [path.name for path in (TESTS / "ops" / "triton").glob("test_*.py")]):
        for label, launch in launches_of(TESTS / "ops" / "triton" / file).items():
            faults += faults_of(f"{file}, {label}", launch, made, target, given.stack)
            count += len(made)
    print("\n".join(faults))
    print(f"triton {triton.__version__}, {given.target}: {count} kernels compiled, {len(faults)} faults")
    sys.exit(bool(faults or not count))


if __name__ == "__main__":
    main()
