"""Which implementation of an operator runs: chosen by reasons, forced on request, and told on request.

Every operator has a reference in plain torch and may have fast paths. A fast path answers with the list of reasons
why it cannot serve a call; the first one without a reason serves, the reference otherwise.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from torch import Tensor

from medloss.ops.contexts import Blocks

BACKENDS = ("reference", "native", "triton")


class BackendError(RuntimeError):
    """A forced backend cannot serve a call; the message lists all its reasons."""


A = TypeVar("A", bound=NamedTuple)
"""The arguments of an operator, by name."""
A_contra = TypeVar("A_contra", bound=NamedTuple, contravariant=True)
"""Arguments that are only read: a path that takes more kinds of arguments serves each operator of one kind."""


class FastPath(Generic[A_contra]):
    """One fast implementation of one operator.

    Attributes:
        name: its backend.
        differentiable: the arguments whose gradient it computes.
    """

    name: str
    differentiable: tuple[str, ...] = ("input",)

    def reasons(self, args: A_contra, needs: tuple[str, ...] | None = None) -> list[str]:
        """Why this path cannot serve the call (and the gradients of the arguments in ``needs``); empty where it can."""
        found = self.unfit(args)
        if needs:
            missing = [name for name in needs if name not in self.differentiable]
            found = [*found, f"a gradient of {' and '.join(missing)} is asked for"] if missing else found
        return found

    def unfit(self, args: A_contra) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        raise NotImplementedError

    def forward(self, args: A_contra) -> Tensor:
        """The statistic."""
        raise NotImplementedError

    def backward(self, grad: Tensor, args: A_contra) -> Tensor:
        """The gradient with respect to the operator's first tensor."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient")

    def backward_of(self, name: str, grad: Tensor, args: A_contra) -> Tensor:
        """The gradient with respect to the argument of this name, which is ``differentiable``."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient of {name}")


class PathOfBoth(FastPath[A_contra]):
    """A path that knows value and gradient in one sweep, for who minimises without a graph."""

    def both(self, grad: Tensor, args: A_contra) -> tuple[Tensor, Tensor]:
        """The statistic, and the gradient with respect to the operator's first tensor for that of the statistic."""
        raise NotImplementedError


class KeepingPath(FastPath[A_contra]):
    """A path whose backward need not repeat its forward: what it keeps is small beside the input.

    Where nothing was kept, both ways are made of the two that keep; a subclass that knows a shorter one writes it.
    """

    def forward_keeping(self, args: A_contra) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The statistic, and what :meth:`backward_from` wants of it; nothing in there is an argument."""
        raise NotImplementedError

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: A_contra) -> Tensor:
        """The gradient with respect to the operator's first tensor."""
        raise NotImplementedError

    def forward(self, args: A_contra) -> Tensor:
        """The statistic."""
        return self.forward_keeping(args)[0]

    def backward(self, grad: Tensor, args: A_contra) -> Tensor:
        """The gradient with respect to the operator's first tensor."""
        return self.backward_from(self.forward_keeping(args)[1], grad, args)


class Decision(NamedTuple):
    """What ran, and why the others did not."""

    operator: str
    backend: str
    reasons: dict[str, list[str]]


_forced: Blocks[str | None] = Blocks("medloss_backend")
_listeners: Blocks[list[Decision]] = Blocks("medloss_listen")


def forced_backend() -> str | None:
    """The backend forced by :func:`backend` or by ``MEDLOSS_BACKEND``; None where each call chooses."""
    name = forced_by_block() or os.environ.get("MEDLOSS_BACKEND") or None
    return name if name is None else _checked(name)


def forced_by_block() -> str | None:
    """The backend forced by the caller's innermost block."""
    return _forced.innermost(None)


def _checked(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r} is unknown: choose one of {', '.join(BACKENDS)}")
    return name


@contextlib.contextmanager
def backend(name: str | None) -> Iterator[None]:
    """Force a backend (``"reference"``, ``"native"``, ``"triton"``) inside the block; None lifts a force.

    A forced backend that cannot serve a call raises :class:`BackendError` with all its reasons. The block is that of
    its thread, and of its task in asyncio: others choose for themselves. What is differentiated outside of the block,
    or by another thread (autograd has one for each GPU), keeps the backend that was forced when it was computed.
    """
    with _forced.holding(name if name is None else _checked(name)):
        yield


@contextlib.contextmanager
def listen() -> Iterator[list[Decision]]:
    """Collect the decisions taken inside the block, by its thread."""
    with _listeners.holding([]) as heard:
        yield heard


def choose(
    operator: str,
    paths: tuple[FastPath[A], ...],
    args: A,
    needs: tuple[str, ...] | None = None,
    before: str | None = None,
) -> FastPath[A] | None:
    """The fast path that serves the call, or None for the reference.

    Args:
        operator: its name.
        paths: its fast paths, best first.
        args: the arguments of the call.
        needs: of a backward pass, the names of those that want a gradient.
        before: of a backward pass, the backend that was forced in the forward pass; one that is forced now goes first.

    Raises:
        BackendError: a forced path cannot serve.
    """
    forced = forced_by_block() or before or forced_backend()
    reasons: dict[str, list[str]] = {}
    chosen = None
    for path in paths if forced != "reference" else ():
        if forced is not None and path.name != forced:
            continue
        reasons[path.name] = path.reasons(args, needs)
        if not reasons[path.name]:
            chosen = path
            break
    if chosen is None and forced not in (None, "reference"):
        why = reasons.get(forced) or [f"{operator} has no {forced} kernel"]
        raise BackendError(f"the forced backend {forced!r} cannot serve {operator}: " + "; ".join(why))
    for heard in _listeners.values() if needs is None else ():
        heard.append(Decision(operator, chosen.name if chosen else "reference", reasons))
    return chosen
