"""Configuration files: YAML merged by OmegaConf, overridden by ``key=value``, checked by pydantic."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medloss.apps.common.errors import UserError


def by_name(losses: Any) -> Any:
    """``dice`` and ``[dice, {focal: {gamma: 1}}]`` as the mapping that they stand for."""
    if isinstance(losses, str):
        return {losses: {}}
    if isinstance(losses, (list, tuple)):
        found: dict[str, Any] = {}
        for each in losses:
            found |= each if isinstance(each, Mapping) else {str(each): {}}
        return found
    return losses


LossMapping = Annotated[dict[str, Any], pydantic.BeforeValidator(by_name)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**32)]
"""What every generator takes, NumPy's too."""


class Model(pydantic.BaseModel):
    """Base of every configuration section: unknown keys are faults, and assignments are checked too."""

    model_config = pydantic.ConfigDict(
        extra="forbid", validate_assignment=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


M = TypeVar("M", bound=Model)
LENGTHS = ("train.minutes", "train.steps", "train.epochs")
"""The keys of a training's length, each of which wins over those behind it."""


def losses(
    kind: str, complete: Callable[[LossMapping], LossMapping] | None = None, chosen: str | None = None
) -> pydantic.AfterValidator:
    """Checks a configuration field that holds losses of ``kind`` ("label", "image", "field" or "points").

    ``complete`` may add the options that an application knows, before the mapping is checked. ``chosen`` is a name that
    stands for losses that the application chooses itself: alone, and without options.

    >>> class Config(Model):
    ...     loss: Annotated[LossMapping, losses("label")] = {}
    """

    def check(mapping: LossMapping) -> LossMapping:
        from medloss.config import build_loss  # imports torch: only when a configuration is read

        if chosen is not None and chosen in mapping:
            if len(mapping) > 1 or mapping[chosen]:
                raise ValueError(f"{chosen} chooses the losses itself: it takes no options, and no loss beside it")
            return {chosen: {}}
        completed = complete(mapping) if complete is not None else mapping
        if completed:
            build_loss(completed, kind=kind)
        return completed

    return pydantic.AfterValidator(check)


def load_config(model_type: type[M], files: Sequence[Path | str], overrides: Iterable[str] = ()) -> M:
    """Merge YAML ``files`` (later ones win), apply dotted ``key=value`` overrides, resolve ``${...}`` and validate.

    An override replaces what stands at its key, a whole section included: ``loss={dice: {}}`` leaves one loss. One of
    the length of a training replaces the other lengths of the files: ``train.steps=10`` counts in a plan of minutes.

    Raises UserError naming every fault by its dotted path; unknown keys come with the nearest known one.
    """
    merged: Any = OmegaConf.create({})
    for file in files:
        merged = OmegaConf.merge(merged, _read(Path(file)))
    given = [_apply(merged, override) for override in overrides]
    _one_length(merged, given)
    try:
        mapping = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration cannot be resolved: {error}") from error
    return validate(model_type, mapping, " + ".join(str(file) for file in files) or "the configuration")


def validate(model_type: type[M], mapping: Any, source: str) -> M:
    """Check a plain mapping against ``model_type``; ``source`` names it in the UserError that lists all faults."""
    try:
        return model_type.model_validate(mapping)
    except pydantic.ValidationError as error:
        faults = [_describe(model_type, fault) for fault in error.errors()]
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise UserError(f"{len(faults)} fault{'s' * (len(faults) > 1)} in {source}:\n{listed}") from error


def as_mapping(model: Model) -> dict[str, Any]:
    """The configuration as plain data, by the names that YAML has."""
    return model.model_dump(mode="json", by_alias=True)


def dump_config(model: Model) -> str:
    """The configuration as YAML that :func:`load_config` reads back to an equal model."""
    return yaml.safe_dump(as_mapping(model), sort_keys=False, allow_unicode=True, width=120)


def _read(file: Path) -> DictConfig:
    if not file.is_file():
        raise UserError(f"configuration file {file} does not exist" + _nearest_file(file))
    try:
        content = OmegaConf.load(file)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid YAML: {error}") from error
    if not isinstance(content, DictConfig):
        raise UserError(f"{file} must hold a mapping of sections (data:, loss:, ...), not a list or a single value")
    return content


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Dotted ``key=value`` as a nested mapping, for a configuration that is made in the code."""
    found: Any = OmegaConf.create({})
    for override in overrides:
        _apply(found, override)
    return typing.cast(dict[str, Any], OmegaConf.to_container(found))


def _apply(config: DictConfig, override: str) -> str:
    """Set one key, and give its name back."""
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise UserError(f"{override!r} is neither a file nor key=value; write for example train.epochs=20")
    try:
        parsed = OmegaConf.from_dotlist([f"value={value}"])["value"]
        OmegaConf.update(config, key.strip(), parsed, merge=False, force_add=True)
    except (OmegaConfBaseException, yaml.YAMLError, TypeError, ValueError) as error:
        raise UserError(f"the override {override!r} cannot be applied: {error}") from error
    return key.strip()


def _one_length(config: DictConfig, given: Sequence[str]) -> None:
    """Take lengths out that would win over one that was given as an override, but for those given as well."""
    shortest = max((LENGTHS.index(key) for key in given if key in LENGTHS), default=0)
    for key in LENGTHS[:shortest]:
        if key not in given and OmegaConf.select(config, key) is not None:
            OmegaConf.update(config, key, None)


def _describe(model_type: type[Model], fault: Any) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{path}: unknown key{_suggest(str(fault['loc'][-1]), _fields_at(model_type, fault['loc'][:-1]))}"
    message = fault["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if fault["type"] in ("missing", "value_error"):
        return f"{path}: {message}" if path and not message.startswith(f"{path}.") else message
    return f"{path}: {message}, got {fault['input']!r}"


def _suggest(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known keys here: {', '.join(known)}"


def _fields_at(annotation: Any, loc: Sequence[Any]) -> list[str]:
    """Names of the fields of the section at ``loc``, looking through Optional, unions, lists and Annotated."""
    models: list[Any] = list(_models_in(annotation))
    fields = {field.alias or name: field.annotation for model in models for name, field in model.model_fields.items()}
    if not loc:
        return list(fields)
    deeper = [fields[loc[0]]] if loc[0] in fields else []
    if not deeper:  # a list index, a mapping's key or a union's tag: the section is the same one
        deeper = models
    return [name for each in deeper for name in _fields_at(each, loc[1:])]


def _models_in(annotation: Any) -> Iterable[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _nearest_file(file: Path) -> str:
    folder = file.parent if str(file.parent) else Path(".")
    names = [each.name for each in folder.glob("*.y*ml")] if folder.is_dir() else []
    near = difflib.get_close_matches(file.name, names, n=1)
    return f"; did you mean {folder / near[0]}?" if near else ""
