"""The scripts: each touches the keys of one slot only, says what it does, and may be forgotten by the server."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder
from redis.crc import key_slot

from django_graceful.items import OUTBOX, UNIQUE, UNTIL_FINISHED, Outcome, State
from django_graceful.stores.base import Tick
from django_graceful.stores.redis.line import Line
from tests.redis.kit import RedisKit, server
from tests.redis.server import Server, until

SCRIPTS = sorted(
    path.name.removesuffix(".lua") for path in (files("django_graceful.stores.redis") / "scripts").iterdir()
)
#: Commands without a key.
KEYLESS = {"TIME", "PUBLISH"}


def everything_happens(kit: RedisKit) -> None:
    """Every script is called, and takes every way through itself that touches another key."""
    owner = kit.owner
    for queue in ("q", "other-{queue}", "a}b{c"):
        kit.push(1, 2, 3, queue=queue, limit=100)
        kit.push("later", queue=queue, delay=5)
        kit.push("urgent", queue=queue, priority=7)
        kit.push("a", "b", queue=queue, key="k", flags=UNIQUE)
        kit.push("f", queue=queue, key="f", flags=UNIQUE | UNTIL_FINISHED)
        owner.push(queue, [b"unreadable"])
        kit.push("out", queue=queue, flags=OUTBOX)
        first, second, third, fourth, fifth, *rest = kit.lease(9, queue=queue)
        kit.push("younger", queue=queue, key="k", flags=UNIQUE)
        kit.lease(9, queue=queue)
        running = owner.page(queue, State.RUNNING).items
        owner.request_cancel(running[0].item.id)
        owner.note_step(first.execution, "stopping", 1.0)
        owner.wishes()
        owner.renew([first.execution, 77])
        kit.end(first, Outcome.INTERRUPTED)
        kit.end(second, Outcome.RETRY, delay=1)
        kit.end(third, Outcome.DEAD, result=b"1", result_ttl=50)
        kit.end(fourth, Outcome.CANCELLED)
        owner.finish([fifth.execution])
        owner.release([lease.execution for lease in rest])
        kit.clock.now += 10
        kit.prepare()
        for state in State:
            owner.page(queue, state, limit=1)
        owner.result(running[0].item.id)
        owner.cancel_outcome(running[0].item.id)
        owner.has(queue, "k")
        owner.retry(queue)
        owner.cancel_some(queue)
        owner.cancel_some(queue, "k")
        owner.set_aside("moved-here", State.DEAD, owner.kept(queue, State.CANCELLED, 5))
        owner.discard(queue, State.DEAD)
        for state in ("", "one"):
            owner.tick(Tick(queue, "job", state, f"{state}one", kit.record("tick"), first.record[30:46].hex()))
        owner.note_run(queue, "job", "done")
        owner.schedules()
        owner.pause(queue)
        owner.resume(queue)
    owner.counts()
    owner.sweep()
    owner.forget_handovers(5)
    assert owner.check() == []
    kit.lease(5)
    kit.reopen()
    kit.push("left alone")
    kit.lease(1)
    kit.clock.now += 60
    kit.prepare()
    assert kit.owner.notices


def test_each_script_touches_keys_of_one_slot_only(kit: RedisKit, monkeypatch: pytest.MonkeyPatch) -> None:
    called = set()
    marks: list[tuple[str, bytes]] = []
    client = server().client()

    def spied(self: Line, name: str, queue: str, *args: Any, **kwargs: Any) -> Any:
        called.add(name)
        client.echo(f"mark-{len(marks)}")
        marks.append((name, self.key(queue)))
        return real(self, name, queue, *args, **kwargs)

    def one_by_one(self: Line, calls: Any, client: Any = None) -> list[Any]:
        return [self.run(name, queue, *args) for name, queue, args in calls]

    real, registry = Line.run, f"{kit.space}:graceful:queues"  # the one key of register.lua
    monkeypatch.setattr(Line, "run", spied)
    monkeypatch.setattr(Line, "run_each", one_by_one)
    with client, client.monitor() as monitor:
        everything_happens(kit)
        client.echo("the-end")
        touched = 0
        name, key = "", b""
        while (command := _command(monitor.next_command()))[:2] != ["ECHO", "the-end"]:
            if command[0] == "ECHO":
                name, key = marks[int(command[1].removeprefix("mark-"))]
            elif command[0] == "lua" and command[1] not in KEYLESS and command[2] != registry:
                touched += 1
                assert key_slot(command[2].encode("latin-1")) == key_slot(key), (name, command)
    assert touched > 500
    assert called == set(SCRIPTS) - {"common", "register"}


def _command(seen: dict[str, Any]) -> list[str]:
    words = seen["command"].split(" ")
    return ["lua", words[0].upper(), *words[1:]] if seen["client_type"] == "lua" else [words[0].upper(), *words[1:]]


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_says_what_it_takes_gives_and_keeps(name: str) -> None:
    text = (files("django_graceful.stores.redis") / "scripts" / f"{name}.lua").read_text()
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("--"))
    words = ["KEYS[1]", "ARGV[1]"] if name == "common" else ["-- result", "-- invariant"]
    assert all(word in header for word in words)
    assert ("ARGV[" in text) == ("ARGV[" in header)


def test_the_server_may_forget_all_scripts_at_any_time(kit: RedisKit) -> None:
    with server().client() as client:
        for number in range(5):
            client.script_flush()
            kit.push(number)
            client.script_flush()
            kit.push("other", queue="other")  # two queues are asked in one round trip
            lease = kit.take()
            client.script_flush()
            kit.done(lease)
            client.script_flush()
            assert set(kit.owner.counts()) == {"q", "other"}
    assert kit.counts().done == 5


def test_the_wheel_has_the_scripts(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    (wheel,) = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    inside = {Path(name).name for name in ZipFile(wheel).namelist() if name.endswith(".lua")}
    assert inside == {f"{name}.lua" for name in SCRIPTS}


def test_a_replica_gets_what_the_scripts_write(own_server: Callable[..., Server], open_store: Any) -> None:
    primary = own_server()
    replica = own_server("--replicaof", f"127.0.0.1 {primary.port}")
    kit = RedisKit.at(open_store(primary.url))
    with primary.client() as there, replica.client() as here:
        kit.push(*range(10))
        kit.done(kit.take())
        until(lambda: here.dbsize() == there.dbsize())
        assert sorted(here.keys()) == sorted(there.keys())
