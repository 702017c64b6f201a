"""``arun()``: the same for coroutines."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from django_graceful import Cancelled, ProcessFailed, ProcessTimedOut, arun, process
from django_graceful.exceptions import ProcessNotStarted
from tests.harness import until
from tests.processes.conftest import Census

pytestmark = pytest.mark.process


def test_output_comes_back_and_the_loop_goes_on_meanwhile() -> None:
    async def main() -> tuple[str, int]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.01)
                turns += 1

        counting = asyncio.create_task(count())
        result = await arun(["sh", "-c", "sleep 0.5; cat"], input="x")
        counting.cancel()
        return result.stdout, turns

    stdout, turns = asyncio.run(main())
    assert stdout == "x"
    assert turns > 10


def test_errors_are_those_of_run() -> None:
    with pytest.raises(ProcessFailed, match="exit code 3"):
        asyncio.run(arun(["sh", "-c", "exit 3"]))
    with pytest.raises(ProcessNotStarted):
        asyncio.run(arun(["no-such-program"]))
    with pytest.raises(ProcessTimedOut):
        asyncio.run(arun(["sleep", "60"], timeout=0.2))
    with pytest.raises(TypeError, match="must be a list"):
        asyncio.run(arun("ls"))


def test_more_than_a_thread_pool_run_side_by_side() -> None:
    async def main() -> list[str]:
        results = await asyncio.gather(*[arun(["sh", "-c", f"sleep 0.5; echo {n}"]) for n in range(40)])
        return [result.stdout for result in results]

    begin = time.monotonic()
    assert asyncio.run(main()) == [f"{n}\n" for n in range(40)]
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize("times", [1, 3])
def test_a_cancelled_task_ends_the_family_first(census: Census, times: int) -> None:
    async def main() -> None:
        task = asyncio.create_task(arun(census.sleeper(f"setsid sh -c 'sleep 600; : {census.name}' &")))
        await asyncio.to_thread(census.grows_to, 2)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert isinstance(caught.value.__cause__, ProcessFailed)
        assert census.alive() == []

    asyncio.run(main())


def test_a_time_limit_of_asyncio_ends_it(census: Census) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await arun(census.sleeper())
        assert census.alive() == []

    asyncio.run(main())


def test_cancelling_the_process_ends_it(census: Census) -> None:
    async def main() -> None:
        async with process("async work") as work:
            task = asyncio.create_task(work.arun(census.sleeper()))
            await asyncio.to_thread(census.grows_to, 1)
            work.cancel("enough")
            with pytest.raises(Cancelled, match="enough"):
                await task
        assert census.alive() == []

    asyncio.run(main())


def test_the_end_of_the_loop_ends_it(census: Census) -> None:
    async def main() -> None:
        forgotten = asyncio.create_task(arun(census.sleeper()))
        await asyncio.to_thread(census.grows_to, 1)
        assert not forgotten.done()

    asyncio.run(main())
    assert census.alive() == []


def test_no_thread_stays() -> None:
    async def main() -> None:
        await asyncio.gather(*[arun(["true"]) for _ in range(10)])

    before = threading.active_count()
    asyncio.run(main())
    until(lambda: threading.active_count() == before, "the threads to end")
