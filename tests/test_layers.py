"""The plan of the house, held by a test: who may import whom, how long files and functions get, no machine's paths."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"medloss": ROOT / "medloss", "medloss.transforms": ROOT / "transforms", "medloss.apps": ROOT / "apps"}

FOUNDATION = {"labels", "reduction", "checks", "options", "constants", "empty", "masks", "extras", "spelling"}
FAMILIES = {"segmentation", "registration", "image"}
BELOW_FAMILIES = FOUNDATION | {"ops", "sums", "forms", "base", "map_loss", "joint"}
ABOVE_FAMILIES = {"backends", "registry", "composite", "multiscale", "supervision", "config", "functional"}
CORE = BELOW_FAMILIES | FAMILIES | ABOVE_FAMILIES | {"_version", "_start", "deprecation"}

# layer -> the layers of medloss that it may import (its own always). A layer is the first name after `medloss.`
MAY_IMPORT = {
    "_version": set(),
    "_start": set(),
    "deprecation": set(),
    "ops": {"_start"},
    **dict.fromkeys(FOUNDATION, FOUNDATION | {"ops"}),
    "sums": {"ops"},
    **dict.fromkeys(["extras", "spelling"], frozenset()),
    "options": {"spelling"},
    "forms": {"ops", "sums"},
    "base": FOUNDATION | {"ops", "sums", "forms"},
    "map_loss": FOUNDATION | {"ops", "base"},
    "joint": FOUNDATION | {"base"},
    **dict.fromkeys(FAMILIES, BELOW_FAMILIES),
    "backends": {"ops"},
    # what finds or joins losses of every family; `registry` walks the namespace itself
    "registry": {"", "base"},
    "composite": BELOW_FAMILIES | FAMILIES,
    "multiscale": BELOW_FAMILIES | FAMILIES | {"composite"},
    "supervision": BELOW_FAMILIES | FAMILIES,
    "config": BELOW_FAMILIES | FAMILIES | {"composite", "multiscale", "registry"},
    "functional": BELOW_FAMILIES | FAMILIES | {"composite", "registry"},
    "": CORE,  # medloss/__init__.py
    "compat": CORE,
    "transforms": CORE | {""},
    "apps": CORE | {"", "transforms", "compat"},
    "__main__": {"apps"},
}
# layer -> what it may import from outside, beside the standard library. None: anything
OUTSIDE = {
    **dict.fromkeys(MAY_IMPORT, frozenset({"torch", "numpy"})),
    "transforms": {"torch", "numpy", "monai"},
    "apps": None,
}
# layer -> what it may import from outside inside a function, for those who call that function
OUTSIDE_LAZY = {
    "compat": {"monai", "kornia"},
    "config": {"pydantic"},
    "ops": {"triton"},
    "options": {"typing_extensions"},
}

MOST_FILE_LINES = 300
MOST_FUNCTION_LINES = 40
# path (and function) -> why it may be longer
LONG_FILES: dict[str, str] = {"medloss/ops/build.py": "setup.py runs it alone, so it cannot be divided"}
LONG_FUNCTIONS: dict[str, str] = {}

# `/` and one of the places where people keep their files, not within a longer word or a URL
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work|workspace|mnt|scratch|tmp)/\w|\b[A-Z]:\\\\?Users")


class Imported(NamedTuple):
    """One import statement: the module that it names, its line, and whether it stands inside a function."""

    module: str
    line: int
    lazy: bool
    relative: bool


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the three package folders, by its import name."""
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join([package, *(part for part in parts if part != "__init__")]), path


MODULES = dict(modules())


