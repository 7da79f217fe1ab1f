"""What setup.cfg and README promise: every folder is packaged, the core is light, the two commands come first."""

from __future__ import annotations

import configparser
import fnmatch
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("monai", "scipy", "pydantic", "matplotlib", "nibabel", "itk", "ignite", "omegaconf", "typer", "kornia")


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def package_folders() -> dict[str, Path]:
    """Name and folder of each package that holds Python files, by `package_dir`."""
    folders = {}
    for line in lines(setup_cfg()["options"]["package_dir"]):
        package, _, top = (part.strip() for part in line.partition("="))
        for folder in {path.parent for path in (ROOT / top).rglob("*.py")}:
            folders[".".join([package, *folder.relative_to(ROOT / top).parts])] = folder
    return folders


def test_every_folder_is_in_the_package_list():
    listed = lines(setup_cfg()["options"]["packages"])
    assert sorted(listed) == sorted(package_folders()), "setup.cfg [options] packages must equal the folders"


def test_every_folder_is_a_package():
    bare = [str(folder) for folder in package_folders().values() if not (folder / "__init__.py").is_file()]
    assert not bare, f"these folders have no __init__.py: {bare}"


def test_every_other_file_is_package_data():
    data = {package: lines(globs.replace(",", "\n")) for package, globs in setup_cfg()["options.package_data"].items()}
    missing = []
    for package, folder in package_folders().items():
        others = [path.name for path in folder.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc")]
        globs = [*data["*"], *data.get(package, [])]
        taken = [name for glob in globs for name in fnmatch.filter(others, glob)]
        missing += [f"{package}: {name}" for name in sorted(set(others) - set(taken))]
    assert not missing, f"setup.cfg [options.package_data] leaves these out of the wheel: {missing}"


def test_import_needs_torch_and_numpy_alone():
    code = f"import sys, medloss; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"


def test_readme_begins_with_the_two_commands():
    inside, commands = False, []
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside and line.strip() and not line.startswith(("git clone", "cd ", "#")):
            commands.append(line.partition("#")[0].removeprefix("$ ").strip())
    assert commands[:2] == ["make demo", "make test"]
