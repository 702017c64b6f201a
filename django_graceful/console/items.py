"""``items``: a page of one queue, or one item with all that is known of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_graceful.console.arguments import at_least
from django_graceful.console.desks import Desks
from django_graceful.console.report import Look, Report, Subcommand
from django_graceful.console.tables import Column, render
from django_graceful.console.text import clean, clean_lines, duration, moment
from django_graceful.exceptions import RecordError
from django_graceful.items import Item, State
from django_graceful.stores.base import Found, Page, StoreAdmin

KEYS = """\
items: a list of objects
  id, queue, store, state, key, priority, attempt, crashes
  pushed_at, not_before: epoch seconds (not_before is 0 for at once)
  payload, and payload_text with what is stored when that is not JSON (payload is null then)
  errors: list of attempt, at, type, message, traceback, and killed_at of a run that had to be killed
  detail: what the state adds: due, died_at, reason, by, execution, owner
after: give this to --after for the next page; null at the end"""

#: What is looked at first when no state is named: what runs, what comes next, what failed.
_ORDER = (State.RUNNING, State.WAITING, State.RETRYING, State.SCHEDULED, State.DEAD, State.CANCELLED)
_PAYLOAD = 200


def add_arguments(parser: CommandParser) -> None:
    """QUEUE, --id, --state, --limit, --after."""
    parser.add_argument("queue", nargs="?", metavar="QUEUE", help="the queue whose items are listed")
    parser.add_argument("--id", metavar="ID", help="show this one item in full")
    parser.add_argument("--state", choices=[str(state) for state in State], help="only items in this state")
    parser.add_argument("--limit", type=at_least(1), default=20, metavar="N", help="list so many at most (20)")
    parser.add_argument("--after", metavar="X", help="go on where the page before ended (needs --state)")


def run(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """A page, or with ``--id`` one item in full."""
    if (options["queue"] is None) == (options["id"] is None):
        raise CommandError("name a queue, or one item with --id")
    if options["id"] is not None:
        return _one(desks, options["id"], look)
    return _many(desks, options, look)


def _many(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    stores = desks.having(options["queue"])
    if options["after"] is not None and (options["state"] is None or len(stores) > 1):
        raise CommandError("--after goes with --state, and with --store when several stores have the queue")
    states = [State(options["state"])] if options["state"] else _ORDER
    found: list[dict[str, Any]] = []
    after = None
    for alias in stores:
        for state in states:
            left = options["limit"] - len(found)
            listed, after = _list(desks.desk(alias), options["queue"], state, options["after"], left)
            found += [describe(entry, alias) for entry in listed]
    data = {"items": found, "after": after if len(states) == len(stores) == 1 else None}
    return Report(data, _page_text(data, look, options["limit"]))


def _list(desk: StoreAdmin, queue: str, state: State, after: str | None, limit: int) -> tuple[list[Found], str | None]:
    """So many items, over as many pages as that takes, and where to go on."""
    listed: list[Found] = []
    while len(listed) < limit:
        page: Page = desk.page(queue, state, after, limit - len(listed))
        listed += page.items
        after = page.after
        if after is None:
            break
    return listed, after


def describe(found: Found, alias: str) -> dict[str, Any]:
    """One item as ``--json`` shows it."""
    item = found.item
    shown: dict[str, Any] = {"id": item.id, "queue": item.queue, "store": alias, "state": str(found.state)}
    for name in ("key", "priority", "attempt", "crashes", "pushed_at", "not_before"):
        shown[name] = getattr(item, name)
    return shown | _payload(item) | {"errors": item.errors, "detail": found.detail}


def _payload(item: Item) -> dict[str, Any]:
    try:
        return {"payload": item.payload}
    except RecordError:
        return {"payload": None, "payload_text": item.payload_json.decode("utf-8", "backslashreplace")}


_COLUMNS = [
    Column("ID"),
    Column("STATE"),
    Column("WHEN"),
    Column("TRY", right=True),
    Column("KEY", gives=True),
    Column("PAYLOAD", gives=True),
    Column("LAST ERROR", gives=True),
]


def _page_text(data: dict[str, Any], look: Look, limit: int) -> str:
    if not data["items"]:
        return "No items."
    now = time.time()
    rows = [_row(item, now) for item in data["items"]]
    used = [index for index in range(len(_COLUMNS)) if any(row[index] for row in rows)]
    shown = [[row[index] for index in used] for row in rows]
    table = render([_COLUMNS[index] for index in used], shown, look.screen, look.heading)
    if data["after"] is not None:
        return f"{table}\nThere are more: --after {data['after']}"
    return table + (
        f"\nThere may be more: raise --limit {limit}, or name a --state." if len(data["items"]) == limit else ""
    )


def _row(item: dict[str, Any], now: float) -> list[str]:
    error = item["errors"][-1] if item["errors"] else {}
    said = f"{error.get('type', '')}: {error.get('message', '')}" if error else str(item["detail"].get("reason", ""))
    payload = _compact(item)[:_PAYLOAD]
    return [item["id"], item["state"], when(item, now), str(item["attempt"]), item["key"], payload, said[:_PAYLOAD]]


def when(item: dict[str, Any], now: float) -> str:
    """When it is due, or how long it is ago: that it died, or else that it was pushed."""
    if item["state"] in (State.SCHEDULED, State.RETRYING):
        left = float(item["detail"].get("due", item["not_before"])) - now
        return f"in {duration(left, brief=True)}" if left > 0 else "now"
    return f"{duration(now - float(item['detail'].get('died_at', item['pushed_at'])), brief=True)} ago"


def _compact(item: dict[str, Any]) -> str:
    if "payload_text" in item:
        return f"not JSON: {item['payload_text']}"
    return json.dumps(item["payload"], ensure_ascii=False)


def _one(desks: Desks, item_id: str, look: Look) -> Report:
    found = desks.find(item_id)
    if found is None:
        raise CommandError(f"no item has the id {item_id!r}: it is done, was discarded, or never was")
    item = describe(found[1], found[0])
    return Report({"items": [item], "after": None}, "\n".join(_full(item, look)))


def _full(item: dict[str, Any], look: Look) -> Iterator[str]:
    yield look.heading(f"Item {item['id']}")
    for name in ("queue", "store", "state", "key", "priority", "attempt", "crashes"):
        yield f"  {name + ':':<12}{clean(str(item[name]))}"
    yield f"  {'pushed:':<12}{moment(item['pushed_at'])}"
    if item["not_before"]:
        yield f"  {'not before:':<12}{moment(item['not_before'])}"
    for name, value in item["detail"].items():
        shown = moment(value) if name in ("due", "died_at") else clean(str(value))
        yield f"  {clean(name).replace('_', ' ') + ':':<12}{shown}"
    yield look.heading("Payload")
    whole = item.get("payload_text") or json.dumps(item["payload"], indent=2, ensure_ascii=False)
    yield from (f"  {line}" for line in clean_lines(whole))
    for error in item["errors"]:
        yield look.heading(f"Attempt {clean(str(error.get('attempt', '?')))}, {moment(error.get('at', -1e18))}")
        yield f"  {clean(str(error.get('type', '')))}: {clean(str(error.get('message', '')))}"
        if "killed_at" in error:
            yield f"  killed {moment(error['killed_at'])}"
        yield from (f"  {line}" for line in clean_lines(str(error.get("traceback", ""))))


ITEMS = Subcommand("the items of a queue, or one item in full", KEYS, run, add_arguments)
