"""The way from C file to library: built whole or not at all, named after its sources, found in the cache."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medloss.ops import build, library, native
from medloss.ops.label_tile import label_operands

OPS = Path(build.__file__).parent
needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")


@needs_compiler
@pytest.mark.slow
def test_a_library_is_built_at_first_use_into_the_cache(tmp_path: Path) -> None:
    """A checkout without a built library makes its own, once."""
    copy = tmp_path / "checkout"
    shutil.copytree(OPS.parent, copy / "medloss", ignore=shutil.ignore_patterns("_native", "__pycache__"))
    code = "import medloss; from medloss.ops import native; print(native._load()[0]._name, native.level())"
    environment = {**os.environ, "PYTHONPATH": str(copy), "MEDLOSS_CACHE": str(tmp_path / "cache")}
    environment |= dict.fromkeys(("XDG_CACHE_HOME", "TMPDIR"), str(tmp_path))  # the user's caches may hold the same one
    command = [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11) else [sys.executable, "-c", code]
    told = [subprocess.check_output(command, env=environment, cwd=tmp_path, text=True) for _ in range(2)]
    assert told[0] == told[1]
    assert str(tmp_path / "cache") in told[0]
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".so", ""}, "the library and its lock"
    (path,) = (tmp_path / "cache").glob("*.so")
    held = {level for level in build.levels() if library.holds(ctypes.CDLL(str(path)), level)}
    assert len(held) == 1, "only what this processor runs"


@pytest.mark.skipif(build.machine() != "x86_64" or "base" not in build.levels(), reason="no baseline to fall back to")
@pytest.mark.skipif(bool(native.unavailable()), reason="no native library")
def test_an_old_processor_has_the_kernels_that_beat_torch_there() -> None:
    """Without AVX2 three kernels serve, and nothing asks for one that was not compiled."""
    code = """
import torch, medloss
from medloss.ops import native
assert native.level() == "base", native.level()
volume, labels = torch.rand(1, 2, 9, 8, 7), (torch.rand(1, 1, 9, 8, 7) > 0.5).long()
for loss in (
    medloss.HausdorffDTLoss(to_onehot_y=True, softmax=True),
    medloss.BlobDiceLoss(to_onehot_y=True, softmax=True),
    medloss.TopKLoss(to_onehot_y=True),
    medloss.DiceLoss(to_onehot_y=True, softmax=True),
):
    value = loss(volume, labels)
    with medloss.backend("reference"):
        torch.testing.assert_close(value, loss(volume, labels))
    print(medloss.explain(loss, volume, labels))
"""
    environment = {**os.environ, "MEDLOSS_LEVEL": "base"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    served = {line.split(":")[0] for line in run.stdout.splitlines() if ": native" in line}
    assert served == {"border_distance", "components", "nth_largest"}


def test_without_a_compiler_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(build.BuildError, match="no C compiler found"):
        build.build(OPS, tmp_path)
    assert not list(tmp_path.iterdir())


@needs_compiler
@pytest.mark.parametrize("source", ["cpu_kernel.c", "cpu_kernel.cpp"])
def test_a_failed_build_leaves_nothing(source: str, tmp_path: Path) -> None:
    broken = tmp_path / "ops"
    (broken / "statistic").mkdir(parents=True)
    shutil.copy(OPS / "native.h", broken)
    (broken / "native.c").write_text("int medloss_level(void) { return 0; }")
    (broken / "statistic" / source).write_text("this is neither C nor C++")
    with pytest.raises(build.BuildError, match=re.escape(source)):
        build.build(broken, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("edited", ["native.c", "native.h", "native.hpp", "squared_errors/cpu_kernel.cpp"])
def test_the_name_follows_the_sources(edited: str, tmp_path: Path) -> None:
    (tmp_path / "squared_errors").mkdir()
    for name in ("native.h", "native.c", "native.hpp", "squared_errors/cpu_kernel.cpp"):
        shutil.copy(OPS / name, tmp_path / name)
    before = build.library_name(tmp_path)
    (tmp_path / edited).write_text("/* edited */")
    assert build.library_name(tmp_path) != before


@needs_compiler
def test_the_statistic_of_contributing_is_built_and_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums of w p^2, and their gradient, of a softmax of whose voxels some are ignored."""
    ops = tmp_path / "ops"
    (ops / "squares").mkdir(parents=True)
    for path in (OPS / "native.c", *OPS.glob("*.h"), *OPS.glob("*.hpp")):
        shutil.copy(path, ops)
    (example,) = re.findall(r"```cpp\n(.*?)```", (OPS.parents[1] / "CONTRIBUTING.md").read_text(), re.DOTALL)
    (ops / "squares" / "cpu_kernel.cpp").write_text(example)
    monkeypatch.setenv("MEDLOSS_BUILD_FLAGS", "-O0")  # the last word: a second instead of ten
    monkeypatch.setattr(build, "UNVECTORISED", ("squares",))
    level = list(build.levels())[-1]
    made = ctypes.CDLL(str(build.build(ops, tmp_path, level)))

    z, labels = torch.randn(2, 3, 700, dtype=torch.float64, requires_grad=True), torch.randint(0, 4, (2, 1, 700))
    sums, up = torch.empty(2, 3, dtype=torch.float64), torch.rand(2, 3, dtype=torch.float64)
    gradient = torch.empty_like(z.detach())
    volume = label_operands(z.detach(), labels, None, "softmax", True, 2)
    for name, tail in ("forward", (sums,)), ("backward", (up, gradient)):
        passed = [ctypes.c_void_p(x.data_ptr()) if isinstance(x, torch.Tensor) else x for x in (*volume, *tail, 1)]
        passed = [ctypes.c_int64(x) if isinstance(x, int) else x for x in passed]
        assert getattr(made, f"squares_{name}_f64_{level}")(*passed) == 0
    expected = ((labels != 2) * torch.softmax(z, 1) ** 2).sum(-1)
    torch.testing.assert_close(sums, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, z, up)[0])


@pytest.mark.skipif(bool(native.unavailable()), reason="no native library")
def test_the_library_asks_for_nothing_of_python_or_torch() -> None:
    """One library for every Python and every torch: it loads in a process that has neither."""
    path = native._load()[0]._name
    code = f"import ctypes; print(ctypes.CDLL({path!r}).medloss_level())"
    assert subprocess.check_output([sys.executable, "-S", "-c", code], text=True).strip() in ("0", "3", "4")
    assert isinstance(ctypes.CDLL(path).medloss_level(), int)


@pytest.mark.skipif(sys.platform != "linux" or bool(native.unavailable()), reason="no native library of Linux")
def test_the_library_asks_for_no_library_of_cplusplus() -> None:
    """All its names are found in a process that has loaded nothing but what C and OpenMP need."""
    code = f"""
import ctypes, os
def loaded():
    return {{os.path.basename(line.split()[-1]) for line in open("/proc/self/maps") if ".so" in line}}
ctypes.CDLL("libm.so.6")
before = loaded()
ctypes.CDLL({native._load()[0]._name!r}, mode=os.RTLD_NOW)
print(*sorted(name.split(".")[0].split("-")[0] for name in loaded() - before))
"""
    told = subprocess.check_output([sys.executable, "-S", "-c", code], text=True).split()
    assert set(told) - {"libpthread", "libdl"} <= {"libmedloss", "libgomp"}
