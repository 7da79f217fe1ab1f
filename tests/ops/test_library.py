"""The loader: what is believed and what is not, one build for all, and no exception whatever the machine is like.

All of it with one kernel of one line, which the compiler at hand builds in a moment.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import medloss
from medloss import _start
from medloss.ops import build, cache, library, native

OPS = Path(build.__file__).parent
KERNEL = """
#include "../native.h"
MEDLOSS_EXPORT int MEDLOSS_PASTE(components, f32, MEDLOSS_LEVEL)(void) { return 0; }
"""
TEMPLATE = """
#include "../native.hpp"
namespace {
template <typename Real>
int bytes() { return sizeof(Real); }
}
MEDLOSS_ENTRY(nth_largest, (int threads), return bytes<Real>() + threads;)
"""
PLANTED = """
#include <stdio.h>
__attribute__((constructor)) static void run(void) { fclose(fopen(MARK, "w")); }
"""
pytestmark = [
    pytest.mark.skipif(os.name != "posix" or not shutil.which("cc"), reason="no C compiler"),
    # forking is what is tested, and the children do nothing but look for the library
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can act as another user")


class Logged(logging.Handler):
    """What is logged during a test."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.emit = self.records.append

    @property
    def text(self) -> str:
        return "\n".join(map(self.format, self.records))


@pytest.fixture
def logged() -> Iterator[Logged]:
    found = Logged()
    logging.getLogger().addHandler(found)
    yield found
    logging.getLogger().removeHandler(found)


@pytest.fixture(autouse=True)
def ops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one kernel, a user with empty folders of their own, and a loader that knows of nothing yet."""
    folder = tmp_path / "ops"
    (folder / "components").mkdir(parents=True)
    for name in ("native.c", "native.h"):
        shutil.copy(OPS / name, folder)
    (folder / "components" / "cpu_kernel.c").write_text(KERNEL)
    for name in ("CC", "CXX", "OBJECTS", "CACHE", "LEVEL", "WITHOUT_NATIVE", "BUILD_FLAGS", "BUILD_LEVELS"):
        monkeypatch.delenv(name if name in ("CC", "CXX") else f"MEDLOSS_{name}", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name in ("HOME", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(library, "OPS", folder)
    monkeypatch.setattr(library, "_found", None)
    yield folder
    os.chmod(tmp_path, 0o700)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Puts the library into the package, as a wheel brings it. It is compiled once, from the sources of all tests."""
    made: list[Path] = []

    def ship(ops: Path) -> Path:
        made[:] = made or [build.build(ops, tmp_path_factory.mktemp("shipped"))]
        (ops / "_native").mkdir()
        return Path(shutil.copy(made[0], ops / "_native" / build.library_name(ops)))

    return ship


def own(tmp_path: Path) -> Path:
    return tmp_path / "HOME" / ".cache" / "medloss"


def again(monkeypatch: pytest.MonkeyPatch) -> library.Loaded:
    """What another process would find."""
    monkeypatch.setattr(library, "_found", None)
    return library.loaded()


