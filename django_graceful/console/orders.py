"""``pause``, ``resume``, ``retry`` and ``discard``: orders about items and queues.

Each does what it can for every name it got, says what became of each, and fails at the end when one of them was wrong.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_graceful.console.confirming import confirm
from django_graceful.console.desks import Desks
from django_graceful.console.report import Look, Report, Subcommand
from django_graceful.console.text import clean, plural
from django_graceful.items import State

PAUSE_KEYS = "queues: a list of objects: queue, store, paused"
RETRY_KEYS = """\
queue
count: how many wait again
refused: a list of objects: id, why"""
DISCARD_KEYS = """\
queue
count: how many were removed
refused: a list of objects: id, why"""


def _pause_arguments(parser: CommandParser) -> None:
    parser.add_argument("queues", nargs="+", metavar="QUEUE", help="the queues")


def run_pause(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Run nothing more of these queues until they are resumed; pushes go on."""
    return _set_paused(desks, options["queues"], paused=True)


def run_resume(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Undo ``pause``."""
    return _set_paused(desks, options["queues"], paused=False)


def _set_paused(desks: Desks, names: list[str], *, paused: bool) -> Report:
    places = [(name, alias) for name in names for alias in desks.having(name)]
    for name, alias in places:
        desk = desks.desk(alias)
        (desk.pause if paused else desk.resume)(name)
    word = "paused" if paused else "resumed"
    text = "\n".join(f"{clean(name)}: {word} in store {alias}" for name, alias in places)
    return Report({"queues": [{"queue": n, "store": a, "paused": paused} for n, a in places]}, text)


def _choice_arguments(parser: CommandParser) -> None:
    parser.add_argument("queue", metavar="QUEUE")
    parser.add_argument("ids", nargs="*", metavar="ID", help="these items")


def _retry_arguments(parser: CommandParser) -> None:
    _choice_arguments(parser)
    parser.add_argument("--all", action="store_true", help="all dead items of the queue")


def run_retry(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Dead items (and, when named, cancelled ones) wait again, with no attempt counted."""
    queue, ids = _choice(options)
    stores = desks.having(queue)
    if ids is None:
        return _outcome(queue, sum(desks.desk(alias).retry(queue) for alias in stores), [], "waits again", "wait again")
    chosen, refused = _sort(desks, queue, ids, (State.DEAD, State.CANCELLED))
    count = sum(desks.desk(alias).retry(queue, [i for i, _ in picked]) for alias, picked in chosen.items())
    return _outcome(queue, count, refused, "waits again", "wait again")


def _discard_arguments(parser: CommandParser) -> None:
    _choice_arguments(parser)
    states = [str(state) for state in State if state is not State.RUNNING]
    parser.add_argument("--state", choices=states, help="only items in this state (with --all: dead, when not given)")
    parser.add_argument("--all", action="store_true", help="all items of the queue that are in the state")
    parser.add_argument("--no-input", action="store_false", dest="interactive", help="do not ask")


def run_discard(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Remove items that do not run, for good."""
    queue, ids = _choice(options)
    stores = desks.having(queue)
    if ids is None:
        state = State(options["state"] or State.DEAD)
        if options["interactive"]:
            number = sum(getattr(desks.counts(alias)[queue], state) for alias in stores)
            desks.close()  # nobody shall wait for the answer of a person
            _confirm(queue, state, number, options)
        return _outcome(queue, sum(desks.desk(alias).discard(queue, state) for alias in stores), [], *["discarded"] * 2)
    states = [State(options["state"])] if options["state"] else [state for state in State if state != State.RUNNING]
    chosen, refused = _sort(desks, queue, ids, states)
    count = sum(
        desks.desk(alias).discard(queue, state, [item_id])
        for alias, picked in chosen.items()
        for item_id, state in picked
    )
    return _outcome(queue, count, refused, *["discarded"] * 2)


def _choice(options: dict[str, Any]) -> tuple[str, list[str] | None]:
    """The queue, and the ids named; None for all."""
    if bool(options["ids"]) == options["all"]:
        raise CommandError("name the items by their ids, or say --all")
    return options["queue"], list(dict.fromkeys(options["ids"])) or None


Chosen = dict[str, list[tuple[str, State]]]


def _sort(desks: Desks, queue: str, ids: list[str], states: Any) -> tuple[Chosen, list[dict[str, str]]]:
    """Which of the items are where they must be, by store; and why the others are not."""
    chosen: Chosen = {}
    refused = []
    for item_id in ids:
        found = desks.find(item_id)
        if found is None:
            refused.append({"id": item_id, "why": "no item has this id"})
        elif found[1].item.queue != queue:
            refused.append({"id": item_id, "why": f"is of queue {found[1].item.queue}"})
        elif found[1].state not in states:
            refused.append({"id": item_id, "why": f"is {found[1].state}, not {' or '.join(states)}"})
        else:
            chosen.setdefault(found[0], []).append((item_id, found[1].state))
    return chosen, refused


def _confirm(queue: str, state: State, number: int, options: dict[str, Any]) -> None:
    if options["json"]:
        raise CommandError("--all with --json does not ask, so it needs --no-input")
    question = f"{plural(number, f'{state} item')} of queue {clean(queue)} will be gone for good."
    confirm(question, number, "nothing was discarded")


def _outcome(queue: str, count: int, refused: list[dict[str, str]], one: str, many: str) -> Report:
    lines = [f"{clean(queue)}: {plural(count, 'item')} {one if count == 1 else many}"]
    lines += [f"{clean(entry['id'])}: {clean(entry['why'])}" for entry in refused]
    failure = (
        f"{plural(len(refused), 'item')} left as {'it is' if len(refused) == 1 else 'they are'}" if refused else ""
    )
    return Report({"queue": queue, "count": count, "refused": refused}, "\n".join(lines), failure)


PAUSE = Subcommand("run nothing more of a queue; pushes go on", PAUSE_KEYS, run_pause, _pause_arguments)
RESUME = Subcommand("run a paused queue again", PAUSE_KEYS, run_resume, _pause_arguments)
RETRY = Subcommand("let dead or cancelled items wait again", RETRY_KEYS, run_retry, _retry_arguments)
DISCARD = Subcommand("remove items for good", DISCARD_KEYS, run_discard, _discard_arguments)
