"""The sources of the documentation site: every public name is on it, links hold, and what it shows is true.

Sphinx itself, which ``make site`` runs with every warning as an error, is no part of the tests' requirements.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from medloss.registry import losses, snake_case

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("medloss", "medloss.transforms", "medloss.ops", "medloss.compat.monai", "medloss.compat.kornia")


@pytest.fixture(scope="module")
def script():
    """The script that writes the sources; the modules of its folder are not left behind."""
    kept, path = dict(sys.modules), list(sys.path)
    sys.path.insert(0, str(ROOT / "docs" / "site"))
    yield importlib.import_module("generate")
    sys.path[:] = path
    for name in set(sys.modules) - set(kept):
        module = sys.modules[name]
        file = isinstance(module, ModuleType) and getattr(module, "__file__", None)
        if (file and str(ROOT / "benchmarks") in file) or (file and str(ROOT / "docs") in file):
            del sys.modules[name]


@pytest.fixture(scope="module")
def site(script, tmp_path_factory) -> Path:
    """The folder with the sources, without pictures."""
    out = tmp_path_factory.mktemp("site")
    script.generate(out, pictures=False)
    return out


@pytest.fixture(scope="module")
def text(site) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in site.rglob("*") if path.suffix in (".md", ".rst"))


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_the_site(text, module):
    names = [name for name in importlib.import_module(module).__all__ if not name.startswith("_")]
    missing = [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)]
    assert not missing, missing


def test_every_loss_has_a_page_with_all_its_options(site):
    from medloss.options import options

    for name, cls in losses().items():
        page = (site / "losses" / f"{name}.rst").read_text(encoding="utf-8")
        missing = [option for option in options(cls) if f"``{option}``" not in page]
        assert not missing, (name, missing)
        assert f".. autoclass:: medloss.{cls.__name__}" in page


def test_the_yaml_of_every_page_makes_that_loss(site):
    yaml = pytest.importorskip("yaml")
    from medloss.config import build_loss

    for name, cls in losses().items():
        page = (site / "losses" / f"{name}.rst").read_text(encoding="utf-8")
        block = page.split(".. code-block:: yaml\n\n")[1].split("\n\n")[0]
        mapping = yaml.safe_load(block)["loss"]
        assert list(mapping) == [snake_case(cls.__name__)]
        build_loss(mapping)


def test_costs_stand_on_the_page_of_their_loss(site):
    page = (site / "losses" / "dice_ce.rst").read_text(encoding="utf-8")
    assert "nnunet" in page and "AMD EPYC" in page
    assert "has no row" in (site / "losses" / "gradicon.rst").read_text(encoding="utf-8")


def test_the_page_of_a_loss_links_to_the_tutorials_that_have_it(site):
    page = (site / "losses" / "exclusion.rst").read_text(encoding="utf-8")
    assert "</tutorials/03_partial_labels>`" in page and "</tutorials/10_" not in page
    assert "In the tutorials" not in (site / "losses" / "poly.rst").read_text(encoding="utf-8")


def texts(path: Path) -> str:
    """A page's text, or those of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def test_links_between_pages_hold(site):
    broken = []
    for path in (*site.rglob("*.md"), *site.rglob("*.ipynb")):
        inside = re.sub(r"```.*?```", "", texts(path), flags=re.S)
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", inside):
            if not (path.parent / target).exists():
                broken.append(f"{path.relative_to(site)}: {target}")
    for path in site.rglob("*.rst"):
        for target in re.findall(r":doc:`[^<`]*<(/[^>]+)>`", path.read_text(encoding="utf-8")):
            if not list(site.glob(f"{target[1:]}.*")):
                broken.append(f"{path.relative_to(site)}: {target}")
    assert not broken, broken


def test_every_page_is_in_the_table_of_contents_once(site):
    listed = []
    for path in site.rglob("*.md"):
        for block in re.findall(r"```\{toctree\}(.*?)```", path.read_text(encoding="utf-8"), re.S):
            listed += [line.removeprefix("/") for line in block.split("\n") if line and not line.startswith(":")]
    pages = [path for path in site.rglob("*") if path.suffix in (".md", ".rst", ".ipynb")]
    assert sorted(listed) == sorted(
        str(path.relative_to(site).with_suffix("")) for path in pages if path.stem != "index"
    )


def test_a_second_run_writes_nothing_again(script, site):
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*.rst")}
    script.generate(site, pictures=False)
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*.rst")} == before


def test_links_to_files_become_links_to_pages(script):
    told = script.relinked("[a](docs/losses.md) [b](LICENSE) ![c](docs/images/demo.png)", "README.md", "index.md")
    assert told == "[a](losses.md) b ![c](images/demo.png)"
    assert script.relinked("[a](../losses.md)", "docs/cookbook/x.md", "cookbook/x.md") == "[a](../losses.md)"


@pytest.mark.parametrize("library", ["itk", "SimpleITK", "nibabel"])
def test_the_lines_of_a_library_apply_a_field_as_medloss_does(library, tmp_path, monkeypatch):
    nibabel, np = pytest.importorskip("nibabel"), pytest.importorskip("numpy")
    pytest.importorskip("scipy")
    pytest.importorskip(library)
    from medloss.apps.common.fields import save_displacement
    from medloss.apps.registration.transform_cli import warp

    monkeypatch.chdir(tmp_path)
    Path("result").mkdir()
    random = np.random.default_rng(0)
    affine = np.diag([-1.5, 2.0, 1.0, 1.0])
    affine[:3, 3] = [10, -20, 30]
    for name in ("fixed", "moving"):
        nibabel.save(nibabel.Nifti1Image(random.random((9, 8, 10), np.float32), affine), f"{name}.nii.gz")
    save_displacement(Path("result/field.nii.gz"), random.uniform(-1, 1, (3, 9, 8, 10)).astype(np.float32), affine)
    page = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.S) if f"import {library}" in block)
    exec(compile(code, "conventions.md", "exec"), {})
    theirs = nibabel.load("moved.nii.gz").get_fdata()
    options = {"output": Path("ours.nii.gz"), "transform": ["result/field.nii.gz"], "like": Path("fixed.nii.gz")}
    warp(Path("moving.nii.gz"), **options)
    inside = (slice(2, -2),) * 3
    np.testing.assert_allclose(nibabel.load("ours.nii.gz").get_fdata()[inside], theirs[inside], atol=1e-3)
