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
from typing import Any, List, NamedTuple, Union, cast, get_args, get_origin  # noqa: UP035

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.library import Library

from medloss.ops.dispatch import FastPath, KeepingPath, PathOfBoth, PathOfSeveral, backend, choose, forced_by_block

LIBRARY = Library("medloss", "FRAGMENT")
PLAIN = (Tensor, torch.nn.Parameter)


def without_autocast(device: str) -> contextlib.AbstractContextManager[Any]:
    """Statistics choose their own precision: autocast must not reach into them, where a device has one."""
    has_one = device == "cpu" or torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if has_one else contextlib.nullcontext()


def transformed() -> bool:
    """Whether ``torch.func`` or forward-mode differentiation is at work, which see through plain torch alone."""
    return forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None


def can_bypass_dispatcher(args: tuple[Any, ...]) -> bool:
    """Whether a call may skip PyTorch's dispatcher: plain tensors, no tracer and no dispatch mode.

    Tensors whose memory does not hold their values need the dispatcher: lazy negation, lazy zeros, meta tensors.
    """
    if torch._C._len_torch_dispatch_stack() or torch.jit.is_tracing():
        return False
    for value in args:
        if isinstance(value, Tensor) and (
            type(value) not in PLAIN or value.is_meta or value.is_neg() or value._is_zerotensor()
        ):
            return False
    return True


def is_plain_eager(*tensors: Tensor) -> bool:
    """Whether the tensors are plain ones, and no compiler, tracer or ``torch.func`` transform is active."""
    return not torch.compiler.is_compiling() and not transformed() and can_bypass_dispatcher(tensors)


class Kept(NamedTuple):
    """What a path keeps from forward to backward, small beside the input."""

    path: KeepingPath
    tensors: tuple[Tensor, ...]


class _Eager(torch.autograd.Function):
    """The operator without the dispatcher, which on a small volume costs as much as the sums.

    Autograd is passed the tensors that it differentiates by (at ``places`` among the arguments) and no other argument:
    it inspects each one.
    """

    @staticmethod
    def forward(ctx: Any, operator: Operator, args: tuple[Any, ...], places: list[int], *_: Tensor) -> Tensor:
        operator._setup_context(ctx, args, None)
        ctx.operator, ctx.places = operator, places
        result, ctx.kept = operator._forward_keeping(args)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needs = [False] * len(ctx.is_tensor)
        for at, need in zip(ctx.places, ctx.needs_input_grad[3:], strict=True):
            needs[at] = need
        found = ctx.operator._backward(ctx, grad, needs=tuple(needs), direct=True)
        return (None, None, None, *(found[at] for at in ctx.places))


def _schema(reference: Callable[..., Tensor]) -> str:
    """The operator's schema, from the annotations of its reference.

    torch 2.6 knows ``typing.List[float]`` and not ``list[float]``: a stand-in of the same signature has the former.
    """

    def with_lists(annotation: Any) -> Any:
        parts = get_args(annotation)
        if get_origin(annotation) in (list, Sequence):
            return List[parts]  # type: ignore[valid-type]  # noqa: UP006 - made while it runs
        return Union[tuple(map(with_lists, parts))] if isinstance(annotation, UnionType) else annotation

    def stand_in() -> None: ...

    signature = inspect.signature(reference, eval_str=True)
    parameters = [each.replace(annotation=with_lists(each.annotation)) for each in signature.parameters.values()]
    stand_in.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return torch.library.infer_schema(stand_in, mutates_args=())


