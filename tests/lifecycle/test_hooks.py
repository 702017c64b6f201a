"""Hooks of a node, without processes: order, limits, errors, cancelling, and what comes too late."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from django_graceful import lifecycle, signals
from django_graceful.exceptions import NodeEnding
from django_graceful.lifecycle import Node, Phase, Registration, hooks
from tests.harness import until

SHUTDOWN, HAMMER, TERMINATE = Phase.DRAINING, Phase.HAMMER, Phase.TERMINATE


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node of its own, also for the functions of the module."""
    found = Node()
    monkeypatch.setattr(hooks, "node", found)
    return found


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opens at the end of the test, at the latest."""
    found = threading.Event()
    yield found
    found.set()


def note(calls: list[Any], what: Any) -> Callable[[], None]:
    return lambda: calls.append(what)


def has(calls: list[Any], number: int) -> bool:
    return len(calls) == number


def end(node: Node) -> None:
    """Terminate, which waits for all that runs."""
    node.reach(TERMINATE, "me")


def test_each_hook_is_called_once_at_its_own_moment(node: Node, calls: list[Any]) -> None:
    lifecycle.at_shutdown(note(calls, "shutdown"))
    lifecycle.at_hammer(note(calls, "hammer"))
    lifecycle.at_terminate(note(calls, "terminate"))
    for number, phase in enumerate((SHUTDOWN, HAMMER), start=1):
        node.reach(phase, "me")
        node.reach(phase, "me")
        until(partial(has, calls, number), f"{number} calls", 5)
    end(node)
    end(node)
    assert calls == ["shutdown", "hammer", "terminate"]


def test_a_hammer_is_a_drain_as_well_and_an_end_is_not(node: Node, calls: list[Any]) -> None:
    lifecycle.at_shutdown(note(calls, "shutdown"))
    node.reach(HAMMER, "me")
    end(node)
    assert calls == ["shutdown"]
    other = Node()
    other.register(SHUTDOWN, note(calls, "never"), None, 1, 0)
    end(other)
    assert calls == ["shutdown"]


def test_nothing_is_heard_after_the_end(node: Node, calls: list[Any]) -> None:
    lifecycle.at_hammer(note(calls, "hammer"))
    end(node)
    node.reach(HAMMER, "me")
    assert calls == []


def test_last_hooks_are_called_by_order_then_as_they_were_registered(node: Node, calls: list[Any]) -> None:
    for order, name in ((1, "late"), (0, "a"), (0, "b"), (-1, "early")):
        lifecycle.at_terminate(note(calls, name), order=order)
    end(node)
    assert calls == ["early", "a", "b", "late"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_a_hook_that_raises_is_logged_and_the_next_one_is_called(
    node: Node, calls: list[Any], caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    @lifecycle.at_terminate(name="the bad one")
    def bad() -> None:
        raise error

    lifecycle.at_terminate(note(calls, "next"))
    end(node)
    assert calls == ["next"]
    assert "hook the bad one failed" in caplog.text


def test_a_hook_beyond_its_limit_is_given_up_and_named_and_the_next_one_is_called(
    node: Node, calls: list[Any], gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    lifecycle.at_terminate(gate.wait, timeout=0.05, name="the slow one")
    lifecycle.at_terminate(note(calls, "next"))
    begin = time.monotonic()
    end(node)
    assert calls == ["next"]
    assert 0.05 <= time.monotonic() - begin < 3
    assert "hook the slow one is given up" in caplog.text


def test_a_shutdown_hook_that_hangs_does_not_keep_the_hammer_waiting(
    node: Node,
    calls: list[Any],
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(hooks, "PATIENCE", 0.05)
    lifecycle.at_shutdown(gate.wait, name="the slow one")
    lifecycle.at_hammer(note(calls, "hammer"))
    node.reach(HAMMER, "me")
    end(node)
    assert calls == ["hammer"]
    assert "hook the slow one is given up" in caplog.text


def test_the_end_waits_for_hooks_that_still_run(node: Node, calls: list[Any]) -> None:
    entered = threading.Event()

    @lifecycle.at_shutdown
    def slow() -> None:
        entered.wait(5)
        calls.append("shutdown")

    lifecycle.at_terminate(note(calls, "terminate"))
    node.reach(SHUTDOWN, "me")
    threading.Timer(0.05, entered.set).start()
    end(node)
    assert calls == ["shutdown", "terminate"]


@pytest.mark.parametrize(("register", "phase"), [(lifecycle.at_shutdown, SHUTDOWN), (lifecycle.at_hammer, HAMMER)])
def test_who_registers_after_the_moment_is_called_at_once(
    node: Node, calls: list[Any], register: Any, phase: Phase
) -> None:
    node.reach(phase, "me")
    register(note(calls, "late"))
    until(lambda: calls == ["late"], "the late hook", 5)
    end(node)
    assert calls == ["late"]


def test_who_registers_a_last_hook_after_the_end_is_refused_and_told_which(node: Node) -> None:
    end(node)
    with pytest.raises(NodeEnding, match=r"at_terminate\(the name\).*ending already"):
        lifecycle.at_terminate(lambda: None, name="the name")


@pytest.mark.parametrize("register", [lifecycle.at_shutdown, lifecycle.at_hammer, lifecycle.at_terminate])
def test_a_cancelled_registration_is_never_called_and_may_be_cancelled_again(
    node: Node, calls: list[Any], register: Any
) -> None:
    registration = register(note(calls, "never"))
    registration.cancel()
    registration.cancel()
    node.reach(HAMMER, "me")
    end(node)
    registration.cancel()
    assert calls == []


def test_a_registration_ends_with_its_body(node: Node, calls: list[Any]) -> None:
    with lifecycle.at_terminate(note(calls, "never")) as registration:
        assert isinstance(registration, Registration)
    end(node)
    assert calls == []


def test_what_was_cancelled_is_forgotten(node: Node) -> None:
    class Big:
        def __call__(self) -> None: ...

    big = Big()
    gone = weakref.ref(big)
    lifecycle.at_hammer(big).cancel()
    del big
    gc.collect()
    assert gone() is None


def test_a_decorated_function_can_still_be_called(node: Node, calls: list[Any]) -> None:
    @lifecycle.at_shutdown
    def plain() -> None:
        calls.append("plain")

    @lifecycle.at_terminate(timeout=1, name="named", order=3)
    def named() -> None:
        calls.append("named")

    plain()
    named()
    assert calls == ["plain", "named"]
    assert "test_a_decorated_function_can_still_be_called.<locals>.plain" in plain.name
    assert (named.name, named.timeout, named.order) == ("named", 1, 3)


def test_the_receivers_of_the_signals_hear_the_same_moments_and_a_broken_one_stops_nobody(
    node: Node, calls: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: Any) -> None:
        raise ValueError("a broken receiver")

    def receiver(name: str) -> Any:
        return lambda sender, node, **_: calls.append((name, sender, node))

    connected = []
    for name in ("draining", "hammer", "terminate"):
        for receive in (broken, receiver(name)):
            getattr(signals, name).connect(receive, weak=False)
            connected.append((getattr(signals, name), receive))
    try:
        node.reach(SHUTDOWN, "me")
        until(lambda: len(calls) == 1, "draining", 5)
        node.reach(HAMMER, "me")
        end(node)
    finally:
        for signal, receive in connected:
            assert signal.disconnect(receive)
    assert calls == [(name, "me", "me") for name in ("draining", "hammer", "terminate")]
    assert caplog.text.count("a broken receiver") >= 3


def test_a_slow_receiver_of_draining_still_hears_before_those_of_the_hammer(node: Node, calls: list[Any]) -> None:
    late = threading.Event()

    def slow(**_: Any) -> None:
        late.wait(5)
        calls.append("draining")

    def quick(**_: Any) -> None:
        calls.append("hammer")

    signals.draining.connect(slow)
    signals.hammer.connect(quick)
    try:
        node.reach(HAMMER, "me")
        threading.Timer(0.05, late.set).start()
        end(node)
    finally:
        signals.draining.disconnect(slow)
        signals.hammer.disconnect(quick)
    assert calls == ["draining", "hammer"]


def test_nobody_is_asked_to_listen_while_nobody_waits_and_once_when_somebody_does(node: Node, calls: list[Any]) -> None:
    node.watch(note(calls, "listen"))
    lifecycle.at_terminate(lambda: None)
    assert calls == []
    lifecycle.at_hammer(lambda: None)
    lifecycle.at_shutdown(lambda: None)
    assert calls == ["listen"]


def test_who_waited_before_the_node_began_is_listened_for(node: Node, calls: list[Any]) -> None:
    lifecycle.at_shutdown(lambda: None)
    node.watch(note(calls, "listen"))
    assert calls == ["listen"]


def test_hooks_may_register_and_cancel_hooks(node: Node, calls: list[Any]) -> None:
    never = lifecycle.at_hammer(note(calls, "never"))

    @lifecycle.at_shutdown
    def busy() -> None:
        never.cancel()
        lifecycle.at_terminate(note(calls, "last"))

    node.reach(SHUTDOWN, "me")
    until(lambda: not any("busy" in thread.name for thread in threading.enumerate()), "the hook", 5)
    node.reach(HAMMER, "me")
    end(node)
    assert calls == ["last"]


def test_many_threads_may_register_while_the_moment_comes_and_each_hook_is_called_exactly_once(node: Node) -> None:
    calls: list[int] = []
    start = threading.Barrier(5)

    def register(base: int) -> None:
        start.wait()
        for n in range(50):
            lifecycle.at_shutdown(note(calls, base + n))

    threads = [threading.Thread(target=register, args=(base,)) for base in range(0, 200, 50)]
    for thread in threads:
        thread.start()
    start.wait()
    node.reach(SHUTDOWN, "me")
    for thread in threads:
        thread.join()
    until(lambda: len(calls) == 200, "every hook", 10)
    assert sorted(calls) == list(range(200))


def test_no_thread_to_be_had_is_logged_and_the_end_goes_on(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lifecycle.at_terminate(lambda: None, name="the hook")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with caplog.at_level(logging.ERROR):
        end(node)
    assert "hook the hook can not be called: can't start new thread" in caplog.text


def test_terminate_waits_for_hooks_of_the_hammer_that_another_thread_is_just_starting(
    node: Node, calls: list[Any], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, entered = node._start, threading.Event()

    def held(label: str, fn: Callable[[], object]) -> threading.Thread:
        if label == "hammer":
            entered.set()
            gate.wait(10)
        return start(label, fn)

    monkeypatch.setattr(node, "_start", held)
    lifecycle.at_hammer(note(calls, "hammer"), name="hammer")
    lifecycle.at_terminate(note(calls, "terminate"))
    hammer = threading.Thread(target=node.reach, args=(HAMMER, "me"))
    hammer.start()
    assert entered.wait(10)
    last = threading.Thread(target=end, args=(node,))
    last.start()
    last.join(0.1)
    assert calls == []
    gate.set()
    hammer.join()
    last.join()
    assert calls == ["hammer", "terminate"]
