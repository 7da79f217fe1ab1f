"""What a run was made of: the files and the settings that decide its result, compared when it is resumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss.apps.common.config import Model, dump_config
from medloss.apps.common.errors import UserError
from medloss.apps.common.output import RunFolder, digest_of, read_json, write_json

FILE = "made_of.json"
FREE = (
    "device",
    "threads",
    "validate",
    "predict",
    "train.epochs",
    "train.steps",
    "train.minutes",
    "train.workers",
    "train.mlflow",
    "data.cache",
    "data.cache_folder",
    "data.root",
    "data.images",
    "data.masks",
    "data.file",
    "data.train",
    "data.valid",
    "data.test",
)
"""Keys that may differ when a run is resumed. The cases that data keys lead to are compared by themselves."""
MOST_LISTED = 10


def describe_origin(
    config: Mapping[str, Any], files: Mapping[str, Sequence[Path]], parts: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """What a run is made of, as plain data.

    Args:
        config: the complete configuration.
        files: the files of each case by its name.
        parts: the names of the cases of each part (``train``, ``valid``).
    """
    return {
        "settings": {key: value for key, value in leaves(config) if not _is_free(key)},
        "cases": {name: [digest_of(path) for path in paths] for name, paths in files.items()},
        "parts": {part: list(names) for part, names in parts.items()},
    }


def open_run(
    path: Path | str, config: Model, origin: Mapping[str, Any], device: Any, resume: bool, allow_changes: bool
) -> RunFolder:
    """A new run folder that knows what it is made of, or the one to resume, compared with that.

    Raises:
        UserError: the run to resume was made of something else, and ``allow_changes`` is False.
    """
    if not resume:
        run = RunFolder.create(path, dump_config(config), device_used=str(device))
    else:
        run = RunFolder.open(path)
        for line in check_origin(run, origin, allow_changes):
            run.log(f"changed: {line}")
    write_json(run.path / FILE, origin)
    return run


def check_origin(run: RunFolder, origin: Mapping[str, Any], allow_changes: bool) -> list[str]:
    """What has changed since the run was made, one line each.

    Raises:
        UserError: something has, and ``allow_changes`` is False.
    """
    before = read_json(run.path / FILE)
    if not isinstance(before, dict):
        return []  # a run of an earlier version
    changed = [*_settings(before, origin), *_cases(before, origin), *_parts(before, origin)]
    if changed and not allow_changes:
        listed = "\n".join(f"  {line}" for line in changed[:MOST_LISTED])
        more = f"\n  ... ({len(changed)} in all)" if len(changed) > MOST_LISTED else ""
        raise UserError(
            f"{run.path} was made of something else, so going on would not be the same training:\n{listed}{more}\n"
            "put it back, start a new run without --resume, or pass --allow-changes to go on all the same"
        )
    return changed


def leaves(config: Any, above: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys and values of nested mappings."""
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from leaves(value, f"{above}.{key}" if above else str(key))
    else:
        yield above, config


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def _settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = before.get("settings", {}), now["settings"]
    keys = [key for key in {**old, **new} if old.get(key, "absent") != new.get(key, "absent")]
    return [f"{key}: {old.get(key, 'absent')} then, {new.get(key, 'absent')} now" for key in keys]


def _cases(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = before.get("cases", {}), now["cases"]
    gone = [f"case {name} is gone" for name in old if name not in new]
    added = [f"case {name} is new" for name in new if name not in old]
    other = [f"the files of case {name} have changed" for name in new if name in old and old[name] != new[name]]
    return gone + added + other


def _parts(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old = {name: part for part, names in before.get("parts", {}).items() for name in names}
    new = {name: part for part, names in now["parts"].items() for name in names}
    return [f"case {name}: {old[name]} then, {part} now" for name, part in new.items() if old.get(name, part) != part]
