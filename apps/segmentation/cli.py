"""The commands ``medloss segment train | predict | evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

# torch and MONAI are imported inside the commands: ``medloss --help`` answers at once.

app = typer.Typer(help="Train a 3D segmentation network, predict masks, evaluate them.", no_args_is_help=True)

Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write to.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


@app.command()
def train(
    config: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONFIG... [key=value ...]", help="YAML files, later ones win, then overrides."),
    ] = None,
    output: Output = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output, exactly.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all data, try one step, write nothing.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the full configuration.")] = False,
    quiet: Quiet = False,
):
    """Train a network with the losses of the YAML.

    Example: medloss segment train hippocampus.yaml train.epochs=20 train.optimizer.lr=2e-3 --output runs/first
    """
    from medloss.apps.common.config import dump_config

    settings = _configuration(config or [], output, resume)
    if print_config:
        typer.echo(dump_config(settings), nl=False)
        return
    from medloss.apps.segmentation import train as training

    if dry_run:
        typer.echo(training.dry_run(settings))
        return
    try:
        run = training.train(settings, output or _default_output(), resume, progress=not quiet)
    except KeyboardInterrupt:
        typer.echo("stopped; the last finished epoch is kept: go on with --output RUN --resume", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"predict with: medloss segment predict {run.path} IMAGE...")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder that train left.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Images, or folders of images.")],
    output: Output = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average over the mirrored copies known from training.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write class probabilities.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that exist.")] = False,
    last: Annotated[bool, typer.Option("--last", help="Use the last checkpoint instead of the best.")] = False,
    quiet: Quiet = False,
):
    """Write a mask for each image: the image's affine and shape, the label ids of the training data.

    Example: medloss segment predict runs/first new_patients/ --output masks
    """
    from medloss.apps.segmentation.predict import predict as run_prediction

    masks = run_prediction(
        run,
        inputs,
        output,
        tta=tta,
        probabilities=probabilities,
        overwrite=overwrite,
        checkpoint="last" if last else "best",
        progress=not quiet,
    )
    typer.echo(f"wrote {len(masks)} mask{'s' * (len(masks) != 1)} to {masks[0].parent}")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of masks, or one mask.")],
    references: Annotated[Path, typer.Argument(help="Folder of reference masks of the same names, or one mask.")],
    output: Output = None,
    tolerance: Annotated[float, typer.Option(help="Tolerance of the surface Dice in mm.")] = 1.0,
    ignore: Annotated[int | None, typer.Option(help="Label of voxels that do not count.")] = None,
    quiet: Quiet = False,
):
    """Dice, HD95 (mm), ASD (mm) and surface Dice per case and label: metrics.csv, metrics.json and a table.

    Example: medloss segment evaluate masks references --output results
    """
    from medloss.apps.segmentation.evaluate import evaluate as run_evaluation

    result = run_evaluation(predictions, references, output, tolerance=tolerance, ignore=ignore, progress=not quiet)
    typer.echo(result.table())
    folder = output or (predictions if predictions.is_dir() else predictions.parent)
    typer.echo(f"wrote {folder / 'metrics.csv'} and {folder / 'metrics.json'}")


def _configuration(arguments: list[str], output: Path | None, resume: bool):
    from medloss.apps.common.config import load_config
    from medloss.apps.common.errors import UserError
    from medloss.apps.common.output import RunFolder
    from medloss.apps.segmentation.config import Config

    files = [each for each in arguments if "=" not in each or Path(each).is_file()]
    overrides = [each for each in arguments if each not in files]
    if resume and output is None:
        raise UserError("--resume needs --output: the run folder to go on with")
    if resume and not files:
        files = [str(RunFolder.open(output).config)]
    if not files:
        raise UserError("give at least one YAML file with data: and loss:, for instance medloss segment train run.yaml")
    return load_config(Config, files, overrides)


def _default_output() -> Path:
    from datetime import date

    return Path("runs") / f"{date.today().isoformat()}-segment"
