"""``flush``, ``check``, ``repair`` and ``shutdown``."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_graceful.console.arguments import add_timeout
from django_graceful.console.desks import Desks
from django_graceful.console.draining import drain
from django_graceful.console.report import Look, Report, Subcommand
from django_graceful.console.tables import Column, render
from django_graceful.console.text import clean, plural
from django_graceful.console.webstop import stop_web
from django_graceful.stores.leveldb.control import ControlClient, NoRunner

FLUSH_KEYS = """\
empty: whether nothing of these queues waits or runs any more
seconds: how long it took
queues: a list of objects: queue, store, paused, and what is left: waiting, running, scheduled, retrying, dead"""
CHECK_KEYS = "problems: a list of objects: store, where, what, repairable"
REPAIR_KEYS = """\
mended: a list of objects: store, where, what, repairable
problems: what is still wrong, likewise"""
SHUTDOWN_KEYS = """\
stores: a list of objects
  store
  pid: the runner's, or null when none runs
  phase: of the runner, once it was asked
  ended: whether the runner is gone (without --wait: null)
servers: with --web, in place of stores: a list of objects: pid, ended"""

_LEFT = ("waiting", "running", "scheduled", "retrying", "dead")


def _flush_arguments(parser: CommandParser) -> None:
    parser.add_argument("queues", nargs="*", metavar="QUEUE", help="these queues (default: all)")
    add_timeout(parser, 60)


def run_flush(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Wait until nothing waits or runs; without a runner, run what is there."""
    began = time.monotonic()
    deadline = began + options["timeout"]
    if any(not desks.runners(alias) for alias in desks.aliases):
        drain(options["queues"], options["timeout"], options["verbosity"])
    queues = _flushed(desks, options["queues"], deadline)
    busy = [queue for queue in queues if queue["waiting"] or queue["running"]]
    data = {"empty": not busy, "seconds": round(time.monotonic() - began, 3), "queues": queues}
    rows = [[queue["queue"], *(str(queue[state]) for state in _LEFT), queue["store"]] for queue in queues]
    return Report(data, render(_FLUSH_COLUMNS, rows, look.screen, look.heading), "; ".join(map(_busy_text, busy)))


_FLUSH_COLUMNS = [
    Column("QUEUE", gives=True),
    *(Column(state.upper(), right=True) for state in _LEFT),
    Column("STORE", gives=True),
]


def _flushed(desks: Desks, names: list[str], deadline: float) -> list[dict[str, Any]]:
    """What is left when nothing moves any more or the time is over."""
    places = [(name, alias) for name in names for alias in desks.having(name)]
    pause = 0.1
    while True:
        found = {(name, alias): counts for alias in desks.aliases for name, counts in desks.counts(alias).items()}
        chosen = [(place, found[place]) for place in (places or found)]
        if not any(counts.running or (counts.waiting and not counts.paused) for _, counts in chosen):
            break
        left = deadline - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(pause, left))
        pause = min(0.5, pause * 1.3)
    return [
        {"queue": name, "store": alias, "paused": counts.paused} | {state: getattr(counts, state) for state in _LEFT}
        for (name, alias), counts in chosen
    ]


def _busy_text(queue: dict[str, Any]) -> str:
    paused = " and is paused" if queue["paused"] else ""
    return f"queue {clean(queue['queue'])} has {queue['waiting']} waiting and {queue['running']} running{paused}"


def run_check(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Compare everything in the stores with everything."""
    problems = _problems(desks, "check")
    failure = f"{plural(len(problems), 'problem')} found; see: manage.py graceful repair" if problems else ""
    return Report({"problems": problems}, _problems_text(problems, look) or "All is as it should be.", failure)


def run_repair(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Mend what ``check`` finds; no item is removed."""
    mended = _problems(desks, "repair")
    left = _problems(desks, "check")
    text = f"Mended:\n{_problems_text(mended, look)}" if mended else "There was nothing to mend."
    if left:
        text += f"\nStill wrong:\n{_problems_text(left, look)}"
    failure = f"{plural(len(left), 'problem')} could not be mended" if left else ""
    return Report({"mended": mended, "problems": left}, text, failure)


def _problems(desks: Desks, call: str) -> list[dict[str, Any]]:
    return [
        {"store": alias, "where": problem.where, "what": problem.what, "repairable": problem.repairable}
        for alias in desks.aliases
        for problem in getattr(desks.desk(alias), call)()
    ]


def _problems_text(problems: list[dict[str, Any]], look: Look) -> str:
    if not problems:
        return ""
    columns = [Column("STORE"), Column("WHERE"), Column("WHAT"), Column("REPAIRABLE")]
    rows = [[p["store"], p["where"], p["what"], "yes" if p["repairable"] else "no"] for p in problems]
    return render(columns, rows, None, look.heading)


def _shutdown_arguments(parser: CommandParser) -> None:
    parser.add_argument("--wait", action="store_true", help="until it has ended")
    parser.add_argument("--web", action="store_true", help="the web servers of this host, not the runner")
    add_timeout(parser, 60)


def run_shutdown(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Ask the runner to stop, as SIGTERM does; asked again, it hastens. With ``--web`` the web servers.

    Of a redis store all runners of this host are asked.
    """
    if options["web"]:
        return stop_web(options, look)
    asked: dict[int, dict[str, Any]] = {}
    stores = []
    for alias in desks.aliases:
        met = []
        for client in desks.controls(alias):
            with suppress(NoRunner):
                pid = client.owner_pid()
                if pid not in asked:  # the same runner has several stores, and a second order would hasten it
                    asked[pid] = _shut_down(client, pid, options["timeout"] if options["wait"] else None)
                met.append(asked[pid])
        stores += [{"store": alias} | one for one in met or [{"pid": None, "phase": None, "ended": True}]]
    late = sorted({store["pid"] for store in stores if store["ended"] is False})
    failure = f"still running after {options['timeout']:g} s: pid {', '.join(map(str, late))}" if late else ""
    return Report({"stores": stores}, "\n".join(map(_shutdown_text, stores)), failure)


def _shut_down(client: ControlClient, pid: int, patience: float | None) -> dict[str, Any]:
    """Order it, and wait ``patience`` seconds for the process to end (None: do not wait)."""
    try:
        handle = os.pidfd_open(pid)  # before the order: afterwards the number might be somebody else's
    except (OSError, ValueError) as error:
        if patience is not None:
            raise CommandError(f"the runner can not be waited for from here (another container?): {error}") from error
        return {"pid": pid, "phase": client.ask("shutdown"), "ended": None}
    try:
        phase = client.ask("shutdown")
        ended = None if patience is None else bool(select.select([handle], [], [], patience)[0])
    finally:
        os.close(handle)
    return {"pid": pid, "phase": phase, "ended": ended}


def _shutdown_text(store: dict[str, Any]) -> str:
    if store["pid"] is None:
        return f"store {store['store']}: no runner runs"
    state = {True: "has ended", False: "has not ended yet", None: f"was asked to stop ({store['phase']})"}
    return f"store {store['store']}: the runner with pid {store['pid']} {state[store['ended']]}"


FLUSH = Subcommand(
    "wait until queues are empty; without a runner, run what is there", FLUSH_KEYS, run_flush, _flush_arguments
)
CHECK = Subcommand("look for damage in the stores", CHECK_KEYS, run_check)
REPAIR = Subcommand("mend what check finds; no item is removed", REPAIR_KEYS, run_repair)
SHUTDOWN = Subcommand(
    "stop the runner (or with --web the web servers), as SIGTERM does", SHUTDOWN_KEYS, run_shutdown, _shutdown_arguments
)
