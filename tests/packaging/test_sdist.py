"""The source distribution, and what it and the wheel say of themselves."""

from __future__ import annotations

import email
import re
import subprocess
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import medloss

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> set[str]:
    """The files of the repository."""
    listing = ["git", "-C", str(ROOT), "ls-files", "-z"]
    try:
        found = subprocess.run(listing, capture_output=True, check=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git here")
    return {name for name in found if name and (ROOT / name).is_file()}


def contents(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {
            name.split("/", 1)[1] for name in archive.getnames() if "/" in name and archive.getmember(name).isfile()
        }


def metadata(sdist: Path) -> Message:
    with tarfile.open(sdist) as archive:
        (name,) = [name for name in archive.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name)]
        return email.message_from_bytes(archive.extractfile(name).read())


@pytest.mark.slow
def test_every_file_of_the_repository_is_in_it(sdist):
    missing = tracked() - contents(sdist)
    assert not missing, f"MANIFEST.in leaves these out: {sorted(missing)}"


@pytest.mark.slow
def test_nothing_that_was_made_is_in_it(sdist):
    made = [
        name for name in contents(sdist) if re.search(r"__pycache__|\.pyc$|\.so$|_native/|\.venv|\.peers|^build/", name)
    ]
    assert not made


@pytest.mark.slow
def test_what_it_says_of_itself(sdist):
    said = metadata(sdist)
    assert said["Version"] == medloss.__version__
    assert said["License-Expression"] == "Apache-2.0"
    assert said.get_all("License-File") == ["LICENSE"]
    assert said["Author"] == "the medloss developers"
    assert {part.strip() for part in said["Requires-Python"].split(",")} == {">=3.10", "<3.13"}
    assert not [each for each in said.get_all("Classifier") if each.startswith("License")], "License-Expression says it"


@pytest.mark.slow
def test_an_index_shows_the_page_without_files_of_the_checkout(sdist):
    page = metadata(sdist).get_payload()
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert not [link for link in links if not link.startswith(("http://", "https://", "#"))]
    assert "![" not in page and "medloss losses choose" in page
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1].splitlines()
    assert f"## Changes in {changes[0]}" in page and changes[4] in page
    assert metadata(sdist)["Description-Content-Type"] == "text/markdown"


@pytest.mark.slow
def test_the_wheel_says_the_same_and_has_the_license(sdist, wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        said = email.message_from_bytes(archive.read(name))
        license = archive.read(name.replace("METADATA", "licenses/LICENSE"))
    assert license == (ROOT / "LICENSE").read_bytes()
    first = metadata(sdist)
    for key in ("Name", "Version", "Requires-Python", "License-Expression", "Summary"):
        assert said[key] == first[key]
    assert said.get_payload() == first.get_payload()


def test_the_license_is_the_whole_text_of_apache():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:6] == ["Apache", "License", "Version", "2.0,", "January", "2004"]
    assert re.findall(r"^   (\d)\. ", text, re.M) == list("123456789")
    assert "END OF TERMS AND CONDITIONS" in text and "APPENDIX: How to apply" in text


def test_the_citation_has_this_version():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == medloss.__version__
    assert (citation["cff-version"], citation["license"], citation["type"]) == ("1.2.0", "Apache-2.0", "software")
    assert citation["authors"] == [{"name": "the medloss developers"}]
