"""The report: one file, numbers with their units, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from medloss.apps.common.curves import curves
from medloss.apps.common.report import cell, heading, write_report


def test_report_is_complete_and_alone(tmp_path):
    picture = curves(tmp_path / "picture.png", {"loss": [2.0, 1.0]})
    rows = [{"case": "a<b", "dice": 0.8765, "hd95_mm": 3.14159}, {"case": "c", "dice": np.nan, "folding_percent": 0.0}]
    path = write_report(tmp_path / "report.html", "Title & more", ["First <b>."], {"Cases": rows}, {"Curve": picture})
    page = path.read_text(encoding="utf-8")
    assert "<h1>Title &amp; more</h1>" in page and "First &lt;b&gt;." in page and "a&lt;b" in page
    assert "HD95 (mm)" in page and "folding (%)" in page and "0.876" in page and "3.14" in page and "–" in page
    (inlined,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(inlined) == picture.read_bytes()
    assert "http" not in page and "not a medical device" in page


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("dice", "Dice"),
        ("tre_before_mm", "TRE before (mm)"),
        ("peak_memory_gib", "peak memory (GiB)"),
        ("seconds", "time (s)"),
        ("dice_network", "Dice network"),
        ("Left Lung", "Left Lung"),
    ],
)
def test_headings(name, shown):
    assert heading(name) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.87654, "0.877"),
        (6.2512, "6.25"),
        (123.4, "123"),
        (0.0, "0"),
        (0.00123, "0.0012"),
        (7, "7"),
        (None, "–"),
        (float("inf"), "–"),
        (True, "yes"),
        ("word", "word"),
        (np.float32(0.5), "0.500"),
        (np.int64(3), "3"),
    ],
)
def test_cells(value, shown):
    assert cell(value) == shown


def test_empty_table(tmp_path):
    page = write_report(tmp_path / "report.html", "t", tables={"None": []}).read_text(encoding="utf-8")
    assert "Nothing to show." in page
