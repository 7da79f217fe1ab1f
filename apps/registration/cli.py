"""The commands ``medloss register pair | train | predict | evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

# torch and MONAI are imported inside the commands: ``medloss --help`` answers at once.

app = typer.Typer(help="Register one pair by optimisation, or many by a trained network.", no_args_is_help=True)

Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write to.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print the full configuration.")]


@app.command()
def pair(
    fixed: Annotated[Path, typer.Argument(help="The image that stays.")],
    moving: Annotated[Path, typer.Argument(help="The image that is laid over it.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[key=value ...]")] = None,
    config: Annotated[list[Path] | None, typer.Option("--config", "-c", help="YAML files, later ones win.")] = None,
    fixed_label: Annotated[Path | None, typer.Option(help="Label map of the fixed image.")] = None,
    moving_label: Annotated[Path | None, typer.Option(help="Label map of the moving image.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Where to compare, on the fixed grid.")] = None,
    output: Output = None,
    print_config: PrintConfig = False,
    quiet: Quiet = False,
):
    """Register MOVING to FIXED by optimisation, without training: moved image, fields that ITK and ANTs read, a report.

    Example: medloss register pair fixed.nii.gz moving.nii.gz spacing=2 -o result
    """
    from medloss.apps.common.config import dump_config, load_config
    from medloss.apps.registration.config import PairConfig

    settings = load_config(PairConfig, config or [], overrides or [])
    if print_config:
        typer.echo(dump_config(settings), nl=False)
        return
    from medloss.apps.registration.pair import register_pair

    run = register_pair(
        fixed,
        moving,
        settings,
        output,
        fixed_label=fixed_label,
        moving_label=moving_label,
        mask=mask,
        progress=not quiet,
    )
    typer.echo(f"wrote {run.path}")


@app.command()
def train(
    config: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONFIG... [key=value ...]", help="YAML files, later ones win, then overrides."),
    ] = None,
    output: Output = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output, exactly.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all data, try one step, write nothing.")] = False,
    print_config: PrintConfig = False,
    quiet: Quiet = False,
):
    """Train a network on DeepReg's folders, paired or unpaired, with image, label and field losses from the YAML.

    Example: medloss register train prostate.yaml train.epochs=30 --output runs/prostate
    """
    from medloss.apps.common.config import dump_config

    settings = _configuration(config or [], output, resume)
    if print_config:
        typer.echo(dump_config(settings), nl=False)
        return
    from medloss.apps.registration import train as training

    if dry_run:
        typer.echo(training.dry_run(settings))
        return
    try:
        run = training.train(settings, output or _default_output(), resume, progress=not quiet)
    except KeyboardInterrupt:
        typer.echo("stopped; the last finished epoch is kept: go on with --output RUN --resume", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"predict with: medloss register predict {run.path}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder that train left.")],
    split: Annotated[str, typer.Option(help="Split of the training's data: train, valid or test.")] = "test",
    pairs: Annotated[Path | None, typer.Option(help="CSV: fixed, moving (name, fixed_label, moving_label).")] = None,
    output: Output = None,
    last: Annotated[bool, typer.Option("--last", help="Use the last checkpoint instead of the best.")] = False,
    quiet: Quiet = False,
):
    """Register pairs with a trained network: for each what ``pair`` writes, and a table over all of them.

    Example: medloss register predict runs/prostate --split test
    """
    from medloss.apps.registration.predict import predict as run_prediction

    result = run_prediction(run, output, split=split, pairs=pairs, last=last, progress=not quiet)
    typer.echo(result.table())
    typer.echo(f"wrote {result.folder}")


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder that predict wrote, or that holds several pair's folders.")],
    output: Output = None,
):
    """One table over all registered pairs: Dice, HD95 and ASD (mm) per label, folding, SDlogJ, time, with intervals.

    Example: medloss register evaluate runs/prostate/predictions/test
    """
    from medloss.apps.registration.evaluate import evaluate as run_evaluation

    result = run_evaluation(folder, output)
    typer.echo(result.table())
    typer.echo(f"wrote {result.folder / 'metrics.csv'} and {result.folder / 'metrics.json'}")


def _configuration(arguments: list[str], output: Path | None, resume: bool):
    from medloss.apps.common.config import load_config
    from medloss.apps.common.errors import UserError
    from medloss.apps.common.output import RunFolder
    from medloss.apps.registration.config import RegistrationConfig

    files = [each for each in arguments if "=" not in each or Path(each).is_file()]
    overrides = [each for each in arguments if each not in files]
    if resume and output is None:
        raise UserError("--resume needs --output: the run folder to go on with")
    if resume and not files:
        files = [str(RunFolder.open(output).config)]
    if not files:
        raise UserError("give a YAML file with data: and loss:, for instance medloss register train run.yaml")
    return load_config(RegistrationConfig, files, overrides)


def _default_output() -> Path:
    from datetime import date

    return Path("runs") / f"{date.today().isoformat()}-register"
