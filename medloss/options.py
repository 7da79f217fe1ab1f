"""The options of a loss: the annotated names of its class body, keywords of its constructor, checked whenever set.

A loss is no dataclass: libraries that take a dataclass for a container (OmegaConf, Hydra, Lightning) leave it alone.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from medloss.spelling import suggestion

if sys.version_info >= (3, 11):
    from typing import dataclass_transform
elif TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        """Tells type checkers alone what a class body means."""
        return lambda cls: cls


__all__ = ["KW_ONLY", "Configured", "Option", "changed", "options", "suggestion"]

REQUIRED: Any = inspect.Parameter.empty
TORCHS_OWN = frozenset(vars(nn.Module()))
REGISTRIES = ("_parameters", "_buffers", "_modules")


class Option(NamedTuple):
    """One option: its default (``REQUIRED`` where there is none), and whether it may come without its name."""

    default: Any
    positional: bool


class _Signature:
    """The signature of a class whose constructor is the one of :class:`Configured`; instances have none."""

    def __get__(self, instance: Any, owner: type[Configured]) -> inspect.Signature:
        if instance is not None or owner.__init__ is not Configured.__init__:
            raise AttributeError("__signature__")
        kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        found = [
            inspect.Parameter(name, kinds[option.positional], default=option.default)
            for name, option in owner._options.items()
        ]
        return inspect.Signature(sorted(found, key=lambda parameter: parameter.kind))


@dataclass_transform(eq_default=False, kw_only_default=True)
class Configured(nn.Module):
    """A module with options. An option that is set later counts: the module becomes as if it had been made with it.

    The annotated names of a subclass's body are its options, beside those of its bases; what follows from them is made
    in ``__post_init__``, from nothing but them. An option that does not fit raises what the constructor raises, and
    leaves the module as it was. Lists, arrays and tensors are kept as tuples of numbers, which nobody can change
    unseen.

    Keyword of the class: ``kw_only=False`` makes the options in front of ``_: KW_ONLY`` positional.
    """

    if TYPE_CHECKING:
        _given: ClassVar[dict[str, Any]]  # of each instance

        def __call__(self, *args: Any, **kwargs: Any) -> Tensor: ...  # of a module's call, torch says nothing

    _options: ClassVar[Mapping[str, Option]] = MappingProxyType({})
    __signature__ = _Signature()

    def __init_subclass__(cls, *, kw_only: bool = True, **more: Any) -> None:
        super().__init_subclass__(**more)
        found: dict[str, Option] = {}
        for base in reversed(cls.__mro__[1:]):
            found |= vars(base).get("_options", {})
        for name, kind in inspect.get_annotations(cls).items():
            if name == "_":
                kw_only = True
            elif "ClassVar" not in str(kind):
                default = vars(cls).get(name, found[name].default if name in found else REQUIRED)
                found[name] = Option(default, not kw_only)
                if name in vars(cls):  # a default on the class would hide a module or a buffer of the same name
                    delattr(cls, name)
        cls._options = MappingProxyType(found)

    def __new__(cls, *args: Any, **given: Any) -> Any:
        if "__dataclass_fields__" in vars(cls):
            raise TypeError(f"{cls.__name__} is a dataclass, and a loss is none: leave out @dataclass")
        instance = super().__new__(cls)
        nn.Module.__init__(instance)  # before the first option is set
        return instance

    def __init__(self, *args: Any, **given: Any) -> None:
        name, known = type(self).__name__, type(self)._options
        positional = [key for key, option in known.items() if option.positional]
        if len(args) > len(positional):
            raise TypeError(
                f"{name} takes {len(positional)} positional arguments, not {len(args)}: options are keywords"
            )
        for key, value in zip(positional, args, strict=False):
            if key in given:
                raise TypeError(f"{name} was given {key} twice")
            given[key] = value
        for key in given:
            if key not in known:
                raise TypeError(f"{name} has no option {key!r}{suggestion(key, known)}")
        for key, option in known.items():
            if key not in given and option.default is REQUIRED:
                raise TypeError(f"{name} needs its option {key}")
        _make(self, {key: frozen(key, value) for key, value in given.items()})

    def __post_init__(self) -> None:
        """Check the options, and make what follows from them."""

    def __setattr__(self, name: str, value: Any) -> None:
        given = self.__dict__.get("_given")
        if given is None or name.startswith("_"):  # it is being made
            super().__setattr__(name, value)
        elif name in type(self)._options:
            _become(self, given | {name: frozen(name, value)})
        else:
            close = difflib.get_close_matches(name, type(self)._options, n=1, cutoff=0.8)
            if close and not hasattr(self, name):
                raise AttributeError(f"{type(self).__name__} has no option {name!r}; did you mean {close[0]}?")
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in type(self)._options:
            raise AttributeError(f"{name} is an option of {type(self).__name__}, and stays: set it to its default")
        super().__delattr__(name)

    def __copy__(self) -> Any:
        state = {name: value for name, value in vars(self).items() if name != "_twins"}
        found = type(self).__new__(type(self))
        vars(found).update(state | {name: dict(state[name]) for name in REGISTRIES})
        return found

    def _told(self, *without: str) -> str:
        """The options as ``name=value``."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self)._options if name not in without)


