"""``backend``, ``check_values`` and ``listen`` belong to the thread or task that is inside, nest, and leave nothing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import LossCase, cases, is_first

import medloss
from medloss.checks import checking_values
from medloss.ops.dispatch import forced_backend, listen

CONTEXTS: dict[str, tuple[Callable[[], Any], Callable[[], Any], Any, Any]] = {
    # a block, what is asked, the answer outside, and inside
    "backend": (lambda: medloss.backend("reference"), forced_backend, None, "reference"),
    "check_values": (medloss.check_values, checking_values, False, True),
    "listen": (listen, lambda: bool(heard()), False, True),
}


def heard() -> int:
    """How many listeners hear a call of this thread."""
    from medloss.ops import dispatch

    return len(dispatch._listeners.values())


def in_a_thread(call: Callable[[], Any]) -> Any:
    """What a call gives in another thread."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_block_is_that_of_its_thread(name: str) -> None:
    block, ask, outside, inside = CONTEXTS[name]
    with block():
        assert ask() == inside
        assert in_a_thread(ask) == outside
    assert ask() == outside


@pytest.mark.parametrize("name", CONTEXTS)
def test_blocks_of_two_threads_that_overlap_leave_nothing(name: str) -> None:
    block, ask, outside, inside = CONTEXTS[name]
    entered, left, seen = threading.Event(), threading.Event(), []

    def other() -> None:
        with block():
            entered.set()
            left.wait(10)  # the first block ends while this one is open
            seen.append(ask())
        seen.append(ask())

    thread = threading.Thread(target=other)
    with block():
        thread.start()
        assert entered.wait(10)
    assert ask() == outside
    left.set()
    thread.join()
    assert seen == [inside, outside]
    assert ask() == outside
    assert in_a_thread(ask) == outside


@pytest.mark.parametrize("name", CONTEXTS)
def test_blocks_that_end_in_the_order_in_which_they_began_leave_nothing(name: str) -> None:
    block, ask, outside, inside = CONTEXTS[name]
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(block())
    second.enter_context(block())
    first.close()
    assert ask() == inside
    second.close()
    assert ask() == outside


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_block_is_that_of_its_task(name: str) -> None:
    block, ask, outside, inside = CONTEXTS[name]

    async def within() -> bool:
        with block():
            await asyncio.sleep(0.01)
            return ask()

    async def beside() -> bool:
        await asyncio.sleep(0.005)
        return ask()

    async def both() -> list[Any]:
        return await asyncio.gather(within(), beside())

    assert asyncio.run(both()) == [inside, outside]


def test_the_inner_block_counts() -> None:
    with medloss.backend("native"), medloss.check_values():
        with medloss.backend("reference"), medloss.check_values(False):
            assert (forced_backend(), checking_values()) == ("reference", False)
        with medloss.backend(None):
            assert forced_backend() is None
        assert (forced_backend(), checking_values()) == ("native", True)


def test_a_listener_within_another_takes_nothing_from_it() -> None:
    """Both have heard nothing when the inner one ends: they are equal, and not the same."""
    x = torch.zeros(1, 1, 4)
    with listen() as outer:
        with listen() as inner:
            pass
        medloss.MSELoss()(x, x)
    assert len(outer) == 1
    assert not inner


FIRST = [case for case in cases(cell="contexts") if is_first(case)]


@pytest.mark.parametrize("case", FIRST, ids=str)
def test_threads_of_different_backends_do_not_mix(case: LossCase) -> None:
    """A gradient by the reference is that of the reference, whatever another thread forces at that time."""
    tensors = case.inputs(2)
    inside, done, decisions = threading.Event(), threading.Event(), []

    def other() -> None:
        with medloss.backend("reference"):
            inside.set()
            done.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        assert inside.wait(10)
        with listen() as alone:
            case.make()(*tensors)
        decisions = [decision.backend for decision in alone]
    finally:
        done.set()
        thread.join()
    with listen() as after:
        case.make()(*tensors)
    assert decisions == [decision.backend for decision in after]


def test_a_gradient_outside_of_the_block_keeps_its_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autograd may be asked later, and by another thread."""
    from medloss.ops.operator import Operator

    asked: list[str] = []
    original = Operator._differentiate
    monkeypatch.setattr(
        Operator, "_differentiate", lambda self, *args: asked.append(self.name) or original(self, *args)
    )
    x = torch.randn(1, 2, 5, requires_grad=True)
    loss = medloss.DiceLoss(softmax=True)
    with medloss.backend("reference"):
        value = loss(x, torch.ones(1, 2, 5))
    in_a_thread(value.backward)
    assert asked
    asked.clear()
    loss(x, torch.ones(1, 2, 5)).backward()
    with medloss.backend("reference"):
        loss(x, torch.ones(1, 2, 5)).backward()
    assert len(asked) == 1


def test_one_graph_inside_and_outside_of_blocks() -> None:
    torch._dynamo.reset()
    loss = medloss.DiceCELoss(softmax=True, to_onehot_y=True)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    tensors = torch.randn(1, 3, 6), torch.randint(0, 3, (1, 1, 6))
    expected = loss(*tensors)
    torch.testing.assert_close(compiled(*tensors), expected)
    with medloss.backend("reference"), listen():
        torch.testing.assert_close(compiled(*tensors), expected)
    torch.testing.assert_close(compiled(*tensors), expected)
