"""``status`` and ``queues``: what there is, and how much of it."""

from __future__ import annotations

import socket
import time
from dataclasses import asdict
from typing import Any

from django_graceful.conf import get_conf
from django_graceful.console.desks import Desks
from django_graceful.console.report import Look, Report, Subcommand
from django_graceful.console.tables import Column, render
from django_graceful.console.text import clean, duration, moment, plural
from django_graceful.exceptions import StoreError
from django_graceful.items import State
from django_graceful.queues import all_queues

STATUS_KEYS = """\
stores: a list of objects
  store, path, durability
  runner: null when none runs, else pid, phase, since (epoch seconds), hammer_in (seconds or null),
    workers (object: busy, idle, starting) and running (list: queue, item, items, execution, pid, seconds)
  runners: all of them (only a redis store has several), the oldest first, each with its host, too
  inbox_bytes: pushed and not yet taken in by the runner
  items: object with a number for each state, over all queues
  error: why the rest of this store is missing, else null"""

QUEUES_KEYS = """\
queues: a list of objects
  queue, store, declared (whether the code declares it), paused
  waiting, scheduled, retrying, running, dead, cancelled: items in that state
  oldest_age: seconds since the longest waiting item was pushed, or null
  pushed, duplicates, done, retried, died, stopped, discarded: totals since the store was made"""


def run_status(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Every store, its runner, and the sums over its queues."""
    stores = [_store_status(desks, alias) for alias in desks.aliases]
    return Report({"stores": stores}, "\n\n".join(_status_text(store, look) for store in stores))


def _store_status(desks: Desks, alias: str) -> dict[str, Any]:
    conf = get_conf().stores[alias]
    found: dict[str, Any] = {"store": alias, "path": str(conf.path), "durability": conf.durability}
    found |= {"runner": None, "runners": [], "inbox_bytes": None, "items": None, "error": None}
    try:
        found["inbox_bytes"] = desks.backlog(alias)
        found["runners"] = [{"host": socket.gethostname()} | runner for runner in desks.runners(alias)]
        for oldest in found["runners"][:1]:
            found["runner"] = {key: value for key, value in oldest.items() if key != "host"}
        counts = desks.counts(alias).values()
        found["items"] = {str(state): sum(getattr(queue, state) for queue in counts) for state in State}
    except StoreError as error:
        found["error"] = str(error)
    return found


def _status_text(store: dict[str, Any], look: Look) -> str:
    lines = [look.heading(f"Store {store['store']}"), f"  path:       {clean(store['path'])} ({store['durability']})"]
    for runner in store["runners"]:
        lines += _runner_lines(runner)
    if not store["runners"] and store["error"] is None:
        lines.append("  runner:     none runs; start one with: manage.py runqueues")
    if store["inbox_bytes"]:
        lines.append(f"  inbox:      {plural(store['inbox_bytes'], 'byte')} not yet taken in")
    if store["items"] is not None:
        held = ", ".join(f"{number} {state}" for state, number in store["items"].items() if number)
        lines.append(f"  items:      {held or 'none'}")
    if store["error"] is not None:
        lines.append(look.style.ERROR(f"  error:      {clean(store['error'])}"))
    return "\n".join(lines)


def _runner_lines(runner: dict[str, Any]) -> list[str]:
    age = duration(time.time() - runner["since"])
    hammer = "" if runner["hammer_in"] is None else f", hammer in {duration(runner['hammer_in'])}"
    workers = ", ".join(f"{number} {kind}" for kind, number in runner["workers"].items())
    since = f"since {moment(runner['since'])} ({age})"
    lines = [
        f"  runner:     pid {runner['pid']}{_host(runner)}, {runner['phase']}{hammer}, {since}",
        f"  workers:    {workers}",
    ]
    for run in runner["running"]:
        more = "" if run["items"] == 1 else f" and {run['items'] - 1} more"
        what = f"{clean(run['queue'])} {run['item']}{more}"
        lines.append(f"  running:    {what} for {duration(run['seconds'])} (pid {run['pid']})")
    return lines


def _host(runner: dict[str, Any]) -> str:
    return "" if runner["host"] == socket.gethostname() else f" on {clean(runner['host'])}"


def run_queues(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """One line for each queue: those that the code declares and those that are only in a store."""
    declared = {(name, queue.options.store) for name, queue in all_queues().items()}
    queues = [
        {"queue": name, "store": alias, "declared": (name, alias) in declared} | asdict(counts)
        for alias in desks.aliases
        for name, counts in desks.counts(alias).items()
    ]
    return Report({"queues": queues}, _queues_text(queues, look))


_COLUMNS = [
    Column("QUEUE", gives=True),
    *(Column(title, right=True) for title in ("WAITING", "OLDEST", "SCHEDULED", "RETRYING", "RUNNING", "DEAD")),
    Column("PAUSED"),
    Column("DONE", right=True),
    Column("STORE", gives=True),
]


def _queues_text(queues: list[dict[str, Any]], look: Look) -> str:
    if not queues:
        return "No app's queues.py declares a queue, and no store has one."
    table = render(_COLUMNS, [_queue_row(queue) for queue in queues], look.screen, look.heading)
    stray = any(not queue["declared"] for queue in queues)
    return table + ("\n* not declared in any app's queues.py for this store: its items are set aside" if stray else "")


def _queue_row(queue: dict[str, Any]) -> list[str]:
    age = "" if queue["oldest_age"] is None else duration(queue["oldest_age"], brief=True)
    name = queue["queue"] + ("" if queue["declared"] else " *")
    numbers = [str(queue[state]) for state in ("scheduled", "retrying", "running", "dead")]
    return [name, str(queue["waiting"]), age, *numbers, _yes(queue["paused"]), str(queue["done"]), queue["store"]]


def _yes(value: bool) -> str:
    return "yes" if value else ""


STATUS = Subcommand("each store: its runner, what runs, how much waits", STATUS_KEYS, run_status)
QUEUES = Subcommand("each queue: what waits, runs and failed", QUEUES_KEYS, run_queues)
