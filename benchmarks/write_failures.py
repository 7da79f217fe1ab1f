"""A pytest plugin, ``-p write_failures``: each failure goes to a file at once, as a run that is ended prints none.

The environment's ``FAILURES`` names the file.
"""

from __future__ import annotations

import os
from typing import Any

LONGEST = 1500
"""Characters of a report that are kept, from its end, where the error is."""


def pytest_runtest_logreport(report: Any) -> None:
    """Append a failed test's name and its error; processes of pytest-xdist report to the one that started them."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(os.environ["FAILURES"], "a") as file:
            file.write(f"{report.nodeid} [{report.when}]\n{report.longreprtext[-LONGEST:]}\n\n")
