"""``cancel``, ``pause``, ``resume``, ``retry`` and ``discard``: the same with a runner and without one."""

from __future__ import annotations

import getpass
from typing import Any

import pytest
from django.core.management.base import CommandError

from django_graceful.console import arguments, orders
from django_graceful.items import State
from django_graceful.stores.leveldb.ownership import OwnerLock
from tests.commands.conftest import Console, Shop, record


def counts(graceful: Console, name: str = "mail") -> dict[str, Any]:
    found: list[dict[str, Any]] = graceful.json("queues")["queues"]
    return next(entry for entry in found if entry["queue"] == name)


def state_of(graceful: Console, item_id: str) -> str:
    return str(graceful.json("items", "--id", item_id)["items"][0]["state"])


@pytest.fixture
def no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda question: pytest.fail("it asked"))


@pytest.mark.parametrize("state", ["waiting", "scheduled", "retrying"])
def test_what_does_not_run_is_cancelled_at_once_with_who_and_why(graceful: Console, shop: Shop, state: str) -> None:
    answer = graceful.json("cancel", shop.ids[state], "--reason", "wrong list")
    assert answer == {"items": [{"id": shop.ids[state], "store": "default", "reply": "cancelled"}]}
    (entry,) = graceful.json("items", "--id", shop.ids[state])["items"]
    assert entry["state"] == "cancelled"
    assert (entry["detail"]["by"], entry["detail"]["reason"]) == (getpass.getuser(), "wrong list")


@pytest.mark.parametrize("shop", ["served"], indirect=True)
def test_what_runs_is_asked_to_stop(graceful: Console, shop: Shop) -> None:
    assert graceful("cancel", shop.ids["running"]) == f"{shop.ids['running']}: runs; it has been asked to stop\n"
    assert graceful.json("cancel", shop.ids["running"])["items"][0]["reply"] == "asked"


def test_an_unknown_id_fails_and_the_others_are_cancelled_all_the_same(graceful: Console, shop: Shop) -> None:
    answer, failure = graceful.failing_json("cancel", "nonsense\x1b", shop.ids["waiting"])
    assert [entry["reply"] for entry in answer["items"]] == ["unknown", "cancelled"]
    assert answer["items"][0]["store"] is None
    assert failure == r"not cancelled: nonsense\x1b"
    assert state_of(graceful, shop.ids["waiting"]) == "cancelled"


def test_who_is_a_uid_where_there_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(arguments.getpass, "getuser", nobody)
    monkeypatch.setattr(arguments.os, "getuid", lambda: 4242)
    assert arguments.who() == "uid 4242"


def test_a_queue_is_paused_and_resumed_also_one_without_items_or_without_code(graceful: Console, shop: Shop) -> None:
    names = ["mail", "thumbnails", "old"]
    answer = graceful.json("pause", *names)
    assert answer == {"queues": [{"queue": name, "store": "default", "paused": True} for name in names]}
    assert [counts(graceful, name)["paused"] for name in names] == [True] * 3
    assert "yes" in graceful("queues")
    assert graceful("resume", *names).splitlines() == [f"{name}: resumed in store default" for name in names]
    assert [counts(graceful, name)["paused"] for name in names] == [False] * 3


@pytest.mark.parametrize("order", ["pause", "resume"])
def test_an_unknown_queue_is_named_with_the_nearest_and_nothing_is_done(
    graceful: Console, shop: Shop, order: str
) -> None:
    with pytest.raises(CommandError, match=r"no queue is named 'thumbnail' \(did you mean 'thumbnails'\?\)"):
        graceful(order, "mail", "thumbnail")
    assert not counts(graceful)["paused"]


def test_a_dead_item_waits_again(graceful: Console, shop: Shop) -> None:
    before = counts(graceful)["waiting"]
    assert graceful.json("retry", "mail", shop.ids["dead"]) == {"queue": "mail", "count": 1, "refused": []}
    assert counts(graceful)["waiting"] == before + 1
    (entry,) = graceful.json("items", "--id", shop.ids["dead"])["items"]
    assert (entry["state"], entry["attempt"], len(entry["errors"])) == ("waiting", 0, 1)


def test_a_cancelled_item_that_is_named_waits_again(graceful: Console, shop: Shop) -> None:
    assert graceful("retry", "mail", shop.ids["cancelled"]) == "mail: 1 item waits again\n"
    assert state_of(graceful, shop.ids["cancelled"]) == "waiting"


def test_all_dead_items_wait_again_and_no_others(graceful: Console, shop: Shop) -> None:
    assert graceful.json("retry", "mail", "--all")["count"] == 1
    assert counts(graceful)["dead"] == 0
    assert counts(graceful)["cancelled"] == 1
    assert graceful("retry", "mail", "--all") == "mail: 0 items wait again\n"


