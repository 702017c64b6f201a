"""Schedules on the server: what is kept of each lies with its queue, so a tick is one script."""

from __future__ import annotations

from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.packing import join, split
from django_graceful.stores.values import Planned, Tick, Ticked, item_id


def schedules(line: Line) -> list[Planned]:
    """See :meth:`~django_graceful.stores.base.StoreAdmin.schedules`."""
    found = []
    for queue, blob in line.each_queue("schedules").items():
        pieces = [piece.decode(errors="replace") for piece in split(blob)]
        found += [Planned(queue, *pieces[at : at + 3]) for at in range(0, len(pieces), 3)]
    return found


def tick(line: Line, tick: Tick) -> Ticked:
    """See :meth:`~django_graceful.stores.base.StoreAdmin.tick`."""
    blob = b"" if tick.record is None else join([tick.record])
    push = (line.channel, tick.limit, line.register(tick.queue), blob, b"")
    state = (tick.name.encode(), tick.before.encode(), tick.after.encode(), item_id(tick.unless))
    answer: bytes = line.run("tick", tick.queue, *push, *state)
    return Ticked(answer.decode())


def note_run(line: Line, queue: str, name: str, run: str) -> None:
    """See :meth:`~django_graceful.stores.base.StoreOwner.note_run`."""
    line.run("note_run", queue, name.encode(), run.encode())
