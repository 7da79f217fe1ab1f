"""The commands ``medloss segment check-data | train | predict | evaluate``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from medloss.apps.common.app import App
from medloss.apps.common.commands import (
    AllowChanges,
    Configs,
    Device,
    DryRun,
    Last,
    Nan,
    PrintConfig,
    Quiet,
    Resume,
    Space,
    Threads,
    TrustArrays,
    load_settings,
    output_option,
    reading_options,
    run_training,
)
from medloss.apps.common.interrupt import interruptible

# torch and MONAI are imported inside the commands: ``medloss --help`` answers at once.

Ignored = Annotated[int | None, typer.Option(help="Label of voxels that do not count; by default that of the run.")]
MissedAsDiagonal = Annotated[
    bool,
    typer.Option(
        "--missed-as-diagonal",
        help="Distances of a missed region are the image's diagonal and enter the mean; else the mean says of how "
        "many regions it is.",
    ),
]
Within = Annotated[
    Path | None, typer.Option(help="Masks of the same names (brain, field of view): outside of them nothing counts.")
]
ChooseCleanup = Annotated[
    Path | None,
    typer.Option(
        help="Run folder: choose on its validation cases of which classes predict --cleanup keeps the largest "
        "component alone."
    ),
]

app = App(help="Train a 3D segmentation network, predict masks, evaluate them.")


@app.command()
def train(
    config: Configs = None,
    output: Annotated[Path | None, output_option("runs/DATE-segment, a new one where it exists")] = None,
    resume: Resume = False,
    allow_changes: AllowChanges = False,
    dry_run: DryRun = False,
    print_config: PrintConfig = False,
    quiet: Quiet = False,
) -> None:
    """Train a network with the losses of the YAML, or on a folder of images and labels with a plan made for it.

    Example: medloss segment train hippocampus.yaml train.epochs=20 train.optimizer.lr=2e-3 --output runs/first
    Example: medloss segment train Task04_Hippocampus train.minutes=60 --output runs/planned
    """
    from medloss.apps.segmentation.config import Config

    def training() -> Any:
        from medloss.apps.segmentation import train

        return train

    plan = _plan(config, resume)
    run = run_training(
        "segment",
        plan.config if plan else load_settings("segment", Config, config, output, resume),
        training,
        output=output,
        resume=resume,
        dry_run=dry_run,
        print_config=print_config,
        quiet=quiet,
        allow_changes=allow_changes,
        known={"prepared": plan.prepared} if plan else None,
    )
    if run is not None:
        typer.echo(f"predict with: medloss segment predict {run} IMAGE...")


@app.command(name="check-data")
def check_data(
    data: Annotated[Path, typer.Argument(metavar="FOLDER|CONFIG", help="Folder of a data set, or a configuration.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as data.ignore=255.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file to write the findings to as well; default: none.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Everything that is wrong with a data set, at once; exit code 1 where something is.

    Example: medloss segment check-data data/Task04_Hippocampus
    """
    from medloss.apps.segmentation.check import check, data_of

    report = check(data_of(data, overrides or []), progress=not quiet)
    typer.echo(report.text())
    if output is not None:
        report.write(output)
        typer.echo(f"wrote {output}")
    if report.faults:
        raise typer.Exit(1)


@app.command()
def plan(
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA [CONFIG...] [key=value ...]", help="Folder or CSV of the data; what is decided."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="YAML file to write.")] = Path("plan.yaml"),
) -> None:
    """Read a data set and write the configuration that it would be trained with, with the reason of each key.

    Example: medloss segment plan Task04_Hippocampus train.minutes=60 -o hippocampus.yaml
    """
    from medloss.apps.common.config_text import commented_yaml
    from medloss.apps.common.errors import UserError
    from medloss.apps.common.output import write_text
    from medloss.apps.segmentation.plan_files import planned

    found = planned(data)
    if found is None:
        raise UserError(f"{' '.join(data)}: give a folder with images/ and labels/, one with a dataset.json, or a CSV")
    write_text(output, commented_yaml(found.config, found.reasons))
    typer.echo(f"wrote {output}; train with: medloss segment train {output}")


