"""What is kept of kernels that were compiled ahead of time: as long as nothing changes, and no longer."""

from __future__ import annotations

from pathlib import Path

import kept_reports
import pytest
from kept_reports import digest, kept, passed, remember


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


def test_every_kernel_counts() -> None:
    """A change of any operator's file is seen: kernels import each other's device functions."""
    found = {path.name for path in kept_reports.sources(Path(__file__))}
    assert {"kernel.py", "triton.py", "windows_kernel.py", "triton_tiles.py", Path(__file__).name} <= found
    assert len(digest(Path(__file__), 90)) == 32