def imports(name: str, path: Path) -> Iterator[Imported]:
    """The imports of a module, relative ones made absolute, `from a import b` as `a.b` where that is a module."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def visit(node: ast.AST, lazy: bool) -> Iterator[Imported]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Imported(alias.name, child.lineno, lazy, False)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    above = package.split(".")[: package.count(".") + 2 - child.level]
                    base = ".".join([*above, base]).rstrip(".")
                for alias in child.names:
                    whole = f"{base}.{alias.name}"
                    yield Imported(whole if whole in MODULES else base, child.lineno, lazy, child.level > 0)
            else:
                inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from visit(child, lazy or inside or is_type_checking(child))

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), lazy=False)


def is_type_checking(node: ast.AST) -> bool:
    """Whether this is an `if TYPE_CHECKING:` block, which nothing runs."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def layer_of(module: str) -> str:
    """`medloss.ops.region_sums` -> `ops`, `medloss` -> the empty name."""
    return module.split(".")[1] if "." in module else ""


def fault(name: str, path: Path, imported: Imported) -> str | None:
    """Why this import is against the plan, or None."""
    layer, top = layer_of(name), imported.module.split(".")[0]
    if layer in ("transforms", "apps") and imported.relative:
        return "is relative: transforms/ and apps/ are also importable under other names, so imports there are absolute"
    if top in ("transforms", "apps", "tests"):
        return "names a folder of the checkout, which is not there once installed"
    if top == "medloss":
        other = layer_of(imported.module)
        allowed = MAY_IMPORT[layer] | {layer}
        return None if other in allowed else f"is against the layers: {layer or 'medloss'} -> {other or 'medloss'}"
    if top in sys.stdlib_module_names or OUTSIDE[layer] is None or top in OUTSIDE[layer]:
        return None
    # a file of Triton kernels is itself imported on use
    on_use = imported.lazy or path.name.endswith(("triton_kernels.py", "triton_functions.py"))
    if top in OUTSIDE_LAZY.get(layer, ()) and on_use:
        return None
    return f"brings {top} into medloss.{layer}, which may use {sorted(OUTSIDE[layer])}"


