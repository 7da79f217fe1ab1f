"""``import medloss`` is light, and every public name and submodule is there all the same."""

from __future__ import annotations

import ast
import importlib
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import medloss

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("image", "registration", "segmentation")


def fresh(code: str) -> str:
    """What the code prints in a process of its own."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.strip()


def for_checkers() -> set[str]:
    """The names that the block for type checkers imports."""
    (block,) = [
        node
        for node in ast.parse((ROOT / "medloss" / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    found = set()
    for node in block.body:
        for alias in node.names:
            assert alias.name in ("*", alias.asname), "only `name as name` and `*` are exported to a checker"
            found |= set(importlib.import_module(node.module).__all__) if alias.name == "*" else {alias.name}
    return found


def test_import_alone_is_light():
    code = (
        "import sys, medloss; print([name for name in ('torch', 'numpy') if name in sys.modules], medloss.__version__)"
    )
    assert fresh(code) == f"[] {medloss.__version__}"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_loss_of_a_family_is_exported(family):
    assert sorted(medloss._NAMES[family]) == sorted(importlib.import_module(f"medloss.{family}").__all__)


def test_every_name_is_the_one_of_its_module():
    for module, names in medloss._NAMES.items():
        for name in names:
            assert getattr(medloss, name) is getattr(importlib.import_module(f"medloss.{module}"), name)
    assert sorted(medloss.__all__) == sorted(set(medloss.__all__))


def test_checkers_see_the_same_names():
    assert for_checkers() - medloss._submodules() == set(medloss.__all__) - {"__version__"}


def test_every_submodule_is_an_attribute_and_no_folder_of_the_checkout():
    packages = {path.parent.name for path in (ROOT / "medloss").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "medloss").glob("*.py") if not path.name.startswith("_")}
    assert medloss._submodules() == packages | modules | {"transforms", "apps"}
    code = "import medloss; print(*sorted(getattr(medloss, name).__name__ for name in medloss._submodules()))"
    assert fresh(code).split() == [f"medloss.{name}" for name in sorted(medloss._submodules())]
    with pytest.raises(AttributeError, match="'medloss' has no attribute 'tests'"):
        medloss.tests  # noqa: B018


def test_star_dir_and_help():
    code = "from medloss import *; print(DiceLoss.__name__, backend.__name__, check_values.__name__, __version__)"
    assert fresh(code).split()[:3] == ["DiceLoss", "backend", "check_values"]
    assert set(medloss.__all__) | medloss._submodules() <= set(dir(medloss))
    assert fresh("import sys, medloss; dir(medloss); print('torch' in sys.modules)") == "False"
    text = pydoc.plain(pydoc.render_doc(medloss))
    assert "class DiceCELoss" in text and "class BendingEnergyLoss" in text and "explain" in text


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'medloss' has no attribute 'DiceLos'"):
        medloss.DiceLos  # noqa: B018
    assert not hasattr(medloss, "__wrapped__")


def test_a_pickle_loads_without_an_import(tmp_path):
    loss = medloss.DiceLoss(softmax=True)
    (tmp_path / "loss.pickle").write_bytes(pickle.dumps(loss))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'loss.pickle')!r}, 'rb')).softmax)"
    assert fresh(code) == "True"