class Operator:
    """A differentiable operator ``medloss::<name>`` over a torch reference and its fast paths.

    Args:
        name: the operator's name.
        reference: plain torch, annotated (the schema is inferred from the annotations), differentiable any number of
            times. Its arguments are positional.
        fake: the same arguments to an empty result of the right shape and dtype.
        paths: fast paths, best first. Their backward serves the gradient of the first tensor, and that of a later one
            where the path takes ``needs`` of it and has a ``backward_of(index, grad, args)``.
    """

    def __init__(
        self,
        name: str,
        reference: Callable[..., Tensor],
        fake: Callable[..., Tensor],
        paths: tuple[FastPath, ...] = (),
    ) -> None:
        self.name, self.reference, self.paths = name, reference, paths
        schema = _schema(reference)
        arguments = schema.split(" -> ")[0].strip("()")
        LIBRARY.define(name + schema)
        LIBRARY.define(f"{name}_backward(Tensor grad, int index, {arguments}) -> Tensor")
        LIBRARY.impl(name, self._forward_kernel, "CompositeExplicitAutograd")
        LIBRARY.impl(f"{name}_backward", self._backward_kernel, "CompositeExplicitAutograd")
        torch.library.register_fake(f"medloss::{name}", fake, lib=LIBRARY)
        torch.library.register_fake(
            f"medloss::{name}_backward", lambda grad, index, *args: torch.empty_like(args[index]), lib=LIBRARY
        )
        torch.library.register_autograd(
            f"medloss::{name}", self._backward, setup_context=self._setup_context, lib=LIBRARY
        )
        self._call = getattr(torch.ops.medloss, name).default
        self._call_backward = getattr(torch.ops.medloss, f"{name}_backward").default

    def __call__(self, *args: Any) -> Tensor:
        if torch.compiler.is_compiling():
            return self._call(*args)
        if transformed():
            with without_autocast(args[0].device.type):
                return self.reference(*args)
        return self.eagerly(*args) if can_bypass_dispatcher(args) else self._call(*args)

    def eagerly(self, *args: Any) -> Tensor:
        """The operator on plain tensors, outside of tracing."""
        if torch.is_grad_enabled():
            places = [at for at, value in enumerate(args) if isinstance(value, Tensor) and value.requires_grad]
            if places:
                return _Eager.apply(self, args, places, *(args[at] for at in places))
        return self._forward(*args)

    def gradient(self, grad: Tensor, *args: Any, of: int = 0) -> Tensor:
        """The gradient of one tensor from that of the result, outside of tracing, without the result itself.

        Args:
            grad: the gradient of the result.
            args: the operator's.
            of: the tensor's place among them.
        """
        needs = tuple(at == of for at in range(len(args)))
        path = choose(self.name, self.paths, args, needs)
        found = self._differentiate(grad, args, needs, False)[of] if path is None else _gradient(path, of, grad, args)
        assert found is not None
        return found

    def with_gradient(self, grad: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        """The result, and :meth:`gradient` of the first tensor: in one sweep where the path knows one."""
        path = choose(self.name, self.paths, args, (True, *(False for _ in args[1:])))
        if isinstance(path, PathOfBoth):
            return path.both(grad, args)
        return self(*args), self.gradient(grad, *args)

    def _forward_kernel(self, *args: Any) -> Tensor:
        return self._forward(*args).contiguous()  # the fakes promise a contiguous result for any layout of the input

    def _forward(self, *args: Any) -> Tensor:
        return self._run(choose(self.name, self.paths, args), args)

    def _run(self, path: FastPath | None, args: tuple[Any, ...]) -> Tensor:
        if path is not None:
            return path.forward(args)
        with without_autocast(args[0].device.type):
            return self.reference(*args)

    def _forward_keeping(self, args: tuple[Any, ...]) -> tuple[Tensor, Kept | None]:
        """The result, and what the path would have to compute again for the gradient."""
        path = choose(self.name, self.paths, args)
        if not isinstance(path, KeepingPath):
            return self._run(path, args), None
        result, tensors = path.forward_keeping(args)
        return result, Kept(path, tensors)

    def _backward_kernel(self, grad: Tensor, index: int, *args: Any) -> Tensor:
        path = choose(self.name, self.paths, args, needs=tuple(at == index for at in range(len(args))))
        if path is None:  # chosen while tracing, on another machine: the closed form is all that this node has
            raise RuntimeError(f"medloss::{self.name}_backward was recorded with a fast path that this machine lacks")
        found, wanted = _gradient(path, index, grad, args), torch.empty_like(args[index], device="meta")
        # compiled code reads the layout that the fake promised
        return found if found.stride() == wanted.stride() else torch.empty_like(args[index]).copy_(found)

    def _setup_context(self, ctx: Any, inputs: tuple[Any, ...], output: Tensor | None) -> None:
        ctx.is_tensor = [isinstance(value, Tensor) for value in inputs]
        ctx.save_for_backward(*itertools.compress(inputs, ctx.is_tensor))
        ctx.options = [None if tensor else value for value, tensor in zip(inputs, ctx.is_tensor, strict=True)]
        ctx.forced = forced_by_block()

    def _backward(
        self, ctx: Any, grad: Tensor, needs: tuple[bool, ...] | None = None, direct: bool = False
    ) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        args = tuple(
            next(saved) if tensor else option for tensor, option in zip(ctx.is_tensor, ctx.options, strict=True)
        )
        needs = tuple(ctx.needs_input_grad if needs is None else needs)
        second_order = torch.is_grad_enabled()
        kept = None if second_order or any(needs[1:]) else getattr(ctx, "kept", None)
        if kept:
            return kept.path.backward_from(kept.tensors, _readable(grad), args), *(None for _ in args[1:])
        path = None if second_order else choose(self.name, self.paths, args, needs, ctx.forced)
        if path is None:
            return self._differentiate(grad, args, needs, second_order)
        grad = _readable(grad)
        if direct:
            return tuple(_gradient(path, at, grad, args) if need else None for at, need in enumerate(needs))
        with backend(ctx.forced) if ctx.forced and not forced_by_block() else contextlib.nullcontext():
            return tuple(self._call_backward(grad, at, *args) if need else None for at, need in enumerate(needs))

    def _differentiate(
        self, grad: Tensor, args: tuple[Any, ...], needs: tuple[bool, ...], second_order: bool
    ) -> tuple[Tensor | None, ...]:
        """The gradient through the reference, itself differentiable where a second derivative is asked for."""
        with torch.enable_grad(), without_autocast(args[0].device.type):
            if not second_order:
                args = tuple(
                    value.detach().requires_grad_() if need else value for value, need in zip(args, needs, strict=True)
                )
            wanted = [value for value, need in zip(args, needs, strict=True) if need]
            result = self.reference(*args)
            if not result.requires_grad:  # what is wanted takes no part in it, as a mask that only says where to look
                return tuple(None for _ in needs)
            found = iter(torch.autograd.grad(result, wanted, grad, create_graph=second_order, allow_unused=True))
        return tuple(next(found) if need else None for need in needs)


def _gradient(path: FastPath, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
    """The gradient of one argument by a fast path."""
    if index == 0:
        return path.backward(grad, args)
    return cast("PathOfSeveral", path).backward_of(index, grad, args)


def _readable(grad: Tensor) -> Tensor:
    """Lazy zeros have no memory that a kernel could read, lazy negation the wrong one."""
    return grad.clone() if grad._is_zerotensor() else grad.resolve_neg().contiguous()
