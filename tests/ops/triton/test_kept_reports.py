"""What is kept of kernels that were compiled ahead of time: as long as nothing changes, and no longer."""

from __future__ import annotations

from pathlib import Path

import kept_reports
import pytest
from kept_reports import TESTS, digest, kept, passed, remember


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A test file with a source of its own; gives how often a report was made."""
    test, kernel = tmp_path / "test_some.py", tmp_path / "kernel.py"
    test.write_text("LAUNCHES = {}")
    kernel.write_text("one = 1")
    monkeypatch.setattr(kept_reports, "sources", lambda file: iter([file, kernel]))
    count = [0]

    def report(capability: int = 90) -> int:
        def make() -> dict[str, int]:
            count[0] += 1
            return {"made": count[0]}

        return kept(test, capability, make, tmp_path / "aot")["made"]

    return report


def test_a_report_is_made_once(made) -> None:
    assert [made(), made(), made()] == [1, 1, 1]


def test_another_target_has_its_own(made) -> None:
    assert [made(90), made(80), made(90), made(80)] == [1, 2, 1, 2]


@pytest.mark.parametrize("name", ["test_some.py", "kernel.py"])
def test_a_changed_source_makes_it_anew(made, tmp_path: Path, name: str) -> None:
    made()
    (tmp_path / name).write_text("two = 2")
    assert [made(), made()] == [2, 2]
    assert len(list((tmp_path / "aot").iterdir())) == 1, "the report of the earlier state stays"


def test_another_triton_makes_it_anew(made, monkeypatch: pytest.MonkeyPatch) -> None:
    made()
    monkeypatch.setattr(kept_reports, "version", lambda name: "99")
    assert made() == 2


def test_what_triton_is_told_makes_it_anew(made, monkeypatch: pytest.MonkeyPatch) -> None:
    made()
    monkeypatch.setenv("TRITON_DISABLE_LINE_INFO", "1")
    assert made() == 2


def test_passed_tests_are_remembered_until_something_changes(made, tmp_path: Path) -> None:
    test, folder = tmp_path / "test_some.py", tmp_path / "aot"
    assert passed(test, folder) == set()
    remember(test, ["one", "two"], folder)
    remember(test, ["three"], folder)  # another process of the same run
    assert passed(test, folder) == {"one", "two", "three"}
    (tmp_path / "kernel.py").write_text("two = 2")
    assert passed(test, folder) == set()
    remember(test, ["one"], folder)
    assert passed(test, folder) == {"one"}
    assert len(list((folder / "passed").iterdir())) == 1


HERE = Path(__file__).resolve().parent
OPS = kept_reports.PACKAGE / "ops"
SHARED = {OPS / name for name in ("operator.py", "dispatch.py", "triton_path.py")} | {TESTS / "triton_harness.py"}


def test_what_a_file_imports_counts_and_what_they_import() -> None:
    """Kernels import each other's device functions, inside of functions, too."""
    found = set(kept_reports.sources(HERE / "test_region_loss.py"))
    assert SHARED | {HERE / "test_region_loss.py", TESTS / "machine_code.py", OPS / "label_tile.py"} <= found
    for operator in ("region_loss", "region_sums"):
        assert {
            OPS / operator / f"{name}.py" for name in ("__init__", "reference", "triton_kernels", "triton_launch")
        } <= found
    assert OPS / "resample" / "triton_kernels.py" not in found, "a change of another kernel repeats these tests"
    assert OPS / "local_moments" / "windows_triton_kernels.py" in set(
        kept_reports.sources(HERE / "test_local_moments.py")
    )
    assert len(digest(HERE / "test_region_loss.py", 90)) == 32


@pytest.mark.parametrize("file", sorted(HERE.glob("test_*.py")), ids=lambda file: file.stem)
def test_every_file_reaches_the_kernels_of_its_operator(file: Path) -> None:
    found = set(kept_reports.sources(file))
    kernel = OPS / file.stem.removeprefix("test_") / "triton_kernels.py"
    assert not kernel.is_file() or {kernel, OPS / "operator.py"} <= found


def test_no_module_is_imported_by_a_name_that_is_made() -> None:
    """Such an import would not be followed."""
    made = ("import_module", "__import__", "exec(", "eval(")
    assert not [path for path in OPS.rglob("*.py") for word in made if word in path.read_text(encoding="utf-8")]


def test_whoever_imports_the_whole_package_depends_on_it(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("def test():\n    import medloss\n")
    assert {kept_reports.PACKAGE / "base.py", OPS / "resample" / "triton_kernels.py"} <= set(
        kept_reports.sources(tmp_path / "test_some.py")
    )
