"""``graceful cancel``: items and processes by id, whole queues and keys, and waiting for how it comes out."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from django_graceful import nodes
from django_graceful.console import outcomes
from django_graceful.console.desks import Desks
from django_graceful.items import Outcome, State
from django_graceful.stores import get_store
from django_graceful.stores.base import CancelOutcome, Ending, StoreOwner, Wish
from django_graceful.stores.leveldb import LevelDBStore
from tests.commands.conftest import Console, Shop, record
from tests.control.serving import FakeAdmin, serving
from tests.harness import until

ALL_LIVE = ("waiting", "second", "scheduled", "retrying")


def item_of(graceful: Console, item_id: str) -> dict[str, Any]:
    (entry,) = graceful.json("items", "--id", item_id)["items"]
    return dict(entry)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """A person who types this; the questions."""

    def prepare(typed: str) -> list[str]:
        asked: list[str] = []

        def say(question: str) -> str:
            asked.append(question)
            return typed

        monkeypatch.setattr("builtins.input", say)
        return asked

    return prepare


# Whole queues


def test_everything_of_a_queue_is_cancelled_with_who_and_why(graceful: Console, shop: Shop) -> None:
    found = graceful.json("cancel", "--queue", "mail", "--reason", "wrong list", "--no-input")
    asked = 1 if shop.served else 0
    assert found == {"queue": "mail", "key": None, "cancelled": 4 - asked, "asked": asked}
    for name in ("scheduled", "retrying"):
        entry = item_of(graceful, shop.ids[name])
        assert entry["state"] == "cancelled"
        assert (entry["detail"]["by"], entry["detail"]["reason"]) == (getpass.getuser(), "wrong list")
    assert item_of(graceful, shop.ids["dead"])["state"] == "dead"
    assert item_of(graceful, shop.ids["old"])["state"] == "waiting"
    again = graceful("cancel", "--queue", "mail", "--no-input")
    assert again == "mail: 0 items cancelled\n"


def test_a_key_picks_its_items(graceful: Console, shop: Shop) -> None:
    mine = shop.push("mail", record(key="a"), record(key="a", delay=60))
    found = graceful.json("cancel", "--queue", "mail", "--key", "a", "--no-input")
    assert found == {"queue": "mail", "key": "a", "cancelled": 2, "asked": 0}
    assert [item_of(graceful, item_id)["state"] for item_id in mine] == ["cancelled"] * 2
    assert item_of(graceful, shop.ids["scheduled"])["state"] == "scheduled"


@pytest.mark.parametrize("key", [[], ["--key", "a"]])
def test_the_number_is_typed_back_or_nothing_is_cancelled(
    graceful: Console, shop: Shop, answer: Callable[[str], list[str]], key: list[str]
) -> None:
    shop.push("mail", record(key="a"), record(key="a", delay=60))
    number, which = ("2", " with the key a") if key else ("6", "")
    asked = answer("yes")
    with pytest.raises(CommandError, match=r"^nothing was cancelled$"):
        graceful("cancel", "--queue", "mail", *key)
    assert asked == [f"{number} items of queue mail{which} will be cancelled. Type the number: "]
    answer(number)
    runs = shop.served and not key
    text = f"mail: {5 if runs else number} items cancelled{', 1 run asked to stop' if runs else ''}\n"
    assert graceful("cancel", "--queue", "mail", *key) == text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "name items or processes by their ids, or a queue with --queue"),
        (("ab", "--queue", "mail"), "name items or processes by their ids, or a queue with --queue"),
        (("ab", "--key", "k"), "--key goes with --queue"),
        (("--queue", "mail", "--wait"), "--wait goes with IDs"),
        (("--queue", "mail", "--json"), "--queue with --json does not ask, so it needs --no-input"),
        (("--queue", "mial", "--no-input"), r"no queue is named 'mial' \(did you mean 'mail'\?\)"),
        (("ab", "--wait", "never"), "must be a number of seconds, not 'never' .the IDs go before --wait"),
        (("--wait", "ab"), "must be a number of seconds, not 'ab' .the IDs go before --wait"),
    ],
)
def test_what_does_not_go_together_is_said(
    graceful: Console, shop: Shop, arguments: tuple[str, ...], error: str
) -> None:
    with pytest.raises(CommandError, match=error):
        graceful("cancel", *arguments)
    assert item_of(graceful, shop.ids["scheduled"])["state"] == "scheduled"


# Processes


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the processes that run; what is cancelled is there for three looks more."""
    rows: list[str] = ["ab12.7"]
    looks: list[int] = []

    def cancel(process_id: str, by: str, reason: str) -> str:
        assert (by, reason) == (getpass.getuser(), "why")
        return "system" if process_id.endswith(".1") else "asked" if process_id in rows else "unknown"

    def running() -> list[dict[str, Any]]:
        looks.append(1)
        if len(looks) > 3:
            rows.clear()
        return [{"node": "ab12", "processes": [{"id": row} for row in rows]}, {"node": "x", "silent": True}]

    monkeypatch.setattr(nodes, "cancel", cancel)
    monkeypatch.setattr(nodes, "running", running)
    return rows


