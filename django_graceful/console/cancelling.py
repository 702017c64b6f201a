"""``cancel``: items and processes by their ids, or everything of a queue; with ``--wait`` also how it came out."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_graceful import nodes
from django_graceful.console.arguments import seconds, who
from django_graceful.console.confirming import confirm
from django_graceful.console.desks import Desks
from django_graceful.console.outcomes import CANCELLED, Asked, await_ends
from django_graceful.console.report import Look, Report, Subcommand
from django_graceful.console.text import clean, plural
from django_graceful.items import State
from django_graceful.stores.base import CancelReply, StoreAdmin

KEYS = """\
with IDs, items: a list of objects: id, store (null for a process, and when unknown), reply:
  cancelled (it did not run), asked (it runs, and is told to stop), unknown,
  or system (a process that can not be cancelled)
  with --wait also, of those that were asked:
    outcome: cancelled; done or dead, when it came to that first; ended, of a process;
      lost, when nobody knows any more; null, when it still runs
    seconds: from the asking to its end, or null
    killed: whether it had to be killed
with --queue: queue, key (or null), cancelled (how many, at once), asked (how many runs are told to stop)"""

#: Seconds that --wait waits when it is not told how many.
_PATIENCE = 30.0
#: What is cancelled: everything that is not at its end.
_LIVE = (State.WAITING, State.SCHEDULED, State.RETRYING, State.RUNNING)
_SAID = {
    "cancelled": CANCELLED,
    "asked": "runs; it has been asked to stop",
    "unknown": "nothing that could be cancelled has this id",
    "system": "is one of those that can not be cancelled",
}


def _patience(text: str) -> float:
    try:
        return seconds(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error} (the IDs go before --wait)") from None


def _arguments(parser: CommandParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="the items and processes to cancel")
    parser.add_argument("--queue", metavar="QUEUE", help="cancel everything of this queue, waiting or running")
    parser.add_argument("--key", metavar="KEY", help="with --queue: only the items that have this key")
    parser.add_argument("--reason", default="", metavar="TEXT", help="kept with the items, and shown")
    text = f"see what runs come to its end, for so long at most ({_PATIENCE:g})"
    parser.add_argument("--wait", nargs="?", type=_patience, const=_PATIENCE, metavar="SECONDS", help=text)
    parser.add_argument("--no-input", action="store_false", dest="interactive", help="do not ask")


def run_cancel(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Cancel items and processes, whether they wait or run."""
    if bool(options["ids"]) == (options["queue"] is not None):
        raise CommandError("name items or processes by their ids, or a queue with --queue")
    if options["queue"] is not None:
        if options["wait"] is not None:
            raise CommandError("--wait goes with IDs")
        return _cancel_queue(desks, options)
    if options["key"] is not None:
        raise CommandError("--key goes with --queue")
    return _cancel_ids(desks, options)


def _cancel_ids(desks: Desks, options: dict[str, Any]) -> Report:
    by, reason, patience = who(), options["reason"], options["wait"]
    found = [_cancel(desks, name, by, reason) for name in dict.fromkeys(options["ids"])]
    if patience is not None:
        await_ends(desks, [asked for asked in found if asked.reply == "asked"], patience)
    lines = [f"{clean(asked.id)}: {asked.text(patience) or _SAID[asked.reply]}" for asked in found]
    refused = [asked.id for asked in found if asked.reply not in ("cancelled", "asked")]
    running = [asked.id for asked in found if patience is not None and asked.reply == "asked" and not asked.outcome]
    failures = [
        f"{word}: {', '.join(map(clean, ids))}"
        for word, ids in (("not cancelled", refused), ("still running", running))
        if ids
    ]
    return Report({"items": [asked.data(patience) for asked in found]}, "\n".join(lines), "; ".join(failures))


def _cancel(desks: Desks, name: str, by: str, reason: str) -> Asked:
    if "." in name:
        return Asked(name, None, str(nodes.cancel(name, by=by, reason=reason)))
    for alias in desks.aliases:
        reply = desks.desk(alias).request_cancel(name, by, reason)
        if reply is not CancelReply.UNKNOWN:
            return Asked(name, alias, str(reply))
    return Asked(name, None, str(CancelReply.UNKNOWN))


def _cancel_queue(desks: Desks, options: dict[str, Any]) -> Report:
    queue, key = options["queue"], options["key"]
    stores = desks.having(queue)
    if options["interactive"]:
        _ask(desks, stores, options)
    counts = [desks.desk(alias).cancel_all(queue, key, who(), options["reason"]) for alias in stores]
    cancelled, asked = sum(count.cancelled for count in counts), sum(count.asked for count in counts)
    text = f"{clean(queue)}: {plural(cancelled, 'item')} cancelled"
    if asked:
        text += f", {plural(asked, 'run')} asked to stop"
    return Report({"queue": queue, "key": key, "cancelled": cancelled, "asked": asked}, text)


def _ask(desks: Desks, stores: list[str], options: dict[str, Any]) -> None:
    if options["json"]:
        raise CommandError("--queue with --json does not ask, so it needs --no-input")
    queue, key = options["queue"], options["key"]
    number = sum(_count(desks.desk(alias), queue, key) for alias in stores)
    desks.close()  # nobody shall wait for the answer of a person
    which = f"queue {clean(queue)}" + (f" with the key {clean(key)}" if key is not None else "")
    confirm(f"{plural(number, 'item')} of {which} will be cancelled.", number, "nothing was cancelled")


def _count(desk: StoreAdmin, queue: str, key: str | None) -> int:
    """How many items would be cancelled now."""
    if key is None:
        counts = desk.counts().get(queue)
        return sum(getattr(counts, state) for state in _LIVE) if counts is not None else 0
    number = 0
    for state in _LIVE:
        after = None
        while True:
            page = desk.page(queue, state, after, 1000)
            number += sum(found.item.key == key for found in page.items)
            after = page.after
            if after is None:
                break
    return number


CANCEL = Subcommand("cancel items and processes, waiting or running", KEYS, run_cancel, _arguments)
