"""The command ``medloss``: quick where it only answers, and one line where something is not installed."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

import medloss
from medloss.apps.cli import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "numpy", *(name for name in PACKAGES if name not in ("typer", "pydantic")))  # typer uses pydantic
DISTRIBUTIONS = {"ignite": "pytorch-ignite", "itk": "itk-io", "yaml": "pyyaml"}
"""Where a package is not named as it is imported."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT)


def commands() -> list[list[str]]:
    """Every command and subcommand, as it is typed, and none."""
    import typer

    from medloss.apps.commands import app

    def below(command, path: list[str]) -> list[list[str]]:
        deeper = getattr(command, "commands", {})
        return [path, *(found for name in sorted(deeper) for found in below(deeper[name], [*path, name]))]

    return below(typer.main.get_command(app), [])


def imported_by_apps() -> set[str]:
    """The packages that the applications import."""
    found = set()
    for path in (ROOT / "apps").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names)


def test_there_are_commands():
    assert ["register", "pair"] in commands() and ["segment", "train"] in commands() and ["demo"] in commands()


def test_help_and_version_import_nothing_heavy():
    """Each answer by itself would cost a process: one gives them all."""
    code = f"""
import sys
from medloss.apps.cli import main
for arguments in {[[*path, "--help"] for path in commands()] + [["--version"]]!r}:
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    assert not heavy, (arguments, heavy)
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Usage:") == len(commands())


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["task=segmnt"], "did you mean segment?"),
        (["task=segment", "labls=soft"], "did you mean labels?"),
        (["task=segment", "labels=soft,prtial"], "did you mean partial?"),
        ([], "say the task: one of segment"),
        (["segment"], "expected question=answer"),
        (["--questions"], None),
    ],
)
def test_the_chooser_asks_and_refuses_without_torch(arguments, told):
    code = f"""
import sys
from medloss.apps.cli import main
try:
    main(["losses", "choose", *{arguments!r}])
except SystemExit as end:
    assert end.code in (None, 0, 2), end.code
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "task=segment: " in done.stdout if told is None else told in done.stderr


def parameters() -> list[tuple[str, object]]:
    """Every parameter of every command: how it is typed, and the parameter."""
    import typer

    from medloss.apps.commands import app

    found = []
    for path in commands():
        command = typer.main.get_command(app)
        for name in path:
            command = command.commands[name]
        found += [(" ".join([*path, each.opts[0]]), each) for each in command.params]
    return found


def test_every_parameter_has_its_text_and_no_flag_takes_a_value():
    from typer.testing import CliRunner

    from medloss.apps.commands import app

    assert [name for name, each in parameters() if not each.help] == []
    for path in commands():
        told = CliRunner().invoke(app, [*path, "--help"]).output
        assert "--help" in told and "<bool>" not in told and "BOOLEAN" not in told, path


def test_every_output_says_where_it_goes_without_being_told():
    outputs = [(name, each) for name, each in parameters() if "--output" in each.opts]
    assert len(outputs) > 10
    for name, each in outputs:
        assert each.required or each.default is not None or "; default: " in each.help, name


@pytest.mark.parametrize("module", ["medloss", "medloss.apps"])
def test_as_a_module(module):
    assert run("-m", module, "--version").stdout == f"medloss {medloss.__version__}\n"
    assert "Usage: medloss" in run("-m", module, "--help").stdout


def test_the_version_among_other_options():
    done = run("-m", "medloss", "--version", "demo")
    assert (done.returncode, done.stdout) == (0, f"medloss {medloss.__version__}\n")


def without(names: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """The code, run where these packages are not installed."""
    return run("-c", f"import sys; sys.modules.update(dict.fromkeys({names!r})); {code}")


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_without_the_applications_packages_every_command_says_what_to_install(path):
    done = without(PACKAGES, f"from medloss.apps.cli import main; main({path!r})")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the command medloss needs packages that are not installed (h5py, ignite, itk, ")
    assert line.endswith("pip install 'medloss[apps]' (in a clone: pip install '.[apps]')")


def test_without_them_the_version_is_known():
    done = without(PACKAGES, "from medloss.apps.cli import main; main(['--version'])")
    assert (done.returncode, done.stdout) == (0, f"medloss {medloss.__version__}\n")


@pytest.mark.parametrize("name", PACKAGES)
def test_without_one_of_them(name):
    done = without((name,), "from medloss.apps.cli import main; main(['register', 'pair', 'a.nii', 'b.nii'])")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: the command medloss needs packages that are not installed ({name}): "
        "pip install 'medloss[apps]' (in a clone: pip install '.[apps]')\n"
    )


def test_what_is_looked_for_is_what_the_applications_import_and_what_the_extra_brings():
    # tensorboard is imported by torch; nilearn is the demonstration's alone, which says so itself; kornia is measured
    # beside the losses where it is installed; mlflow is asked for by train.mlflow, which says so where it is missing
    beside = {"medloss", "torch", "numpy", "nilearn", "kornia", "mlflow"}
    assert set(PACKAGES) == imported_by_apps() - beside | {"tensorboard"}
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    extra = parser["options.extras_require"]["apps"].lower()
    brought = set(re.findall(r"[a-z][\w-]*", extra))
    assert {DISTRIBUTIONS.get(name, name) for name in PACKAGES} == brought, "setup.cfg [options.extras_require] apps"


def test_transforms_without_monai():
    for statement in ("import medloss.transforms", "from medloss.transforms.labels import RemapLabels"):
        done = without(("monai",), statement)
        assert done.stderr.splitlines()[-1] == (
            "ModuleNotFoundError: medloss.transforms needs MONAI, which is not installed: "
            "pip install 'medloss[transforms]' (in a clone: pip install '.[transforms]')"
        )


def test_losses_and_their_names_without_any_of_them():
    done = without(
        PACKAGES, "import medloss, torch; print(medloss.MSELoss()(torch.zeros(1, 1, 2), torch.ones(1, 1, 2)))"
    )
    assert done.stdout == "tensor(1.)\n", done.stderr