def test_an_id_with_a_dot_is_a_process(graceful: Console, shop: Shop, table: list[str]) -> None:
    answer, failure = graceful.failing_json("cancel", "ab12.7", "ab12.1", "ab12.9", "--reason", "why")
    assert answer == {
        "items": [
            {"id": "ab12.7", "store": None, "reply": "asked"},
            {"id": "ab12.1", "store": None, "reply": "system"},
            {"id": "ab12.9", "store": None, "reply": "unknown"},
        ]
    }
    assert failure == "not cancelled: ab12.1, ab12.9"


def test_waiting_for_a_process_is_until_it_is_not_in_the_table_any_more(
    graceful: Console, shop: Shop, table: list[str]
) -> None:
    (said,) = graceful.json("cancel", "ab12.7", "--reason", "why", "--wait")["items"]
    assert said["outcome"] == "ended"
    assert 0 < said["seconds"] < 20
    assert table == []


# Waiting


@pytest.fixture
def owner(store_path: Path) -> Iterator[StoreOwner]:
    """A store whose owner the test holds, served to the command; what is asked of it later comes from this thread."""
    store = get_store()
    assert isinstance(store, LevelDBStore)
    found = store.own()
    with serving(store_path, found):
        yield found
    found.close()


def running_item(owner: StoreOwner) -> tuple[str, int]:
    (item_id,) = owner.push("mail", [record()])
    (lease,) = owner.lease("mail", 1, "worker")
    return item_id.hex(), lease.execution


class Ended(FakeAdmin):
    """What is cancelled runs, and ends like this."""

    def __init__(self, outcome: CancelOutcome) -> None:
        super().__init__()
        self.outcome = outcome

    def cancel_outcome(self, item_id: str) -> CancelOutcome:
        return self.outcome


@pytest.mark.parametrize(
    ("ending", "killed", "said"),
    [
        (Outcome.CANCELLED, False, "cancelled after"),
        (Outcome.CANCELLED, True, "killed after"),
        (Outcome.DEAD, False, "finished first (dead)"),
        (Outcome.DONE, False, "finished first (done)"),
    ],
)
def test_waiting_tells_how_it_came_out(
    graceful: Console, store_path: Path, ending: Outcome, killed: bool, said: str
) -> None:
    wish = Wish(7, "anna", "why", 100.0, 100.1, 102.0 if killed else None)
    admin = Ended(CancelOutcome(ending, wish, 102.125))
    store_path.mkdir()
    with serving(store_path, admin):
        line = graceful("cancel", "ab" * 16, "--wait").strip()
        (data,) = graceful.json("cancel", "ab" * 16, "--wait")["items"]
    tail = " after it was asked" if "first" in said else ""
    assert line == f"{'ab' * 16}: {said} 2.12 s{tail}"
    assert (data["reply"], data["outcome"], data["killed"], data["seconds"]) == ("asked", str(ending), killed, 2.125)


def test_waiting_goes_on_until_the_run_ends(graceful: Console, owner: StoreOwner) -> None:
    item_id, execution = running_item(owner)
    lines: list[str] = []
    waiter = threading.Thread(target=lambda: lines.append(graceful("cancel", item_id, "--wait", "30")))
    waiter.start()
    until(lambda: owner.renew([execution]) == set() and owner.wishes(), "the wish")
    assert waiter.is_alive()
    owner.finish(endings=[Ending(execution, Outcome.CANCELLED)])
    waiter.join(30)
    assert lines[0].startswith(f"{item_id}: cancelled after 0.")


def test_a_run_that_does_not_end_in_time_fails_the_command(graceful: Console, owner: StoreOwner) -> None:
    item_id, _ = running_item(owner)
    answer, failure = graceful.failing_json("cancel", item_id, "--wait", "0.05")
    said = {"id": item_id, "store": "default", "reply": "asked", "outcome": None, "seconds": None, "killed": False}
    assert answer == {"items": [said]}
    assert failure == f"still running: {item_id}"
    with pytest.raises(CommandError):
        graceful("cancel", item_id, "--wait", "0.05")
    assert graceful.written == f"{item_id}: still runs after 0.1 s\n"


@pytest.mark.parametrize("cancelled", [True, False])
def test_an_outcome_that_the_runner_has_forgotten_is_read_from_the_item(
    graceful: Console, store_path: Path, cancelled: bool
) -> None:
    store = get_store()
    owner = store.own()
    item_id, execution = running_item(owner)
    one = outcomes.Asked(item_id, "default", "asked")
    owner.request_cancel(item_id)
    owner.note_step(execution, "killed", 5.0)
    owner.finish(endings=[Ending(execution, Outcome.CANCELLED if cancelled else Outcome.DONE)])
    owner.close()
    with Desks() as desks:
        outcomes.await_ends(desks, [one], 10)
    assert one.outcome == ("cancelled" if cancelled else "lost")
    assert one.killed is cancelled
    assert (one.seconds is not None) is cancelled
    assert one.text(10).startswith("killed after" if cancelled else "has ended; how is not known")


def test_what_did_not_run_needs_no_waiting(graceful: Console, shop: Shop) -> None:
    ids = [shop.ids["scheduled"], shop.ids["retrying"]]
    answer = graceful.json("cancel", *ids, *ids, "--wait")
    assert answer == {"items": [{"id": i, "store": "default", "reply": "cancelled"} for i in ids]}
    assert [item_of(graceful, i)["state"] for i in ids] == [State.CANCELLED] * 2
