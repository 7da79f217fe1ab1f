"""The generated pages of the documentation are those that the code gives today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("losses.md", "contract.md", "known_differences.md", "configuration.md", "choosing.md")


@pytest.fixture(scope="module")
def build():
    """The script that writes them."""
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_generated_page_is_listed(build) -> None:
    assert tuple(build.PAGES) == PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(build, name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == build.PAGES[name](), f"docs/{name} is stale: run `make docs`"


def test_every_key_of_every_configuration_has_a_meaning(build) -> None:
    from medloss.apps.common.config_text import keys_of

    silent = [key.path for schema in build.SCHEMAS.values() for key in keys_of(schema) if not key.told]
    assert not silent, f"keys without a docstring below them: {', '.join(silent)}"
