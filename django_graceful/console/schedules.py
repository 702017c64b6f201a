"""``schedules`` and ``run-now``: what begins by itself, when, how it went, and beginning it now."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_graceful.conf import get_conf
from django_graceful.console.desks import Desks, nearest
from django_graceful.console.report import Look, Report, Subcommand
from django_graceful.console.tables import Column, render
from django_graceful.console.text import clean, duration, moment
from django_graceful.items import new_id
from django_graceful.queues import all_queues
from django_graceful.schedule.due import next_tick
from django_graceful.schedule.plans import Plan, misfit, plan_of
from django_graceful.schedule.registry import all_schedules
from django_graceful.schedule.state import Ran, State, decode_ran, decode_state, encode
from django_graceful.stores.base import Found, Planned, StoreAdmin, Tick, Ticked

SCHEDULES_KEYS = """\
schedules: a list of objects
  schedule, queue, store, rule (in words), missed (skip or once), overlap
  next: when the next tick comes (epoch seconds), or null; in the past while it waits for a runner
  last: when the last item was pushed (epoch seconds), or null; item: its id
  outcome: how its last run ended, or the state of the item that has not run; null when nobody knows
  seconds: how long its last run took, or null
  count: how many items were pushed; skipped: how often none was, though it was time
  error: why the schedule does not run, else null"""
RUN_KEYS = "schedule, queue, store, item: the id of the item that was pushed"
#: How often a push is tried again because a runner has pushed meanwhile.
_TRIES = 5


def run_schedules(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Every schedule of the code and the settings, with what its store keeps of it."""
    rows = [row for row in _rows(desks) if row["store"] is None or row["store"] in desks.aliases]
    columns = [Column("SCHEDULE", gives=True), Column("QUEUE", gives=True), Column("RULE", gives=True)]
    columns += [
        Column("NEXT"),
        Column("LAST"),
        Column("OUTCOME"),
        Column("TOOK", right=True),
        Column("COUNT", right=True),
    ]
    table = render(columns, [_cells(row) for row in rows], look.screen, look.heading)
    wrong = [
        f"{clean(row['schedule'])} does not run: it pushes to {clean(row['error'])}" for row in rows if row["error"]
    ]
    text = "\n".join([table, *wrong]) if rows else "no schedule is declared"
    return Report({"schedules": rows}, text)


def _rows(desks: Desks) -> Iterable[dict[str, Any]]:
    conf, queues = get_conf(), all_queues()
    for name, schedule in sorted(all_schedules().items()):
        wrong = misfit(schedule, queues, conf)
        row: dict[str, Any] = {"schedule": name, "queue": schedule.queue, "store": None, "rule": str(schedule.rule)}
        row |= {"missed": str(schedule.missed), "overlap": schedule.overlap}
        state, ran, item = None, None, None
        if wrong is None:
            row["store"] = alias = queues[schedule.queue].options.store
            if alias not in desks.aliases:
                continue
            desk = desks.desk(alias)
            state, ran = _kept(desk, schedule.queue, name)
            item = desk.get(state.item) if state is not None and state.item else None
        now = int(time.time())
        coming = next_tick(schedule.rule, now if state is None else state.last, now) if wrong is None else None
        yield row | {"next": coming} | _history(state, ran, item) | {"error": None if wrong is None else wrong[1]}


def _history(state: State | None, ran: Ran | None, item: Found | None) -> dict[str, Any]:
    state = state or State(0)
    ended = ran if ran is not None and ran.item == state.item else None
    outcome = str(item.state) if item is not None else None if ended is None else ended.outcome
    return {
        "last": state.pushed_at or None,
        "item": state.item or None,
        "outcome": outcome,
        "seconds": None if ended is None else ended.seconds,
        "count": state.count,
        "skipped": state.skipped,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    times = ["-" if row[key] is None else moment(row[key]) for key in ("next", "last")]
    took = "-" if row["seconds"] is None else duration(row["seconds"])
    return [row["schedule"], row["queue"], row["rule"], *times, row["outcome"] or "-", took, str(row["count"])]


def _kept(desk: StoreAdmin, queue: str, name: str) -> tuple[State | None, Ran | None]:
    found = _find(desk, queue, name)
    return (None, None) if found is None else (decode_state(found.state), decode_ran(found.run))


def _find(desk: StoreAdmin, queue: str, name: str) -> Planned | None:
    return next((kept for kept in desk.schedules() if (kept.queue, kept.name) == (queue, name)), None)


def _run_arguments(parser: CommandParser) -> None:
    parser.add_argument("schedule", metavar="NAME")


def run_now(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Push an item of a schedule now; its ticks stay as they are."""
    name = options["schedule"]
    known = all_schedules()
    if name not in known:
        raise CommandError(f"no schedule is named {name!r}{nearest(name, known)}; see: manage.py graceful schedules")
    schedule, conf, queues = known[name], get_conf(), all_queues()
    wrong = misfit(schedule, queues, conf)
    if wrong is not None:
        raise CommandError(f"schedule {name!r} does not run: it pushes to {wrong[1]}")
    plan = plan_of(schedule, queues[schedule.queue], conf)
    if plan.store not in desks.aliases:
        raise CommandError(f"schedule {name!r} is of store {plan.store!r}")
    item = _push(desks.desk(plan.store), plan)
    data = {"schedule": name, "queue": schedule.queue, "store": plan.store, "item": item}
    return Report(data, f"{clean(name)}: {clean(schedule.queue)} {item} pushed")


def _push(desk: StoreAdmin, plan: Plan) -> str:
    schedule, item_id, now = plan.schedule, new_id(), time.time()
    for _ in range(_TRIES):
        kept = _find(desk, schedule.queue, schedule.name)
        before = "" if kept is None else kept.state
        state = decode_state(before) or State(int(now))
        after = replace(state, item=item_id.hex(), pushed_at=int(now), count=state.count + 1)
        unless = "" if schedule.overlap else state.item
        record = plan.record(item_id, now)
        said = desk.tick(Tick(schedule.queue, schedule.name, before, encode(after), record, unless, plan.limit))
        if said is Ticked.TAKEN:
            return after.item
        if said is Ticked.BUSY:
            raise CommandError(
                f"item {state.item} of schedule {schedule.name!r} has not ended, and it does not overlap"
            )
        if said is Ticked.FULL:
            raise CommandError(f"queue {schedule.queue!r} is full: {plan.limit} items wait")
    raise CommandError(f"schedule {schedule.name!r} is being pushed again and again; try later")


SCHEDULES = Subcommand("what begins by itself, when, and how it went", SCHEDULES_KEYS, run_schedules)
RUN_NOW = Subcommand("push an item of a schedule now", RUN_KEYS, run_now, _run_arguments)
