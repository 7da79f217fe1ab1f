"""The wheel, built and used alone from another folder, as a user gets it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMOKE = """
import medloss, torch
logits = torch.zeros(1, 2, 4, 4, 4, requires_grad=True)
target = torch.zeros(1, 1, 4, 4, 4, dtype=torch.int64)
target[..., 2:] = 1
loss = medloss.DiceCELoss(softmax=True, to_onehot_y=True, smooth_nr=0.0, smooth_dr=0.0)
value = loss(logits, target)
value.backward()
print(medloss.__file__)
print(float(value), float(logits.grad[0, 1, 0, 0, 0]), float(logits.grad[0, 1, 0, 0, 3]))
"""
NATIVE = """
with medloss.backend("native"):
    loss(logits, target)
libraries = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
print([name for name in libraries if "libmedloss" in name])
print(sum("libgomp" in name for name in libraries))
"""


@pytest.mark.slow
def test_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"medloss"}
    assert {"medloss/py.typed", "medloss/transforms/labels.py", "medloss/apps/cli.py"} <= set(names)
    suffixes = (".c", ".h", ".cpp", ".hpp")
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "medloss").rglob("*") if path.suffix in suffixes}
    assert {Path(source).suffix for source in sources} == set(suffixes)
    assert sources <= set(names)
    if shutil.which(os.environ.get("CC", "cc")):
        assert [name for name in names if name.startswith("medloss/ops/_native/libmedloss")]


@pytest.mark.slow
def test_works_alone_from_another_folder(wheel, tmp_path, run):
    """At logits of 0 both classes have p = 1/2 everywhere, and each fills one half of the 64 voxels.

    Dice of a class is 2 * 16 / (32 + 32) = 1/2, so the value is 1/2 + ln 2. The derivative of a class' Dice loss by its
    p at one voxel is (32 - 128 t) / 64^2: 1/128 outside the class and -3/128 inside, halved by the mean over classes.
    Softmax gives the foreground logit 1/4 of the difference of the two: +-1/256. Cross-entropy adds (p - t) / 64.
    """
    site = installed(wheel, tmp_path, run)
    place, numbers = run(sys.executable, "-c", SMOKE, cwd=tmp_path / "elsewhere", PYTHONPATH=str(site)).splitlines()
    check(place, numbers, site)


def installed(wheel: Path, folder: Path, run) -> Path:
    """The folder into which the wheel was installed, and nothing else; beside it is an empty one to run in."""
    site = folder / "site"
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(site))
    run(sys.executable, *install, str(wheel), cwd=folder)
    (folder / "elsewhere").mkdir()
    return site


def check(place: str, numbers: str, site: Path) -> None:
    assert Path(place).resolve() == (site / "medloss" / "__init__.py").resolve()
    value, outside, inside = map(float, numbers.split())
    assert value == pytest.approx(0.5 + 0.6931472, abs=1e-5)
    assert outside == pytest.approx(1 / 256 + 0.5 / 64, abs=1e-6)
    assert inside == pytest.approx(-1 / 256 - 0.5 / 64, abs=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="manylinux is for Linux")
def test_repaired_it_has_its_library_and_uses_the_openmp_of_torch(repaired, tmp_path, run):
    """No compiler, no cache: the kernels are those of the wheel."""
    assert re.fullmatch(r"medloss-.*-py3-none-(manylinux\w+\.?)+\.whl", repaired.name)
    assert not [name for name in zipfile.ZipFile(repaired).namelist() if "gomp" in name or ".libs/" in name]
    site = installed(repaired, tmp_path, run)
    alone = {"PYTHONPATH": str(site), "MEDLOSS_CACHE": str(tmp_path / "cache"), "CC": "/no/compiler", "PATH": ""}
    place, numbers, libraries, runtimes = run(
        sys.executable, "-c", SMOKE + NATIVE, cwd=tmp_path / "elsewhere", **alone
    ).splitlines()
    check(place, numbers, site)
    (library,) = ast.literal_eval(libraries)
    assert Path(library).parent.resolve() == (site / "medloss" / "ops" / "_native").resolve()
    assert runtimes == "1"
    assert not (tmp_path / "cache").exists()
