"""The commands ``medloss losses list | show | choose | time``."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from medloss.apps.common.app import App

# torch is imported inside the commands: ``medloss --help`` answers at once.

app = App(help="Find a loss: list them, show one, choose by questions, measure time and memory.")
Name = Annotated[str, typer.Argument(help="Its name in YAML (dice_ce), a short one (lncc), or its class (DiceCELoss).")]


@app.command("list")
def list_losses(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD ...]", help="Only losses that have them in their name, text or family."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="What the loss sees: label, image, field or points.")] = None,
) -> None:
    """List losses with what they measure: on a terminal a line each, else and with a word the whole text.

    Example: medloss losses list vessel
    """
    from medloss.apps.losses.show import listed

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() and not words else None
    for line in listed(kind, words or (), width):
        typer.echo(line)


@app.command()
def show(
    name: Name,
    picture: Annotated[Path | None, typer.Option(help="Draw value and gradient on the phantom into a PNG.")] = None,
) -> None:
    """Show a loss: formula, every option in words, which implementation runs here and why, an example.

    Example: medloss losses show dice_ce
    """
    from medloss.apps.losses.show import loss_named, shown

    cls = loss_named(name)
    if picture is not None:
        from medloss.apps.losses.picture import draw

        draw(cls, picture)
        typer.echo(f"wrote {picture}")
        return
    for line in shown(cls):
        typer.echo(line)


@app.command()
def choose(
    answers: Annotated[
        list[str] | None, typer.Argument(metavar="[question=answer ...]", help="Such as task=segment metric=surface.")
    ] = None,
    table: Annotated[
        bool, typer.Option("--questions", help="Print the questions with their answers, and end.")
    ] = False,
) -> None:
    """Name the losses for a task, with settings and reasons. On a terminal it asks what is not answered.

    Example: medloss losses choose task=segment structure=tubes metric=topology
    """
    from medloss.apps.losses.ask import ask, given, questions_told
    from medloss.apps.losses.choice import choose as chosen
    from medloss.apps.losses.choice import told

    if table:
        for line in questions_told():
            typer.echo(line)
        return
    for line in told(chosen(ask(given(answers or [])))):
        typer.echo(line)


@app.command("time")
def time_loss(
    name: Name,
    size: Annotated[int, typer.Option(min=24, max=512, help="Voxels along each of the three axes.")] = 96,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the processor.")] = None,
) -> None:
    """Measure time and memory of one training step on this machine, beside the peers that are installed.

    Example: medloss losses time dice_ce --size 128
    """
    import torch

    from medloss.apps.losses.show import loss_named, timed
    from medloss.registry import snake_case

    if threads is not None:
        torch.set_num_threads(threads)
    for line in timed(snake_case(loss_named(name).__name__), size):
        typer.echo(line)
