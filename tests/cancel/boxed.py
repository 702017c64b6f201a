"""The handler of the items in a world: its payload says what it does, and it tells the world what it meets."""

from __future__ import annotations

from typing import Any

from django_graceful import current_process, queue
from django_graceful.exceptions import Cancelled, Retry
from django_graceful.items import decode_header
from django_graceful.runner.slate import Word
from tests.cancel.actors import current, pause

#: Seconds for which an item of the kind "timed" may run.
LIMIT = 1.0


@queue("boxed", max_workers=2, max_attempts=5)
def boxed(payload: list[Any]) -> None:
    """An item of the box: what it does is written in its payload, and told to the world."""
    n, kind = payload
    actor = current()
    execution = actor.slate.words[Word.STARTED]
    actor.world.story.append(("start", n, execution))
    header = decode_header(current_process()._jobs[0]._record)  # type: ignore[union-attr]
    charged, before = header.attempt + header.crashes, len(actor.world.begun[n]) - 1
    if charged > before or (charged < before and not actor.world.plan.hammer):
        actor.world.errors.append(f"item {n} was charged for {charged} of {before} runs")
    try:
        pause("handler")
        if kind == "retry" and [what for what in actor.world.story if what[:2] == ("start", n)][1:] == []:
            raise Retry(0)
    except Cancelled as error:
        actor.world.story.append(("hit", n, execution))
        since = actor.slate.words[Word.SINCE] / 1e9
        if str(error) == "timeout" and (kind != "timed" or actor.world.time.now < since + LIMIT):
            actor.world.errors.append(f"item {n} is out of time after {actor.world.time.now - since} s")
        if kind == "deaf":
            pause("deaf", lambda: False)
        raise
    actor.world.story.append(("end", n, execution))
