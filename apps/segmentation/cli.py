"""The commands ``medloss segment train | predict | evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from medloss.apps.common.commands import (
    Configs,
    DryRun,
    Last,
    Output,
    PrintConfig,
    Quiet,
    Resume,
    load_settings,
    run_training,
)

# torch and MONAI are imported inside the commands: ``medloss --help`` answers at once.

app = typer.Typer(help="Train a 3D segmentation network, predict masks, evaluate them.", no_args_is_help=True)


@app.command()
def train(
    config: Configs = None,
    output: Output = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    print_config: PrintConfig = False,
    quiet: Quiet = False,
):
    """Train a network with the losses of the YAML.

    Example: medloss segment train hippocampus.yaml train.epochs=20 train.optimizer.lr=2e-3 --output runs/first
    """
    from medloss.apps.segmentation.config import Config

    def training():
        from medloss.apps.segmentation import train

        return train

    run = run_training(
        "segment",
        load_settings("segment", Config, config, output, resume),
        training,
        output=output,
        resume=resume,
        dry_run=dry_run,
        print_config=print_config,
        quiet=quiet,
    )
    if run is not None:
        typer.echo(f"predict with: medloss segment predict {run} IMAGE...")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder that train left.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Images, or folders of images.")],
    output: Output = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average over the mirrored copies known from training.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write class probabilities.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that exist.")] = False,
    last: Last = False,
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
