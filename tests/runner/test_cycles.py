"""Many starts and stops leave nothing behind: no descriptor, thread, child, shared memory, socket, lock or temporary
file, and no memory. Here 40 cycles, 300 in ``make soak``; what lives on through them is the process that forks the
masters, a runner that starts again in place, and a master whose workers come and go.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import Site, numbers, until
from tests.runner.cycles import belongings, files, memory, shared_memory
from tests.site import queues
from tests.stable import Mount, Stable

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


@pytest.fixture
def stable() -> Iterator[Stable]:
    found = Stable()
    yield found
    found.close()


def cycle(site: Site, stable: Stable, n: int, env: dict[str, str]) -> Mount:
    """One runner, from its start over one item to its end, which comes in a way of its own."""
    runner = stable.start(site.env | env, site.store.parent / "log")
    runner.says(" serves ", times=n + 1)
    queues.record.push(n)
    site.said(f"record {n}")
    ways = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
    runner.send(ways[n % len(ways)])
    assert runner.end() == (-signal.SIGKILL if ways[n % len(ways)] is signal.SIGKILL else 0)
    return runner


def stays_at(process: psutil.Process, before: dict[str, int]) -> None:
    """It has no more than before, but for what LevelDB opens when it likes: a thread and a few tables."""
    most = {"descriptors": before["descriptors"] + 4, "threads": before["threads"] + 1, "children": before["children"]}
    until(
        lambda: all(number <= most[what] for what, number in belongings(process).items()),
        f"{belongings(process)} to be at most {most}",
        10,
    )


def leftovers(site: Site) -> list[str]:
    """What an orderly end takes away. (The name of the wake-up socket stays: the next owner binds it anew.)"""
    return [
        path for path in files(site.store) if path.startswith("slates/") or ".sock" in path.replace("wake.sock", "")
    ]


def many_cycles(site: Site, stable: Stable, cycles: int) -> None:
    """Start and stop so many runners; nothing is more after the last than after the first few."""
    temporary = site.store.parent / "tmp"
    temporary.mkdir()
    env = {"TMPDIR": str(temporary)}
    shared = shared_memory()
    forker = psutil.Process(stable.pid)
    for n in range(8):
        cycle(site, stable, n, env)
    before, kinds = belongings(forker), files(site.store)
    for n in range(8, cycles):
        cycle(site, stable, n, env)
    stays_at(forker, before)
    found = files(site.store)
    assert found.keys() <= kinds.keys() | {"db/N.ldb", "db/LOG.old"}, "a new kind of file"
    assert found.total() <= kinds.total() + 10, found
    assert not leftovers(site)
    assert list(temporary.iterdir()) == []
    assert shared_memory() <= shared
    assert list(numbers(site.lines(), "record")) == [str(n) for n in range(cycles)]


def test_many_starts_and_stops_leave_nothing_behind(site: Site, stable: Stable) -> None:
    many_cycles(site, stable, 41)


def test_a_runner_that_starts_again_in_place_keeps_nothing_of_its_former_lives(site: Site) -> None:
    runner = site.runner().serving()
    master = psutil.Process(runner.pid)
    first = belongings(master)
    for life in range(2, 6):
        queues.record.push(life)
        site.said(f"record {life}")
        runner.send(signal.SIGHUP)
        until(lambda: sum(" serves " in line for line in runner.log) == life, "the next life")  # noqa: B023
        stays_at(master, first)
    assert runner.stop() == 0


def test_a_master_keeps_nothing_of_workers_that_have_gone(site: Site) -> None:
    """Each job takes its worker along, or its worker has done all that it may."""
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": '{"MAX_JOBS": 1, "WORKER_IDLE": 0.2}'}).serving()
    master = psutil.Process(runner.pid)
    family = [master, *master.children()]

    def burst(first: int) -> None:
        queues.wide.push_many(range(first, first + 50))
        queues.poison.push(first)
        until(lambda: len(set(numbers(site.lines(), "wide"))) == first + 50, "the items to be handled")
        until(lambda: not master.children()[0].children(), "the workers to have gone")

    burst(0)
    before = [belongings(member) for member in family]
    sizes = [memory(member) for member in family]
    for n in range(50, 250, 50):
        burst(n)
    for member, had in zip(family, before, strict=True):
        stays_at(member, had)
    assert all(memory(member) < size * 1.2 + 2_000_000 for member, size in zip(family, sizes, strict=True))
    assert list((site.store / "slates").iterdir()) == []
    assert runner.stop() == 0


def test_real_runners_leave_nothing_behind_either(site: Site) -> None:
    shared = shared_memory()
    for n in range(3):
        runner = site.runner().serving()
        queues.record.push(n)
        site.said(f"record {n}")
        family = runner.family()
        assert runner.stop() == 0
        assert psutil.wait_procs(family, timeout=5)[1] == []
        assert not leftovers(site)
    assert shared_memory() <= shared
    assert Path(site.store / "owner.lock").exists()
