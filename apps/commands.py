"""The commands of ``medloss``: the applications, mounted under one."""

from typing import Annotated

import typer

from medloss._version import __version__
from medloss.apps.common.app import App
from medloss.apps.demo.cli import demo
from medloss.apps.losses.cli import app as losses_app
from medloss.apps.registration.cli import app as registration_app
from medloss.apps.segmentation.cli import app as segmentation_app

app = App(name="medloss", pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medloss {__version__}")
        raise typer.Exit


@app.callback()
def medloss(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Losses for medical imaging, at work: train a 3D segmentation network, register volumes, see a demonstration."""


app.add_typer(segmentation_app, name="segment")
app.add_typer(registration_app, name="register")
app.add_typer(losses_app, name="losses")
app.command("demo")(demo)


@app.command("doctor")
def doctor() -> None:
    """Print versions, devices, which kernels serve and why, and what is missing: for a report of a fault."""
    from medloss.apps.common.doctor import doctor as examine

    typer.echo(examine())