def _plan(arguments: list[str] | None, resume: bool) -> Any:
    """What is planned for a data set among the arguments; None where there is none."""
    if resume:
        return None
    from medloss.apps.segmentation.plan_files import planned

    return planned(arguments or [])


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder that train left.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Images, or folders of images.")],
    output: Annotated[Path | None, output_option("predictions in RUN")] = None,
    also: Annotated[
        list[Path] | None, typer.Option("--also", help="A further run, such as another fold, to average with.")
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average over the mirrored copies known from training.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write class probabilities.")] = False,
    cleanup: Annotated[
        bool,
        typer.Option("--cleanup", help="Keep the largest component of the classes for which evaluate chose that."),
    ] = False,
    previews: Annotated[bool, typer.Option("--previews", help="Also draw each mask, as PNG.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make masks anew that exist.")] = False,
    nan: Nan = None,
    space: Space = None,
    last: Last = False,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Write a mask for each image: the image's affine and shape, the label ids of the training data.

    Example: medloss segment predict runs/first new_patients/ --output masks
    """
    from medloss.apps.segmentation.predict import predict as run_prediction

    options: dict[str, Any] = {
        "also": also or [],
        "tta": tta,
        "probabilities": probabilities,
        "cleanup": cleanup,
        "previews": previews,
        "overwrite": overwrite,
        "progress": not quiet,
    }
    options |= {"checkpoint": "last" if last else "best", "reading": reading_options(nan, space)}
    with interruptible("the masks that are written are whole; the same command goes on with the others"):
        masks = run_prediction(run, inputs, output, device=device, threads=threads, **options)
    typer.echo(f"wrote {len(masks)} mask{'s' * (len(masks) != 1)} to {masks[0].parent}")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of masks, or one mask.")],
    references: Annotated[Path, typer.Argument(help="Folder of reference masks of the same names, or one mask.")],
    output: Annotated[Path | None, output_option("the folder of the predictions")] = None,
    tolerance: Annotated[float, typer.Option(help="Tolerance of the surface Dice in mm.")] = 1.0,
    ignore: Ignored = None,
    missed_as_diagonal: MissedAsDiagonal = False,
    images: Annotated[Path | None, typer.Option(help="Images of the same names, for the pictures.")] = None,
    within: Within = None,
    previews: Annotated[int, typer.Option(min=0, help="How many of the worst cases are drawn.")] = 5,
    choose_cleanup: ChooseCleanup = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Exit code 0 although references have no prediction.")
    ] = False,
    space: Space = None,
    trust_arrays: TrustArrays = False,
    quiet: Quiet = False,
) -> None:
    """Dice, HD95, ASD (mm), surface Dice and volumes (ml) per case and label: a table, metrics.csv, metrics.json,
    report.html, the worst cases first, and previews/ of them.

    Example: medloss segment evaluate masks references --images scans --output results
    """
    from medloss.apps.common.reading import Reading
    from medloss.apps.segmentation.evaluate import evaluate as run_evaluation

    reading = Reading(**reading_options(None, space, trust_arrays))
    options: dict[str, Any] = {"tolerance": tolerance, "ignore": ignore, "progress": not quiet, "reading": reading}
    options |= {"missed": "diagonal" if missed_as_diagonal else "count", "images": images, "within": within}
    options["previews"] = previews
    result = run_evaluation(predictions, references, output, **options)
    typer.echo(result.table())
    folder = output or (predictions if predictions.is_dir() else predictions.parent)
    typer.echo(f"wrote metrics.csv, metrics.json and report.html to {folder}")
    if choose_cleanup is not None:
        from medloss.apps.segmentation.cleanup import choose_for

        typer.echo(choose_for(choose_cleanup, predictions, references, reading))
    if result.missing and not allow_missing:
        raise typer.Exit(1)
