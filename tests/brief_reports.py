"""What a process of pytest-xdist tells the one that started it: of a test that passed one report.

By itself it sends three, and two messages beside them, which takes longer than many a test of the contract.
"""

from __future__ import annotations

import pytest
from _pytest.runner import runtestprotocol


class BriefReports:
    """Leaves out that a test begins and ends, and that what comes before and after it passed."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        for report in runtestprotocol(item, log=False, nextitem=nextitem):
            if report.when == "call" or not report.passed:
                item.ihook.pytest_runtest_logreport(report=report)
        return True