Some = TypeVar("Some", bound=Configured)


def options(thing: Any) -> Mapping[str, Option]:
    """The options of a loss or of its class, by name; empty for whatever has none."""
    return getattr(thing, "_options", {})


def changed(module: Some, **changes: Any) -> Some:
    """Another module of the same class, with some options changed.

    Raises:
        TypeError, ValueError: the constructor's.
    """
    fresh: Some = type(module).__new__(type(module))
    _make(fresh, module._given | {name: frozen(name, value) for name, value in changes.items()})
    return fresh


def frozen(name: str, value: Any) -> Any:
    """The value of an option such that it cannot change unseen: numbers in tuples.

    Raises:
        ValueError: a tensor that requires a gradient, which an option would not pass on.

    >>> import torch
    >>> frozen("weight", [1, 2]), frozen("weight", torch.tensor([1.0, 2.0])), frozen("spacing", torch.tensor(2.0))
    ((1, 2), (1.0, 2.0), 2.0)
    """
    if isinstance(value, Tensor):
        if value.requires_grad:
            raise ValueError(f"{name} requires a gradient, and the loss gives it none: pass {name}.detach()")
        if value.is_meta:
            raise ValueError(f"{name} is a tensor on meta, which holds no values: give numbers")
    if callable(getattr(value, "tolist", None)):
        value = value.tolist()
    if isinstance(value, (Sequence, Iterator)) and not isinstance(value, (str, bytes, tuple)):
        return tuple(frozen(name, each) for each in value)
    return tuple(frozen(name, each) for each in value) if type(value) is tuple else value


def twin(module: Some, **changes: Any) -> Some:
    """As :func:`changed`, and the other module follows when an option of this one is set. It is the caller's child."""
    found = changed(module, **changes)
    vars(module).setdefault("_twins", []).append((changes, found))
    return found


def _make(module: Configured, given: dict[str, Any]) -> None:
    """What a constructor does."""
    for name, option in type(module)._options.items():
        setattr(module, name, given.get(name, option.default))
    module.__post_init__()
    vars(module)["_given"] = given


def _become(module: Configured, given: dict[str, Any]) -> None:
    """Make a module, and its twins, what they would be with these options; all of them or none."""
    pairs = [(module, given), *((other, given | changes) for changes, other in vars(module).get("_twins", ()))]
    states = [_state(one, options) for one, options in pairs]
    for (one, _), state in zip(pairs, states, strict=True):
        mine = vars(one)
        for name in mine.keys() - state.keys():
            del mine[name]
        mine.update(state)


def _state(module: Configured, given: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a module with other options: what is made of them is new, what others hung on it stays."""
    before, after = type(module).__new__(type(module)), type(module).__new__(type(module))
    _make(after, given)
    _make(before, module._given)
    mine, old, new = vars(module), vars(before), vars(after)
    found = {name: value for name, value in mine.items() if name not in old or name in TORCHS_OWN}
    found |= {name: value for name, value in new.items() if name not in TORCHS_OWN}
    for registry in REGISTRIES:
        others = {name: thing for name, thing in mine[registry].items() if name not in old[registry]}
        given_by_user = type(module)._options if registry == "_modules" else ()
        found[registry] = others | {
            name: thing if name in given_by_user else _placed(thing, mine[registry].get(name), old[registry].get(name))
            for name, thing in new[registry].items()
        }
    found["_non_persistent_buffers_set"] = mine["_non_persistent_buffers_set"] | new["_non_persistent_buffers_set"]
    return found


def _placed(thing: Any, mine: Any, before: Any) -> Any:
    """What was made anew, where the old one lies; a parameter that the change does not concern is kept as learnt."""
    if thing is None or mine is None:
        return thing
    if isinstance(thing, nn.Parameter):
        if not torch.equal(thing, before):
            with torch.no_grad():
                mine.copy_(thing)
        return mine
    if isinstance(thing, Tensor):
        return thing.to(mine)
    like = next(itertools.chain(mine.parameters(), mine.buffers()), None)
    return thing if like is None else thing.to(like)
