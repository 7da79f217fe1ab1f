"""The command ``medloss``: mounts the applications and turns the user's faults into one clear message."""

import sys

import typer

from medloss.apps.common.errors import UserError
from medloss.apps.demo.cli import demo
from medloss.apps.registration.cli import app as registration_app
from medloss.apps.segmentation.cli import app as segmentation_app

app = typer.Typer(
    name="medloss",
    help="Losses for medical imaging, at work: train a 3D segmentation network, register volumes, see a demonstration.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(segmentation_app, name="segment")
app.add_typer(registration_app, name="register")
app.command("demo")(demo)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0 (done), 1 (the run failed) or 2 (a fault in the input)."""
    try:
        app(args=arguments, prog_name="medloss")
    except Exception as error:
        if not _is_input_fault(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _is_input_fault(error: Exception) -> bool:
    # Whoever raised a LossConfigError has imported medloss.config: looking it up here keeps ``--help`` free of torch.
    config = sys.modules.get("medloss.config")
    return isinstance(error, UserError) or (config is not None and isinstance(error, config.LossConfigError))