def test_retry_says_which_items_it_left_and_why(graceful: Console, shop: Shop) -> None:
    ids = [shop.ids["dead"], shop.ids["scheduled"], shop.ids["old"], "nonsense", shop.ids["dead"]]
    answer, failure = graceful.failing_json("retry", "mail", *ids)
    assert answer["count"] == 1
    assert answer["refused"] == [
        {"id": shop.ids["scheduled"], "why": "is scheduled, not dead or cancelled"},
        {"id": shop.ids["old"], "why": "is of queue old"},
        {"id": "nonsense", "why": "no item has this id"},
    ]
    assert failure == "3 items left as they are"


@pytest.mark.parametrize("order", ["retry", "discard"])
@pytest.mark.parametrize("words", [[], ["an-id", "--all"]])
def test_retry_and_discard_want_ids_or_all_and_not_both(
    graceful: Console, shop: Shop, order: str, words: list[str]
) -> None:
    with pytest.raises(CommandError, match="name the items by their ids, or say --all"):
        graceful(order, "mail", *words)


@pytest.mark.usefixtures("no_question")
@pytest.mark.parametrize("state", ["waiting", "scheduled", "retrying", "dead", "cancelled"])
def test_a_named_item_is_removed_in_whatever_state_it_is(graceful: Console, shop: Shop, state: str) -> None:
    assert graceful.json("discard", "mail", shop.ids[state]) == {"queue": "mail", "count": 1, "refused": []}
    with pytest.raises(CommandError, match="no item has the id"):
        graceful("items", "--id", shop.ids[state])


@pytest.mark.parametrize("shop", ["served"], indirect=True)
@pytest.mark.usefixtures("no_question")
def test_a_running_item_is_not_removed(graceful: Console, shop: Shop) -> None:
    answer, failure = graceful.failing_json("discard", "mail", shop.ids["running"])
    assert answer["count"] == 0
    assert answer["refused"][0]["why"].startswith("is running, not waiting or scheduled")
    assert failure == "1 item left as it is"


@pytest.mark.usefixtures("no_question")
def test_a_named_item_in_another_state_than_the_one_said_is_not_removed(graceful: Console, shop: Shop) -> None:
    answer, _ = graceful.failing_json("discard", "mail", shop.ids["scheduled"], shop.ids["dead"], "--state", "dead")
    assert answer["count"] == 1
    assert answer["refused"] == [{"id": shop.ids["scheduled"], "why": "is scheduled, not dead"}]


@pytest.mark.usefixtures("no_question")
@pytest.mark.parametrize(("words", "state"), [([], "dead"), (["--state", "waiting"], "waiting")])
def test_all_of_a_state_are_removed_without_a_question_when_told_so(
    graceful: Console, shop: Shop, words: list[str], state: str
) -> None:
    before = counts(graceful)[state]
    assert graceful.json("discard", "mail", "--all", "--no-input", *words)["count"] == before
    assert counts(graceful)[state] == 0
    assert counts(graceful)["scheduled"] == 1


@pytest.mark.parametrize(("said", "done"), [("1", True), (" 1 ", True), ("y", False), ("", False), ("2", False)])
def test_all_are_removed_only_when_the_number_was_typed(
    graceful: Console, shop: Shop, monkeypatch: pytest.MonkeyPatch, said: str, done: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or said)
    if done:
        assert graceful("discard", "mail", "--all") == "mail: 1 item discarded\n"
    else:
        with pytest.raises(CommandError, match="nothing was discarded"):
            graceful("discard", "mail", "--all")
    assert asked == ["1 dead item of queue mail will be gone for good. Type the number: "]
    assert counts(graceful)["dead"] == (0 if done else 1)


def test_without_a_terminal_to_ask_nothing_is_removed(
    graceful: Console, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(question: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", closed)
    with pytest.raises(CommandError, match="nothing was discarded"):
        graceful("discard", "mail", "--all")
    with pytest.raises(CommandError, match="--all with --json does not ask, so it needs --no-input"):
        graceful("discard", "mail", "--all", "--json")


@pytest.mark.parametrize("shop", ["alone"], indirect=True)
def test_nobody_waits_for_the_store_while_a_person_thinks(
    graceful: Console, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def think(question: str) -> str:
        lock = OwnerLock(shop.store.conf.path)
        lock.acquire("runner", patience=0)
        lock.release()
        return "1"

    monkeypatch.setattr("builtins.input", think)
    assert graceful.json("queues")
    assert "1 item discarded" in graceful("discard", "mail", "--all")


def test_what_is_pushed_while_a_runner_is_down_can_be_ordered_about_at_once(graceful: Console, shop: Shop) -> None:
    (new,) = shop.push("mail", record())
    assert graceful.json("cancel", new)["items"][0]["reply"] == "cancelled"


def test_the_states_that_can_be_discarded_are_all_but_running() -> None:
    from django.core.management.base import CommandParser

    parser = CommandParser()
    orders.DISCARD.arguments(parser)
    (action,) = (action for action in parser._actions if action.dest == "state")
    assert set(action.choices or ()) == set(State) - {State.RUNNING}
