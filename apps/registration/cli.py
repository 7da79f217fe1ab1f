"""The commands ``medloss register pair | train | predict | evaluate | report``, and those for transform files."""

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
    PrintConfig,
    Quiet,
    Resume,
    Threads,
    load_settings,
    output_option,
    run_training,
)
from medloss.apps.common.interrupt import interruptible
from medloss.apps.registration.transform_cli import compose, convert, invert, warp

# torch and MONAI are imported inside the commands: ``medloss --help`` answers at once.

Registered = Annotated[
    Path, typer.Argument(help="Folder that pair or predict wrote, or one that holds several of pair's folders.")
]

app = App(help="Register one pair by optimisation, or many by a trained network.")
for command in (warp, compose, invert, convert):
    app.command()(command)


@app.command()
def pair(
    fixed: Annotated[Path, typer.Argument(help="The image that stays.")],
    moving: Annotated[Path, typer.Argument(help="The image that is laid over it.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[key=value ...]", help="Keys of the configuration, such as spacing=2; all of them: --print-config."
        ),
    ] = None,
    config: Annotated[list[Path] | None, typer.Option("--config", "-c", help="YAML files, later ones win.")] = None,
    fixed_label: Annotated[Path | None, typer.Option(help="Label map of the fixed image.")] = None,
    moving_label: Annotated[Path | None, typer.Option(help="Label map of the moving image.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Where to compare, on the fixed grid.")] = None,
    moving_mask: Annotated[Path | None, typer.Option(help="Where to compare, on the moving grid.")] = None,
    output: Annotated[Path | None, output_option("runs/MOVING-to-FIXED, a new one where it exists")] = None,
    print_config: PrintConfig = False,
    quiet: Quiet = False,
) -> None:
    """Register MOVING to FIXED by optimisation, without training: moved image, fields for ITK and ANTs, report.html.

    Example: medloss register pair fixed.nii.gz moving.nii.gz spacing=2 -o result
    """
    from medloss.apps.common.config import dump_config, load_config
    from medloss.apps.registration.config import PairConfig

    settings = load_config(PairConfig, config or [], overrides or [])
    if print_config:
        typer.echo(dump_config(settings), nl=False)
        return
    from medloss.apps.registration.pair import register_pair

    labels = {"fixed_label": fixed_label, "moving_label": moving_label, "moving_mask": moving_mask}
    with interruptible("nothing was written: the result of a pair is written at its end"):
        run = register_pair(fixed, moving, settings, output, **labels, mask=mask, progress=not quiet)
    typer.echo(f"wrote {run.path}; open {run.path / 'report.html'}")


@app.command()
def train(
    config: Configs = None,
    output: Annotated[Path | None, output_option("runs/DATE-register, a new one where it exists")] = None,
    resume: Resume = False,
    allow_changes: AllowChanges = False,
    dry_run: DryRun = False,
    print_config: PrintConfig = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on DeepReg's folders with image, label, point and field losses from the YAML.

    The images are paired, unpaired, grouped or laid over an atlas. Several GPUs or machines: torchrun -m medloss.apps.

    Example: medloss register train prostate.yaml train.epochs=30 --output runs/prostate
    """
    from medloss.apps.registration.config import RegistrationConfig

    def training() -> Any:
        from medloss.apps.registration import train

        return train

    run = run_training(
        "register",
        load_settings("register", RegistrationConfig, config, output, resume),
        training,
        output=output,
        resume=resume,
        dry_run=dry_run,
        print_config=print_config,
        quiet=quiet,
        allow_changes=allow_changes,
    )
    if run is not None:
        typer.echo(f"predict with: medloss register predict {run}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder that train left.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[key=value ...]", help="Keys of pair's configuration for --refine.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the training's data: train, valid or test.")] = "test",
    pairs: Annotated[
        Path | None, typer.Option(help="CSV or JSON list: fixed, moving (name, fixed_label, ...).")
    ] = None,
    output: Annotated[Path | None, output_option("predictions/SPLIT in RUN, or predictions/NAME of the list")] = None,
    refine: Annotated[int, typer.Option(min=0, help="Iterations of optimisation from the network's field.")] = 0,
    last: Last = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Register pairs anew that are there.")] = False,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Register pairs with a trained network: for each what ``pair`` writes, and a table over all of them.

    With --refine the field of the network is where an optimisation as in ``pair`` begins, by the image and field
    losses of the training.

    Example: medloss register predict runs/prostate --split test
    """
    from medloss.apps.common.config import parse_overrides
    from medloss.apps.registration.predict import predict as run_prediction

    options: dict[str, Any] = {
        "split": split,
        "pairs": pairs,
        "last": last,
        "overwrite": overwrite,
        "refine": refine,
        "settings": parse_overrides(overrides or []),
        "progress": not quiet,
    }
    with interruptible("the pairs that are written are whole; the same command goes on with the others"):
        result = run_prediction(run, output, device=device, threads=threads, **options)
    typer.echo(result.table())
    typer.echo(f"wrote {result.folder}")


@app.command()
def evaluate(
    folder: Registered,
    output: Annotated[Path | None, output_option("FOLDER; of one pair FOLDER/evaluation")] = None,
) -> None:
    """One table and page over all pairs: Dice, HD95 and ASD (mm) per label, folding, SDlogJ, time, with intervals.

    Example: medloss register evaluate runs/prostate/predictions/test
    """
    from medloss.apps.registration.evaluate import evaluate as run_evaluation

    result = run_evaluation(folder, output)
    typer.echo(result.table())
    typer.echo(f"wrote metrics.csv, metrics.json and report.html in {result.folder}")


@app.command()
def report(
    folder: Registered,
    output: Annotated[Path | None, output_option("FOLDER")] = None,
) -> None:
    """One page over one or all registered pairs, the worst first: pictures, numbers, files and how to open them.

    Of several pairs also the tables that evaluate writes.

    Example: medloss register report runs/prostate/predictions/test
    """
    from medloss.apps.registration.evaluate import report as write_report

    typer.echo(f"wrote {write_report(folder, output)}")
