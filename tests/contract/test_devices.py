"""Every loss on a GPU, without one: no tensor is left behind on the CPU, and no host waits for its GPU.

See ``tests/fake_gpu.py``: it follows devices, and computes nothing. What a GPU itself finds is in ``tests/ops/triton``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

import medloss

HARNESS = Path(__file__).resolve().parents[1] / "fake_gpu.py"
ALLOWED = {
    "reference": {"ops/components/reference.py": "components are numbered in rounds, until a round changes nothing"},
    "triton": {},
}
"""Way -> file -> why a host may wait for its GPU there."""


needs_devices_of_python = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no devices of Python",
)


@needs_devices_of_python
@pytest.mark.slow
def test_everything_stays_on_the_gpu() -> None:
    """By the references, and by Triton where it is installed; both in processes forked from one."""
    ways = [way for way in ALLOWED if way != "triton" or importlib.util.find_spec("triton")]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TORCH_FAKE_TENSOR_DISPATCH_CACHE": "1"}  # shapes are few, and met again
    environment |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join([*sys.path, str(HARNESS.parent)])}
    run = subprocess.run([sys.executable, str(HARNESS), *ways], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    for way, line in zip(ways, run.stdout.splitlines(), strict=True):
        found = json.loads(line)
        assert found, "no case was run"
        faults = [
            f"{way}: {case}: {fault}"
            for case, each in found.items()
            for fault in each
            if fault.split(":")[0] not in ALLOWED[way]
        ]
        assert not faults, "\n".join(faults)


@needs_devices_of_python
def test_lines_of_the_package_are_told_from_those_of_others(tmp_path: Path) -> None:
    """By the package's own folder: a checkout may be called ``medloss``, and hold an environment with torch in it."""
    fake_gpu, package = pytest.importorskip("fake_gpu"), Path(medloss.__file__).resolve().parent
    link = tmp_path / "a link"
    link.symlink_to(package, target_is_directory=True)
    assert fake_gpu.in_package(str(package / "ops" / "operator.py")) == "ops/operator.py"
    assert fake_gpu.in_package(str(link / "base.py")) == "base.py"
    assert fake_gpu.in_package(str(package.parent / ".venv" / "torch" / "functional.py")) is None
    assert fake_gpu.in_package(str(tmp_path / "medloss" / "torch" / "functional.py")) is None