def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str = 'exec cc "$@"') -> Callable[[], int]:
    """Puts a compiler in place that counts how often it links the library."""
    script, calls = tmp_path / "counting cc", tmp_path / "calls"
    script.write_text(f'#!/bin/sh\ncase "$*" in *library.so*) echo >>"{calls}" ;; esac\n{then}\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", f"'{script}' -DTWO_WORDS")
    return lambda: calls.read_text().count("\n") if calls.exists() else 0


def in_children(count: int, function: Callable[[], Any]) -> list[Any]:
    """What forked processes return; the signal's name for one that died."""
    context, results = multiprocessing.get_context("fork"), []
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    children = [context.Process(target=lambda end=end: end.send(function())) for _, end in pipes]
    for child in children:
        child.start()
    for child, (begin, end) in zip(children, pipes, strict=True):
        child.join(60)
        results.append(begin.recv() if begin.poll() else f"died with {child.exitcode}")
        begin.close(), end.close()
    return results


def no_native(found: library.Loaded) -> str:
    assert found.library is None and found.path is None and not found.levels
    assert found.reason and "\n" not in found.reason
    return found.reason


# Building and finding


def test_it_is_built_once_for_its_owner_alone_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    calls, mask = counting(tmp_path, monkeypatch), os.umask(0)
    try:
        found = library.loaded()
    finally:
        os.umask(mask)
    assert found.path.parent == own(tmp_path)
    assert own(tmp_path).stat().st_mode & 0o777 == 0o700
    assert found.path.stat().st_mode & 0o022 == 0
    assert found.library._name == str(found.path)
    assert [record.getMessage().split(":")[0] for record in logged.records] == [
        f"medloss builds its native library in {own(tmp_path)}, once"
    ]
    logged.records.clear()
    assert again(monkeypatch).path == found.path
    assert not logged.records
    assert calls() == 1
    assert sorted(path.suffix for path in own(tmp_path).iterdir()) == ["", ".so"], "the library and its lock"


def with_template(ops: Path) -> None:
    (ops / "nth_largest").mkdir()
    for path in OPS.glob("*.hpp"):
        shutil.copy(path, ops)
    (ops / "nth_largest" / "cpu_kernel.cpp").write_text(TEMPLATE)


def test_a_kernel_of_templates_is_built_with_the_others(ops: Path) -> None:
    with_template(ops)
    found = library.loaded()
    for suffix, size in ("f32", 4), ("f64", 8):
        assert getattr(found.library, f"nth_largest_{suffix}_{found.levels[0]}")(1) == size + 1


@pytest.mark.parametrize("variable", ["CC", "CXX"])
def test_a_compiler_of_c_alone_leaves_the_reference(
    variable: str, ops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it says so itself, or is named beside one of C++ that does not run."""
    with_template(ops)
    script = tmp_path / "alone"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *cpu_kernel.cpp*) echo "error: no C++ here" >&2; exit 1;; esac\nexec cc "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv(variable, str(script))
    with pytest.warns(RuntimeWarning, match="the slower reference in PyTorch serves"):
        assert "no C++ here" in no_native(library.loaded())


def test_the_shipped_library_comes_before_everything_that_can_fail(
    ops: Path, built: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = built(ops)

    def never(*_: Any) -> Any:
        raise AssertionError("asked for")

    for module, name in ((cache, "places"), (build, "compiler"), (torch.backends.cpu, "get_cpu_capability")):
        monkeypatch.setattr(module, name, never)
    assert library.loaded().path == shipped


def test_unreadable_sources_do_not_hide_the_shipped_library(
    ops: Path, built: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = built(ops)

    def unreadable(_: Path) -> str:
        raise PermissionError(13, "Permission denied", "cpu_kernel.c")

    monkeypatch.setattr(build, "sources_digest", unreadable)
    assert again(monkeypatch).path == shipped
    shipped.unlink()
    with pytest.warns(RuntimeWarning, match="Permission denied"):
        no_native(again(monkeypatch))


@pytest.mark.parametrize("left", [0, 20, 64, 0.5, 0.9])
def test_a_shipped_library_cut_short_is_built_again(
    left: float, tmp_path: Path, ops: Path, built: Callable[[Path], Path], logged: Logged
) -> None:
    shipped = built(ops)
    content = shipped.read_bytes()
    shipped.write_bytes(content[: int(len(content) * left) if 0 < left < 1 else left])
    found, told = in_children(1, lambda: (library.loaded().path, logged.text))[0]
    assert found.parent == own(tmp_path)
    assert str(shipped) in told


@pytest.mark.parametrize("damage", ["empty", "short", "garbage", "flipped"])
def test_a_damaged_library_is_found_built_again_and_told(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    path = in_children(1, lambda: library.loaded().path)[0]
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(
        {
            "empty": b"",
            "short": content[:half],
            "garbage": b"\7" * len(content),
            "flipped": content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :],
        }[damage]
    )
    found, told = in_children(1, lambda: (library.loaded().path, logged.text))[0]
    assert found.parent == own(tmp_path)
    assert "is damaged" in told
    assert len(list(own(tmp_path).glob("*.so"))) == 1
    assert build.name_with_content(f"{found.name.rpartition('-')[0]}.so", found.read_bytes()) == found.name


def test_four_processes_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counting(tmp_path, monkeypatch, then='sleep 0.3; exec cc "$@"')
    found = in_children(4, lambda: library.loaded().path)
    assert len(set(found)) == 1 and found[0].parent == own(tmp_path)
    assert calls() == 1


def test_four_threads_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, found = counting(tmp_path, monkeypatch), []
    threads = [threading.Thread(target=lambda: found.append(library.loaded())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4 and found[0].library and all(one is found[0] for one in found)
    assert calls() == 1


def test_a_process_forked_during_the_build_is_not_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counting(tmp_path, monkeypatch, then='sleep 0.5; exec cc "$@"')
    builder = threading.Thread(target=library.loaded)
    builder.start()
    while not list(own(tmp_path).glob("building-*")):
        time.sleep(0.01)
    assert in_children(1, lambda: library.loaded().path.parent) == [own(tmp_path)]
    builder.join(60)
    assert calls() == 1


def test_a_lock_that_is_never_given_back_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path).mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(cache, "PATIENCE", 0.3)
    with open(own(tmp_path) / "lock", "w") as lock:
        cache.fcntl.flock(lock, cache.fcntl.LOCK_EX)
        assert library.loaded().library


def test_a_filesystem_without_locks_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(cache.fcntl, "flock", without)
    assert library.loaded().library


def test_what_a_killed_build_left_is_removed(tmp_path: Path, ops: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = build.re.sub(r"\W", "_", build.platform.node())
    left = own(tmp_path) / f"building-{host}-{gone.pid}-abc_12"
    running = own(tmp_path) / f"building-{host}-{os.getpid()}-abc_12"
    for folder in (left, running):
        folder.mkdir(parents=True)
        (folder / "kernel.o").write_text("half")
    build.build(ops, own(tmp_path))
    assert not left.exists()
    assert running.exists()


# Who may have written it


def planted(folder: Path, ops: Path, mark: Path) -> Path:
    """A library in a folder that leaves a mark where it is loaded, under the name of a sound one."""
    source = ops.parent / "planted.c"
    source.write_text(PLANTED)
    made = ops.parent / "planted.so"
    subprocess.run(["cc", "-shared", "-fPIC", f'-DMARK="{mark}"', str(source), "-o", str(made)], check=True)
    folder.mkdir(parents=True, exist_ok=True)
    name = build.library_name(ops, library._own_level())
    path = folder / build.name_with_content(name, made.read_bytes())
    shutil.copy(made, path)
    path.chmod(0o755)
    return path


def test_what_is_planted_leaves_its_mark(tmp_path: Path, ops: Path) -> None:
    """The attack works where the loader believes: the tests below would see it."""
    planted(own(tmp_path), ops, tmp_path / "mark")
    assert library._cached(faults := library.Faults()) is None
    assert "is no library of medloss" in faults.told[0]
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_cache_that_others_may_write_is_not_used(
    mode: int, tmp_path: Path, ops: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    shared = tmp_path / "shared"
    monkeypatch.setenv("MEDLOSS_CACHE", str(shared))
    planted(shared, ops, tmp_path / "mark")
    shared.chmod(mode)
    assert library.loaded().path.parent == own(tmp_path)
    assert not (tmp_path / "mark").exists()
    assert f"{shared} can be written by others (mode {mode:o}; chmod go-w mends it)" in logged.text
    assert shared.stat().st_mode & 0o7777 == mode, "the user's folder is left as it is"


@pytest.mark.parametrize("kind", ["folder", "file", "writable", "link", "fifo"])
def test_what_another_user_planted_is_not_loaded(
    kind: str, tmp_path: Path, ops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = planted(own(tmp_path), ops, tmp_path / "mark")
    if kind in ("folder", "file") and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    if kind == "folder":
        os.chown(path.parent, 12345, 12345)
    elif kind == "file":
        os.chown(path, 12345, 12345)
    elif kind == "writable":
        path.chmod(0o775)
    else:
        path.rename(tmp_path / "elsewhere.so")
        path.symlink_to(tmp_path / "elsewhere.so") if kind == "link" else os.mkfifo(path)
    found = library.loaded()
    assert not (tmp_path / "mark").exists()
    assert found.library and found.path != path
    assert found.path.parent == (cache.places()[-1].path if kind == "folder" else own(tmp_path))


def test_a_folder_of_ours_under_a_wide_umask_is_narrowed(tmp_path: Path, ops: Path) -> None:
    own(tmp_path).mkdir(parents=True)
    own(tmp_path).chmod(0o777)
    assert library.loaded().path.parent == own(tmp_path)
    assert own(tmp_path).stat().st_mode & 0o777 == 0o755


def test_a_path_is_believed_only_below_folders_of_ours(tmp_path: Path) -> None:
    """What a system without ``/proc`` loads by."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    cache.check_above(tmp_path / "a" / "b")
    (tmp_path / "a").chmod(0o777)
    with pytest.raises(cache.Refused, match="can be written by others"):
        cache.check_above(tmp_path / "a" / "b")


def test_a_library_of_other_sources_is_refused(ops: Path, built: Callable[[Path], Path]) -> None:
    path = built(ops)
    (ops / "components" / "cpu_kernel.c").write_text(KERNEL + "/* edited */")
    path.rename(ops / "_native" / build.library_name(ops))
    assert library._shipped(faults := library.Faults()) is None
    assert "was built from other sources" in faults.told[0]


# Whatever the machine is like


def test_a_relative_cache_stays_where_the_program_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_start, "FOLDER", str(tmp_path))
    monkeypatch.setenv("MEDLOSS_CACHE", "a/cache")
    monkeypatch.chdir(tmp_path / "HOME")
    assert library.loaded().path.parent == tmp_path / "a" / "cache"


def test_the_program_begins_where_medloss_is_imported(tmp_path: Path) -> None:
    code = "import os, medloss; os.chdir(os.sep); from medloss.ops import cache; print(cache.places()[0].path)"
    environment = {**os.environ, "MEDLOSS_CACHE": "a", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=tmp_path, env=environment, text=True).strip() == str(tmp_path / "a")


def test_no_home_and_no_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def nobody(number: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert library.loaded().path.parent == tmp_path / "TMPDIR" / f"medloss-{os.geteuid()}"


@as_root
def test_a_user_without_a_name_and_without_rights(tmp_path: Path, ops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources that cannot be read, and nowhere to write."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path)])
    tmp_path.chmod(0o700)

    def found() -> str:
        os.setgroups([]), os.setgid(12345), os.setuid(12345)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return no_native(library.loaded())

    assert "Permission denied" in in_children(1, found)[0]


@pytest.mark.parametrize("kind", ["a file", "full", "dangling link", "below a file"])
def test_a_cache_that_takes_nothing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "cache"
    monkeypatch.setenv("MEDLOSS_CACHE", str(asked / "below" if kind == "below a file" else asked))
    if kind == "dangling link":
        asked.symlink_to(tmp_path / "nowhere")
    elif kind == "full":
        made = tempfile.mkdtemp

        def full(dir: Path, prefix: str) -> str:
            if Path(dir) == asked:
                raise OSError(28, "No space left on device", str(dir))
            return made(dir=dir, prefix=prefix)

        monkeypatch.setattr(build.tempfile, "mkdtemp", full)
    else:
        asked.write_text("")
    assert library.loaded().path.parent == own(tmp_path)


@as_root
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 16 KB, in which no library fits."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k,mode=700", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount")
    try:
        monkeypatch.setenv("MEDLOSS_CACHE", str(disk))
        assert library.loaded().path.parent == own(tmp_path)
        assert not list(disk.glob("building-*"))
        monkeypatch.setattr(cache, "places", lambda: [cache.Place(disk, True)])
        with pytest.warns(RuntimeWarning, match="the slower reference in PyTorch serves"):
            assert f"{disk} has no space left" in no_native(again(monkeypatch))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert library.loaded().library


def test_a_path_that_is_not_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    monkeypatch.setenv("MEDLOSS_CACHE", str(tmp_path / "Übung \udcff 1"))
    assert library.loaded().path.parent.parent == tmp_path
    assert logged.text.encode("utf-8")


# Compilers


@pytest.mark.parametrize("words", ["{} -O1", "'{}' -O1", "{}"])
def test_a_compiler_of_several_words(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("with a blank" if words != "{} -O1" else "without")
    folder.mkdir()
    (folder / "mycc").symlink_to(shutil.which("cc"))
    monkeypatch.setenv("CC", words.format(folder / "mycc"))
    assert library.loaded().library


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("/nowhere/cc", "/nowhere/cc"),
        ("'cc", "CC=.* is not a command line: No closing quotation"),
        ("false", "false failed: exit status 1"),
        ("true", "the library was built|No such file"),
        (f"{sys.executable} -c 0", "cannot be used|No such file"),
    ],
)
def test_a_compiler_that_does_not_work_is_told_once_and_the_reference_serves(
    command: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", command)
    native._load.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="medloss has no native library") as told:
            for _ in range(2):
                value = medloss.DiceLoss(softmax=True, to_onehot_y=True)(torch.zeros(1, 2, 4), torch.zeros(1, 1, 4))
        assert len(told) == 1
        assert build.re.search(reason, str(told[0].message))
        # p = 1/2 at all four voxels, labels all 0: Dice of the background is 2 * 2 / (2 + 4), of the other class 0
        assert value == pytest.approx(1 - (4 / 6 + 0) / 2, abs=1e-4)
        assert f"there is no native library: {library.loaded().reason}" in medloss.explain(
            medloss.MSELoss(), torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)
        )
        assert not list(own(tmp_path).glob("building-*"))
    finally:
        native._load.cache_clear()


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(RuntimeWarning, match="no C compiler found"):
        assert "no C compiler found" in no_native(library.loaded())
    assert not own(tmp_path).exists(), "no folder for a library that is not made"


def test_where_warnings_are_errors_it_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setenv("CC", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        no_native(library.loaded())
    assert "the slower reference in PyTorch serves" in logged.text


def test_nothing_is_told_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setenv("CC", "false")
    monkeypatch.setenv("MEDLOSS_WITHOUT_NATIVE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert no_native(library.loaded()) == "MEDLOSS_WITHOUT_NATIVE=1 is set"
        monkeypatch.setattr(library, "_found", None)
        monkeypatch.setenv("MEDLOSS_BACKEND", "reference")
        medloss.MSELoss()(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4))
    assert library._found is None, "a forced reference asks for no library"
    assert not logged.records


def test_the_library_that_serves_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = library.loaded()
    assert native.serving().startswith(f"~/.cache/medloss/{found.path.name} (")


def test_an_instruction_set_that_this_processor_lacks(ops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch believes in one, the library does not."""
    source = (OPS / "native.c").read_text()
    (ops / "native.c").write_text(source.replace("return 3", "return 0").replace("return 4", "return 0"))
    monkeypatch.setattr(build, "levels", lambda: {"v3": ()})
    if build.machine() == "x86_64":
        with pytest.warns(RuntimeWarning, match="has no kernels for this processor"):
            no_native(library.loaded())


def test_build_flags_are_part_of_the_name_and_reach_the_compiler(ops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = library.loaded().path
    monkeypatch.setenv("MEDLOSS_BUILD_FLAGS", "-DMEDLOSS_SOURCES='\"mine\"' -Wno-builtin-macro-redefined")
    assert build.library_name(ops, library._own_level()) != plain.name.rpartition("-")[0] + ".so"
    monkeypatch.setenv("MEDLOSS_BUILD_FLAGS", "-no-such-flag-anywhere")
    with pytest.warns(RuntimeWarning, match="no-such-flag-anywhere"):
        no_native(again(monkeypatch))
