"""Runs a notebook from top to bottom in a kernel of this Python; ``python tutorials/execute.py NOTEBOOK`` in place.

``make notebooks`` does that for each tutorial at full size. The tests call ``execute`` at smoke size and write nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient

INLINE = "module://matplotlib_inline.backend_inline"  # pictures go into the notebook, whatever the shell says


def execute(notebook: Path, environment: Mapping[str, str] | None = None, timeout: int = 1800) -> nbformat.NotebookNode:
    """The notebook with the outputs of a fresh run; the file stays as it is.

    Args:
        notebook: path of the ``.ipynb`` file.
        environment: variables for the kernel, beside those of this process.
        timeout: seconds that a cell may take.

    Raises:
        nbclient.exceptions.CellExecutionError: with the cell and its traceback, if one fails.
    """
    content = nbformat.read(notebook, as_version=4)
    variables = {**os.environ, "PYTHONPATH": search_path(), "MPLBACKEND": INLINE, **(environment or {})}
    with tempfile.TemporaryDirectory() as folder:  # what a cell writes goes there, not beside the notebook
        place = {"metadata": {"path": folder}}
        NotebookClient(content, timeout=timeout, kernel_name="python3", resources=place).execute(env=variables)
    for cell in content.cells:
        cell.metadata.pop("execution", None)  # times of day, which would change at each run
    return content


def search_path() -> str:
    """PYTHONPATH with this checkout last: the kernel finds medloss even where it is not installed."""
    root = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root]))


def main() -> None:
    """Execute in place; the file is replaced whole, and only if every cell ran."""
    path = Path(sys.argv[1])
    content = execute(path)
    temporary = path.with_suffix(".tmp")
    nbformat.write(content, temporary)
    os.replace(temporary, path)
    print(f"executed {path}")


if __name__ == "__main__":
    main()
