"""Processes in memory: the tree, who is asked to stop, and how that is heard."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from django_graceful import Cancelled, Process, current_process, process
from django_graceful.processes import entered
from tests.processes.conftest import Aside


def test_outside_of_everything_there_is_no_process() -> None:
    assert contextvars.Context().run(current_process) is None


def test_processes_nest_and_leave_as_they_came() -> None:
    with process("outer") as outer:
        assert current_process() is outer
        with process("inner") as inner:
            assert current_process() is inner
            assert inner.parent is outer
            assert outer.children == (inner,)
        assert current_process() is outer
        assert outer.children == ()
    assert current_process() is not outer


def test_children_are_listed_oldest_first() -> None:
    with process("parent") as parent, process("a") as a:

        def sibling() -> None:
            with entered(parent, lambda: process("b")) as b:
                assert parent.children == (a, b)

        contextvars.copy_context().run(sibling)
        assert parent.children == (a,)


def test_an_exception_travels_and_the_process_is_left() -> None:
    before = current_process()
    with pytest.raises(KeyError), process("failing") as failing:  # noqa: PT012
        assert current_process() is failing
        raise KeyError("x")
    assert current_process() is before


def test_progress_is_kept() -> None:
    with process("counting") as counting:
        counting.progress(3, 10, "three")
        assert (counting.done, counting.total, counting.step) == (3, 10, "three")


def test_check_raises_once_it_is_asked_to_stop_and_not_before() -> None:
    with process("work") as work:
        work.check()
        assert not work.stopping
        work.cancel("timeout")
        work.cancel("later")
        assert work.stopping
        with pytest.raises(Cancelled) as caught:
            work.check()
        assert caught.value.reason == "timeout"


def test_cancelling_a_parent_cancels_its_children_and_not_the_other_way_round() -> None:
    with process("parent") as parent, process("child") as child, process("grandchild") as grandchild:
        grandchild.cancel()
        child.check()
        parent.check()
        parent.cancel("because")
        with pytest.raises(Cancelled, match="because"):
            child.check()
        assert child.stopping


def test_outside_of_a_runner_nothing_is_remaining() -> None:
    with process("work") as work:
        assert work.remaining is None


def test_wait_sleeps_as_long_as_told() -> None:
    with process("work") as work:
        begin = time.monotonic()
        work.wait(0.12)
        assert 0.12 <= time.monotonic() - begin < 5


def test_wait_raises_at_once_when_it_was_asked_before() -> None:
    with process("work") as work:
        work.cancel()
        begin = time.monotonic()
        with pytest.raises(Cancelled):
            work.wait(60)
        assert time.monotonic() - begin < 5


@pytest.mark.parametrize("whom", ["itself", "its parent"])
def test_wait_wakes_up_when_another_thread_cancels(whom: str) -> None:
    with process("parent") as parent, process("child") as child:
        waiting = Aside(child.wait, 60)
        (child if whom == "itself" else parent).cancel("enough")
        error = waiting.end(5)
        assert isinstance(error, Cancelled)
        assert error.reason == "enough"


def test_the_tree_goes_over_await_and_new_tasks() -> None:
    async def leaf(parent: Process) -> None:
        async with process("leaf") as made:
            assert made.parent is parent
            await asyncio.sleep(0)
            assert current_process() is made
        assert current_process() is parent

    async def main() -> None:
        async with process("root") as root:
            await asyncio.gather(leaf(root), asyncio.create_task(leaf(root)), leaf(root))
            assert root.children == ()
            assert current_process() is root

    asyncio.run(main())


def test_the_tree_goes_over_the_hops_of_asgiref_both_ways() -> None:
    def in_a_thread(parent: Process) -> Process:
        assert current_process() is parent
        with process("in a thread") as made:
            async_to_sync(back_in_a_loop)(made)
        return made

    async def back_in_a_loop(parent: Process) -> None:
        assert current_process() is parent

    async def main() -> None:
        async with process("root") as root:
            made = await sync_to_async(in_a_thread)(root)
            assert made.parent is root
            assert root.children == ()
            assert current_process() is root

    asyncio.run(main())


def test_a_process_may_end_in_another_context_than_it_began_in() -> None:
    made = process("over a hop")
    contextvars.copy_context().run(made.__enter__)
    contextvars.copy_context().run(made.__exit__, None, None, None)


def test_many_threads_open_and_close_children_of_one_process_without_losing_count() -> None:
    with process("parent") as parent:
        barrier = threading.Barrier(8)
        context = contextvars.copy_context()

        def body() -> None:
            barrier.wait()
            for _ in range(200):
                with process("child"):
                    assert parent.children

        threads = [Aside(context.copy().run, body) for _ in range(8)]
        assert [thread.end() for thread in threads] == [None] * 8
        assert parent.children == ()
