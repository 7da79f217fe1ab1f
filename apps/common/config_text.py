"""A configuration as text for people: YAML with a comment at each key, and a reference page of all keys."""

from __future__ import annotations

import textwrap
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pydantic
import yaml

from medloss.apps.common.config import Model, as_mapping

WIDTH = 118


class Key(NamedTuple):
    """A key of a configuration by its dotted path, with what the schema says about it."""

    path: str
    kind: str
    default: str
    told: str


def keys_of(model: type[Model], above: str = "") -> Iterator[Key]:
    """Every key of a schema: those of a section itself, then those of the sections in it."""
    fields = {f"{above}{field.alias or name}": field for name, field in model.model_fields.items()}
    for path, field in fields.items():
        if _section(field.annotation) is None:
            default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
            yield Key(path, _kind(field), default, " ".join((field.description or "").split()))
    for path, field in fields.items():
        section = _section(field.annotation)
        if section is not None:
            told = f"{field.description or ''} {section.__doc__ or ''}"
            yield Key(path, "section", "", " ".join(told.split()))
            yield from keys_of(section, f"{path}.")


def commented_yaml(config: Model, reasons: Mapping[str, str] | None = None) -> str:
    """The whole configuration as YAML that reads back to an equal one; above each key what it means, or its reason."""
    told = {key.path: key.told for key in keys_of(type(config))} | dict(reasons or {})
    return "\n".join(_lines(as_mapping(config), type(config), told, "")) + "\n"


def _lines(mapping: Mapping[str, Any], model: type[Model] | None, told: Mapping[str, str], above: str) -> Iterator[str]:
    indent = "  " * above.count(".")
    sections = {} if model is None else {f.alias or n: _section(f.annotation) for n, f in model.model_fields.items()}
    for name, value in mapping.items():
        path = f"{above}{name}"
        comment = told.get(path, "").replace("``", "`")
        if comment:
            yield from textwrap.wrap(comment, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        section = sections.get(name)
        if section is not None and isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _lines(value, section, told, f"{path}.")
        else:
            yield f"{indent}{name}: {_shown(value)}"


def _section(annotation: Any) -> type[Model] | None:
    """The section that a field holds, where it holds nothing but one."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Model) else None


def _kind(field: pydantic.fields.FieldInfo) -> str:
    """The type in words, with its bounds."""
    bounds = []
    for each in field.metadata:
        for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
            value = getattr(each, name, None)
            if value is not None:
                bounds.append(f"{sign} {value:.12g}")
    return _type(field.annotation) + (f", {' and '.join(bounds)}" if bounds else "")


def _type(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(parts[0])
    if origin is typing.Literal:
        return ", ".join(str(part) for part in parts)
    if origin in (list, tuple, dict):
        inner = [_type(part) for part in parts if part is not Ellipsis]
        if origin is tuple:
            return f"{len(inner)} x {inner[0]}"
        if origin is list:
            return f"list of {inner[0]}"
        return "mapping" if inner[-1] == "any" else f"mapping to {inner[-1]}"
    if parts:  # a union
        return " or ".join(_type(part) for part in parts)
    names = {
        "int": "integer",
        "float": "number",
        "str": "text",
        "bool": "true, false",
        "NoneType": "null",
        "Any": "any",
    }
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name.lower())


def _shown(value: Any) -> str:
    if isinstance(value, Model):
        return _shown(as_mapping(value))
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
