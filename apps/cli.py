"""The command ``medloss``: runs the applications, and turns the user's faults into one clear message.

At import it needs the standard library alone, so that it can say what is not installed.
"""

import importlib.util
import os
import sys

from medloss._version import __version__
from medloss.apps.common.errors import fault_of_the_input
from medloss.extras import install_line

PACKAGES = (
    "h5py", "ignite", "itk", "jinja2", "matplotlib", "monai", "nibabel", "omegaconf", "pydantic", "scipy",
    "tensorboard", "tqdm", "typer", "yaml",
)  # fmt: skip
"""What the applications import, and ``pip install medloss`` alone does not bring."""


SPIN_COUNT = "1000"
"""How often a thread of OpenMP looks for work before it sleeps. By default it looks for milliseconds, and where another
process is busy it takes the very processor that the others wait for.
"""


def _spin_shortly() -> None:
    """Before torch is imported, since OpenMP reads it once; what the user has set counts."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0 (done), 1 (the run failed) or 2 (a fault in the input)."""
    if (sys.argv[1:] if arguments is None else arguments) == ["--version"]:  # answered without typer, too
        print(f"medloss {__version__}")
        return
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        needs = "error: the command medloss needs packages that are not installed"
        print(f"{needs} ({', '.join(missing)}): {install_line('apps')}", file=sys.stderr)
        sys.exit(2)
    _spin_shortly()
    from medloss.apps.commands import app

    try:
        app(args=arguments, prog_name="medloss")
    except Exception as error:
        told = fault_of_the_input(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        sys.exit(2)
