"""Of a test that passed one report is sent; what fails or is skipped anywhere is sent, too."""

from __future__ import annotations

from types import SimpleNamespace

import brief_reports
import pytest


@pytest.mark.parametrize(
    ("outcomes", "sent"),
    [
        ({"setup": "passed", "call": "passed", "teardown": "passed"}, ["call"]),
        ({"setup": "passed", "call": "failed", "teardown": "passed"}, ["call"]),
        ({"setup": "passed", "call": "passed", "teardown": "failed"}, ["call", "teardown"]),
        ({"setup": "failed", "teardown": "passed"}, ["setup"]),
        ({"setup": "skipped", "teardown": "passed"}, ["setup"]),
    ],
)
def test_what_is_sent(outcomes: dict[str, str], sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [SimpleNamespace(when=when, passed=outcome == "passed") for when, outcome in outcomes.items()]
    monkeypatch.setattr(brief_reports, "runtestprotocol", lambda item, log, nextitem: reports)
    told: list[str] = []
    item = SimpleNamespace(ihook=SimpleNamespace(pytest_runtest_logreport=lambda report: told.append(report.when)))
    assert brief_reports.BriefReports().pytest_runtest_protocol(item, None)
    assert told == sent
