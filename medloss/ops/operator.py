"""How a statistic becomes an operator of PyTorch.

``torch.compile(fullgraph=True)`` and ``torch.export`` see one node, the dispatcher and ``opcheck`` know its schema, and
its backward saves only the inputs and recomputes (outside of a graph, a path may save something small beside them: see
:class:`~medloss.ops.dispatch.KeepingPath`). The gradient has two ways: a fast path's kernel, or autograd through
the reference, which also serves second derivatives.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Sequence
from types import UnionType
from typing import (  # noqa: UP035
    Any,
    Generic,
    List,
    NamedTuple,
    ParamSpec,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.library import Library

from medloss.ops.dispatch import A, FastPath, KeepingPath, PathOfBoth, backend, choose, forced_by_block

P = ParamSpec("P")
LIBRARY = Library("medloss", "FRAGMENT")
PLAIN = (Tensor, torch.nn.Parameter)


def without_autocast(device: str) -> contextlib.AbstractContextManager[Any]:
    """Statistics choose their own precision: autocast must not reach into them, where a device has one."""
    has_one = device == "cpu" or torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if has_one else contextlib.nullcontext()


def transformed() -> bool:
    """Whether ``torch.func`` or forward-mode differentiation is at work, which see through plain torch alone."""
    return forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None


def can_bypass_dispatcher(tensors: Sequence[Tensor]) -> bool:
    """Whether a call may skip PyTorch's dispatcher: plain tensors, no tracer and no dispatch mode.

    Tensors whose memory does not hold their values need the dispatcher: lazy negation, lazy zeros, meta tensors.
    """
    if torch._C._len_torch_dispatch_stack() or torch.jit.is_tracing():
        return False
    for value in tensors:
        if type(value) not in PLAIN or value.is_meta or value.is_neg() or value._is_zerotensor():
            return False
    return True


def is_plain_eager(*tensors: Tensor) -> bool:
    """Whether the tensors are plain ones, and no compiler, tracer or ``torch.func`` transform is active."""
    return not torch.compiler.is_compiling() and not transformed() and can_bypass_dispatcher(tensors)


class Kept(NamedTuple):
    """What a path keeps from forward to backward, small beside the input."""

    path: KeepingPath[Any]
    tensors: tuple[Tensor, ...]


class _Eager(torch.autograd.Function):
    """The operator without the dispatcher, which on a small volume costs as much as the sums.

    Autograd is passed the tensors that it differentiates by (the arguments of these ``names``) and no other argument:
    it inspects each one.
    """

    @staticmethod
    def forward(ctx: Any, operator: Operator[..., Any], args: Any, names: list[str], *_: Tensor) -> Tensor:
        operator._setup_context(ctx, args, None)
        ctx.operator, ctx.names = operator, names
        result, ctx.kept = operator._forward_keeping(args)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needs = tuple(itertools.compress(ctx.names, ctx.needs_input_grad[3:]))
        found = ctx.operator._gradients(ctx, grad, needs, direct=True)
        return (None, None, None, *map(found.get, ctx.names))


def _schema(arguments: Callable[..., NamedTuple]) -> str:
    """The operator's schema, from the fields of its arguments.

    torch 2.6 knows ``typing.List[float]`` and not ``list[float]``: a stand-in of the same signature has the former.
    """

    def with_lists(annotation: Any) -> Any:
        parts = get_args(annotation)
        if get_origin(annotation) in (list, Sequence):
            return List[parts]  # type: ignore[valid-type]  # noqa: UP006 - made while it runs
        return Union[tuple(map(with_lists, parts))] if isinstance(annotation, UnionType) else annotation

    def stand_in() -> None: ...

    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=with_lists(annotation))
        for name, annotation in get_type_hints(arguments).items()
    ]
    signature = inspect.Signature(parameters, return_annotation=Tensor)
    stand_in.__signature__ = signature  # type: ignore[attr-defined]
    return torch.library.infer_schema(stand_in, mutates_args=())


class Operator(Generic[P, A]):
    """A differentiable operator ``medloss::<name>`` over a torch reference and its fast paths.

    Args:
        name: the operator's name.
        arguments: a ``NamedTuple``, which is the operator's signature: the schema is made of its fields, and reference,
            fake and paths are given one. Its first field is a tensor.
        reference: plain torch, differentiable any number of times.
        fake: the arguments to an empty result of the right shape and dtype.
        paths: fast paths, best first. Their backward serves the gradient of the first tensor, and their ``backward_of``
            those of the others that are ``differentiable``.
    """

    def __init__(
        self,
        name: str,
        arguments: Callable[P, A],
        reference: Callable[[A], Tensor],
        fake: Callable[[A], Tensor],
        paths: tuple[FastPath[A], ...] = (),
    ) -> None:
        self.name, self.arguments, self.reference, self.paths = name, arguments, reference, paths
        kind = cast("type[A]", arguments)
        self._names, self._named = kind._fields, kind._make
        # where tensors may be: to ask each of some twenty options whether it is one takes longer than the arithmetic
        hints = get_type_hints(kind).values()
        self._places = tuple(n for n, hint in enumerate(hints) if Tensor in (hint, *get_args(hint)))
        schema = _schema(arguments)
        parameters = schema.split(" -> ")[0].strip("()")
        LIBRARY.define(name + schema)
        LIBRARY.define(f"{name}_backward(Tensor grad, int index, {parameters}) -> Tensor")
        LIBRARY.impl(name, self._forward_kernel, "CompositeExplicitAutograd")
        LIBRARY.impl(f"{name}_backward", self._backward_kernel, "CompositeExplicitAutograd")
        torch.library.register_fake(f"medloss::{name}", lambda *values: fake(self._named(values)), lib=LIBRARY)
        torch.library.register_fake(
            f"medloss::{name}_backward", lambda grad, index, *values: torch.empty_like(values[index]), lib=LIBRARY
        )
        torch.library.register_autograd(
            f"medloss::{name}", self._backward, setup_context=self._setup_context, lib=LIBRARY
        )
        self._call = getattr(torch.ops.medloss, name).default
        self._call_backward = getattr(torch.ops.medloss, f"{name}_backward").default

    def __call__(self, *values: P.args, **named: P.kwargs) -> Tensor:
        if torch.compiler.is_compiling():
            return self._call(*values, **named)
        # by position is how it is called in medloss, and making a tuple of them is the shorter way
        return self._eager(self.arguments(*values, **named) if named else self._named(values))

    def _eager(self, args: A) -> Tensor:
        """The operator outside of a compiler."""
        if transformed():
            with without_autocast(args[0].device.type):
                return self.reference(args)
        places = [n for n in self._places if args[n] is not None]
        if not can_bypass_dispatcher([args[n] for n in places]):
            return self._call(*args)
        if torch.is_grad_enabled():
            wanted = [n for n in places if args[n].requires_grad]
            if wanted:
                return _Eager.apply(self, args, [self._names[n] for n in wanted], *[args[n] for n in wanted])
        return self._forward(args)

    def gradient(self, grad: Tensor, args: A, of: str | None = None) -> Tensor:
        """The gradient of one tensor from that of the result, outside of tracing, without the result itself.

        Args:
            grad: the gradient of the result.
            args: the operator's.
            of: the tensor's name; the first one's by default.
        """
        name = self._names[0] if of is None else of
        path = choose(self.name, self.paths, args, (name,))
        if path is not None:
            return _gradient(path, name, grad, args)
        found = self._differentiate(grad, args, (name,), False)[name]
        assert found is not None
        return found

    def with_gradient(self, grad: Tensor, args: A) -> tuple[Tensor, Tensor]:
        """The result, and :meth:`gradient` of the first tensor: in one sweep where the path knows one."""
        path = choose(self.name, self.paths, args, self._names[:1])
        if isinstance(path, PathOfBoth):
            return path.both(grad, args)
        return self._eager(args), self.gradient(grad, args)

    def _forward_kernel(self, *values: Any) -> Tensor:
        # the fakes promise a contiguous result for any layout of the input
        return self._forward(self._named(values)).contiguous()

    def _forward(self, args: A) -> Tensor:
        return self._run(choose(self.name, self.paths, args), args)

    def _run(self, path: FastPath[A] | None, args: A) -> Tensor:
        if path is not None:
            return path.forward(args)
        with without_autocast(args[0].device.type):
            return self.reference(args)

    def _forward_keeping(self, args: A) -> tuple[Tensor, Kept | None]:
        """The result, and what the path would have to compute again for the gradient."""
        path = choose(self.name, self.paths, args)
        if not isinstance(path, KeepingPath):
            return self._run(path, args), None
        result, tensors = path.forward_keeping(args)
        return result, Kept(path, tensors)

    def _backward_kernel(self, grad: Tensor, index: int, *values: Any) -> Tensor:
        args, name = self._named(values), self._names[index]
        path = choose(self.name, self.paths, args, needs=(name,))
        if path is None:  # chosen while tracing, on another machine: the closed form is all that this node has
            raise RuntimeError(f"medloss::{self.name}_backward was recorded with a fast path that this machine lacks")
        found, wanted = _gradient(path, name, grad, args), torch.empty_like(values[index], device="meta")
        # compiled code reads the layout that the fake promised
        return found if found.stride() == wanted.stride() else torch.empty_like(values[index]).copy_(found)

    def _setup_context(self, ctx: Any, inputs: tuple[Any, ...], output: Tensor | None) -> None:
        ctx.places = [n for n in self._places if inputs[n] is not None]
        ctx.save_for_backward(*[inputs[n] for n in ctx.places])
        ctx.options = list(inputs)
        for n in ctx.places:
            ctx.options[n] = None
        ctx.forced = forced_by_block()

    def _backward(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needs = tuple(itertools.compress(self._names, ctx.needs_input_grad))
        return tuple(map(self._gradients(ctx, grad, needs, direct=False).get, self._names))

    def _gradients(self, ctx: Any, grad: Tensor, needs: tuple[str, ...], direct: bool) -> dict[str, Tensor | None]:
        """The gradients of the arguments of these names; ``direct``: without the dispatcher."""
        values = list(ctx.options)
        for n, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            values[n] = tensor
        args = self._named(values)
        second_order = torch.is_grad_enabled()
        kept = None if second_order or needs != self._names[:1] else getattr(ctx, "kept", None)
        if kept:
            return {needs[0]: kept.path.backward_from(kept.tensors, _readable(grad), args)}
        path = None if second_order else choose(self.name, self.paths, args, needs, ctx.forced)
        if path is None:
            return self._differentiate(grad, args, needs, second_order)
        grad = _readable(grad)
        if direct:
            return {name: _gradient(path, name, grad, args) for name in needs}
        with backend(ctx.forced) if ctx.forced and not forced_by_block() else contextlib.nullcontext():
            return {name: self._call_backward(grad, self._names.index(name), *args) for name in needs}

    def _differentiate(
        self, grad: Tensor, args: A, needs: tuple[str, ...], second_order: bool
    ) -> dict[str, Tensor | None]:
        """The gradient through the reference, itself differentiable where a second derivative is asked for."""
        with torch.enable_grad(), without_autocast(args[0].device.type):
            if not second_order:
                args = args._replace(**{name: getattr(args, name).detach().requires_grad_() for name in needs})
            result = self.reference(args)
            if not result.requires_grad:  # what is wanted takes no part in it, as a mask that only says where to look
                return {}
            wanted = [getattr(args, name) for name in needs]
            found = torch.autograd.grad(result, wanted, grad, create_graph=second_order, allow_unused=True)
        return dict(zip(needs, found, strict=True))


def _gradient(path: FastPath[A], name: str, grad: Tensor, args: A) -> Tensor:
    """The gradient of one argument by a fast path."""
    return path.backward(grad, args) if name == args._fields[0] else path.backward_of(name, grad, args)


def _readable(grad: Tensor) -> Tensor:
    """Lazy zeros have no memory that a kernel could read, lazy negation the wrong one."""
    return grad.clone() if grad._is_zerotensor() else grad.resolve_neg().contiguous()