def test_there_is_something_to_look_at():
    assert {"medloss", "medloss.base", "medloss.transforms.labels"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_follow_the_plan(name):
    path = MODULES[name]
    assert layer_of(name) in MAY_IMPORT, f"{name} is in no layer: put it into MAY_IMPORT of {Path(__file__).name}"
    faults = [
        f"{path.relative_to(ROOT)}:{imported.line}: import of {imported.module} {reason}"
        for imported in imports(name, path)
        if (reason := fault(name, path, imported))
    ]
    assert not faults, "\n".join(dict.fromkeys(faults))


@pytest.mark.parametrize(
    "name, source, message",
    [
        ("medloss.ops.x", "from medloss.base import Loss", "ops -> base"),
        ("medloss.ops.x", "from ..base import Loss", "ops -> base"),
        ("medloss.ops.x", "import triton", "brings triton"),
        ("medloss.segmentation.x", "from medloss.image.ssim import f", "segmentation -> image"),
        ("medloss.segmentation.x", "import monai", "brings monai"),
        ("medloss.compat.x", "import monai", "brings monai"),
        ("medloss.base", "from medloss.transforms import RemapLabels", "base -> transforms"),
        ("medloss.labels", "import scipy", "brings scipy"),
        ("medloss.transforms.x", "from .labels import RemapLabels", "is relative"),
        ("medloss.transforms.x", "from medloss.apps.cli import app", "transforms -> apps"),
        ("medloss.apps.x", "from transforms.labels import RemapLabels", "folder of the checkout"),
    ],
)
def test_the_rule_finds_what_is_against_it(tmp_path, name, source, message):
    path = tmp_path / "module.py"
    path.write_text(source)
    assert [message in (fault(name, path, imported) or "") for imported in imports(name, path)] == [True]


def test_the_rule_lets_pass_what_is_lazy(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "def f():\n    import monai\n\nimport numpy, torch.nn, math\nfrom medloss.labels import LabelView\n"
    )
    found = list(imports("medloss.compat.x", path))
    assert [fault("medloss.compat.x", path, imported) for imported in found] == [None] * 5


OPS = {name: path for name, path in MODULES.items() if name.startswith("medloss.ops.")}
OPERATORS = {name for name in OPS if OPS[name].name == "__init__.py"} | {
    f"medloss.ops.{name}" for name in ("hyperelastic", "local_correlation", "tubes")
}


def ops_graph() -> dict[str, set[str]]:
    """What each module of `medloss.ops` imports of the others, imports inside functions too."""
    return {
        name: {imported.module for imported in imports(name, path)} & set(OPS) - {name} for name, path in OPS.items()
    }


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules of which each needs the others; empty where there is an order of imports."""
    left = {name: set(needs) for name, needs in graph.items()}
    while free := {name for name, needs in left.items() if not needs & set(left)}:
        left = {name: needs for name, needs in left.items() if name not in free}
    return sorted(left)


def test_no_operator_imports_in_a_circle():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"], "the rule finds nothing"
    assert not circle(ops_graph())


def test_what_operators_share_knows_none_of_them():
    def is_of_an_operator(name: str) -> bool:
        return any(name == operator or name.startswith(f"{operator}.") for operator in OPERATORS)

    graph = {name: needs for name, needs in ops_graph().items() if not is_of_an_operator(name)}
    assert "medloss.ops.masking" in graph
    assert not {name: found for name, needs in graph.items() if (found := set(filter(is_of_an_operator, needs)))}


def test_references_need_no_kernels():
    """The specification can be read, and run, without the fast paths."""
    fast = re.compile(r"\b(cpu|native|library|build|\w*triton\w*|\w*launch\w*)$")
    graph = {name: needs for name, needs in ops_graph().items() if name.endswith("reference")}
    assert len(graph) > 20
    assert not {name: found for name, needs in graph.items() if (found := set(filter(fast.search, needs)))}


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from `def` to its end, its docstring not counted."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function, clean=False) is not None
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if has_docstring else 0)


def test_no_long_files():
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values()}
    lines = {str(path.relative_to(ROOT)): size for path, size in sizes.items()}
    long = {path for path, count in lines.items() if count > MOST_FILE_LINES}
    unexplained = long - set(LONG_FILES)
    assert not unexplained, f"above {MOST_FILE_LINES} lines: split them, or give the reason in LONG_FILES"
    assert set(LONG_FILES) <= long, "LONG_FILES names files that are short by now"


def test_no_long_functions():
    long = set()
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and code_lines(node) > MOST_FUNCTION_LINES:
                long.add(f"{path.relative_to(ROOT)}::{node.name}")
    unexplained = long - set(LONG_FUNCTIONS)
    assert not unexplained, f"above {MOST_FUNCTION_LINES} lines: split them, or give the reason in LONG_FUNCTIONS"
    assert set(LONG_FUNCTIONS) <= long, "LONG_FUNCTIONS names functions that are short by now"


def repository_files() -> list[Path]:
    """The files that git has or would take; all but the ignored folders where there is no git."""
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        files = (path for path in ROOT.rglob("*") if path.is_file())
        hidden = (".git", ".venv", "build", "dist", "__pycache__")
        return [path for path in files if not set(hidden) & set(path.relative_to(ROOT).parts)]
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_no_file_names_a_path_of_a_machine():
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" in content:  # pictures
            continue
        for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
            if match := MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line[max(0, match.start() - 20) :][:80].strip()}")
    assert not found, "\n".join(found)


# the examples are put together, so that the search does not find them in this file
@pytest.mark.parametrize(
    "text", ["'/" + "home/ann'", "open(/" + "tmp/x)", "C:" + "\\Users\\ann", "file:///" + "root/a"]
)
def test_machine_paths_are_recognised(text):
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize("text", ["https://a.org/" + "home/x", "runs/" + "tmp/x", "~/" + "work/x", "/usr/bin/env x"])
def test_other_paths_are_not(text):
    assert not MACHINE_PATH.search(text)
