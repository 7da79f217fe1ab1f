"""The plan for a data set that stands among the arguments of a command, in the place of a configuration."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from medloss.apps.common.config import load_config
from medloss.apps.common.notes import note
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.data import prepare
from medloss.apps.segmentation.planning import Plan, data_section, plan

LOSS = {"dice_ce": {"include_background": False, "batch": True}}
"""Of a plan whose arguments name no loss."""


def planned(arguments: Sequence[str]) -> Plan | None:
    """Read the data set that one of the arguments names, and plan what the others leave open.

    The others are YAML files and ``key=value``, as for a training. None where no argument is a folder, a CSV file or a
    dataset.json.
    """
    places = [each for each in arguments if _is_data(Path(each))]
    if not places:
        return None
    data = data_section(Path(places[0]))
    rest = [each for each in arguments if each not in places]
    files = [each for each in rest if "=" not in each or Path(each).is_file()]
    overrides = [each for each in rest if each not in files]
    given = [key for file in files for key in _keys(OmegaConf.to_container(OmegaConf.load(file)))]
    given += [each.partition("=")[0].strip() for each in overrides]
    loss = [] if any(key.split(".")[0] == "loss" for key in given) else [{"loss": LOSS}]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "plan.yaml"
        base.write_text(yaml.safe_dump({"data": data, **(loss[0] if loss else {})}), encoding="utf-8")
        config = load_config(Config, [base, *files], overrides)
    found = plan(prepare(config), given)
    note(f"planned for {places[0]}: medloss segment plan {places[0]} -o plan.yaml writes it with its reasons")
    return found


def _is_data(path: Path) -> bool:
    return path.is_dir() or (path.is_file() and (path.suffix.lower() == ".csv" or path.name == "dataset.json"))


def _keys(content: Any, above: str = "") -> Iterator[str]:
    if isinstance(content, Mapping) and content:
        for name, value in content.items():
            yield from _keys(value, f"{above}.{name}" if above else str(name))
    elif above:
        yield above
