"""The pages: one file, numbers with their units, pictures first, links that hold, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from medloss.apps.common import report
from medloss.apps.common.curves import curves
from medloss.apps.common.report import Case, Figure, Page, worst_first, write_page
from medloss.apps.common.report_files import Link, href, opening
from medloss.apps.common.report_numbers import cell, heading


@pytest.fixture
def picture(tmp_path):
    return curves(tmp_path / "a picture.png", {"loss": [2.0, 1.0]})


def full_page(tmp_path, picture):
    """A page with every part."""
    mask = tmp_path / "masks" / "a b.nii.gz"
    files = [
        Link("image", tmp_path / "image.nii.gz"),
        Link("mask", mask, "labels"),
        Link("field", tmp_path / "f.nii", "field"),
    ]
    rows = [{"label": "a<b", "dice": 0.8765, "hd95_mm": 3.14159}, {"label": "c", "dice": np.nan, "volume_ml": 0.0}]
    return Page(
        title="Title & more",
        lead=["First <b>."],
        facts={"total_seconds": 12.0},
        figures=[Figure(picture, "the whole")],
        tables={"Labels": rows},
        cases=[
            Case(
                id="one", row={"dice": 0.5}, figures=[Figure(picture)], tables={"More": rows}, files=files, note="look"
            ),
            Case(id="two <x>", row={"dice": 0.75}),
        ],
        order="the lowest Dice first",
        files=[Link("all numbers", tmp_path / "metrics.csv", "other")],
        notes={"dice": "overlap"},
    )


class Checker(HTMLParser):
    """Elements that are open, and every id and link met."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.order = [], [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.order.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_complete_and_alone(tmp_path, picture):
    page = write_page(tmp_path / "report.html", full_page(tmp_path, picture)).read_text(encoding="utf-8")
    assert "<h1>Title &amp; more</h1>" in page and "First &lt;b&gt;." in page and "a&lt;b" in page
    for text in ("HD95 (mm)", "volume (ml)", "0.876", "3.14", "–", "total (s)", "two &lt;x&gt;", "the whole", "look"):
        assert text in page, text
    first, _ = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(first) == picture.read_bytes()
    assert "http" not in page and "<script" not in page and "not a medical device" in page
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_page_is_sound_html_with_pictures_before_tables(tmp_path, picture):
    checker = Checker()
    page = write_page(tmp_path / "report.html", full_page(tmp_path, picture)).read_text(encoding="utf-8")
    checker.feed(page)
    assert page.startswith("<!doctype html>") and checker.open == []
    assert checker.order.index("img") < checker.order.index("table")
    anchors = [link[1:] for link in checker.links if link.startswith("#")]
    assert len(anchors) == 2 and set(anchors) <= set(checker.ids)
    assert [link for link in checker.links if not link.startswith("#")] == [
        "metrics.csv", "image.nii.gz", "masks/a%20b.nii.gz", "f.nii"
    ]  # fmt: skip


def test_pictures_beyond_the_limit_are_linked(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(report, "EMBEDDED_BYTES", 1.5 * picture.stat().st_size)
    page = write_page(tmp_path / "report.html", full_page(tmp_path, picture)).read_text(encoding="utf-8")
    assert page.count("data:image") == 1 and 'src="a%20picture.png"' in page


def test_what_was_done_in_a_case_stands_before_its_pictures(tmp_path, picture):
    case = Case(id="a", lead="What was <done>.", figures=[report.Figure(picture)])
    page = write_page(tmp_path / "r.html", Page(title="t", cases=[case])).read_text(encoding="utf-8")
    assert page.index("What was &lt;done&gt;.") < page.index("<figure>")


def test_a_page_of_nothing(tmp_path):
    page = write_page(tmp_path / "r.html", Page(title="t", tables={"None": []})).read_text(encoding="utf-8")
    assert "Nothing to show." in page and "<h2>Cases" not in page


def test_two_cases_of_one_name(tmp_path):
    with pytest.raises(ValueError, match="an id of its own"):
        write_page(tmp_path / "r.html", Page(title="t", cases=[Case(id="a"), Case(id="a")]))
    assert not list(tmp_path.iterdir())


def test_the_worst_comes_first():
    values = {"good": 0.9, "bad": 0.1, "unknown": np.nan, "missing": None, "far": np.inf}
    cases = [Case(id=name, row={"x": value}) for name, value in values.items()]
    assert [case.id for case in worst_first(cases, "x")][:3] == ["bad", "good", "far"]
    assert [case.id for case in worst_first(cases, "x", high_is_good=False)][:3] == ["far", "good", "bad"]


def test_how_to_open_files(tmp_path):
    image, other = Link("a", tmp_path / "a b.nii"), Link("b", tmp_path / "b.nii")
    masks = [Link(name, tmp_path / "masks" / f"{name}.nii", "labels") for name in ("x", "y")]
    slicer, *snap = opening([image, other, *masks], tmp_path)
    assert "3D Slicer" in slicer[0] and "Segmentation for label maps" in slicer[0]
    assert [command for _, command in snap] == [
        "itksnap -g 'a b.nii' -s masks/x.nii",
        "itksnap -g 'a b.nii' -s masks/y.nii",
    ]
    assert opening([image, other], tmp_path)[1][1] == "itksnap -g 'a b.nii' -o b.nii"
    assert "Transform" in opening([Link("f", tmp_path / "f.nii", "field")], tmp_path)[0][0]
    assert opening([Link("n", tmp_path / "n.csv", "other")], tmp_path) == []
    assert href(tmp_path.parent / "é #1.nii", tmp_path) == "../%C3%A9%20%231.nii"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("dice", "Dice"),
        ("tre_before_mm", "TRE before (mm)"),
        ("peak_memory_gib", "peak memory (GiB)"),
        ("volume_error_ml", "volume error (ml)"),
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
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (True, "yes"),
        ("word", "word"),
        ("0.812 [0.700, 0.900] of 3/4", "0.812 [0.700,\N{NO-BREAK SPACE}0.900] of 3/4"),
        (np.float32(0.5), "0.500"),
        (np.int64(3), "3"),
    ],
)
def test_cells(value, shown):
    assert cell(value) == shown
