"""``status``, ``queues`` and ``items``: the same with a runner and without one, as a table and as JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from django_graceful.console import items as items_module
from django_graceful.console import overview
from django_graceful.console.text import width
from django_graceful.stores import close_stores
from django_graceful.stores.leveldb.ownership import OwnerLock
from tests.commands.conftest import ERROR, STATUS, Console, Shop, record


def keys_of(documentation: str) -> set[str]:
    return set(re.findall(r"[a-z_]+", documentation))


def test_status_has_each_store_with_its_runner_and_its_items(graceful: Console, shop: Shop) -> None:
    (store,) = graceful.json("status")["stores"]
    assert (store["store"], store["path"], store["durability"]) == ("default", str(shop.store.conf.path), "os")
    assert store["runner"] == (STATUS if shop.served else None)
    waiting, running = (2, 1) if shop.served else (3, 0)
    expected = {"waiting": waiting, "running": running, "scheduled": 1, "retrying": 1, "dead": 1, "cancelled": 1}
    assert store["items"] == expected
    assert store["error"] is None
    assert store["inbox_bytes"] == 0
    assert set(store) <= keys_of(overview.STATUS_KEYS)


def test_status_for_people_says_who_runs_and_what(graceful: Console, shop: Shop) -> None:
    text = graceful("status")
    assert f"path:       {shop.store.conf.path} (os)" in text
    assert "1 dead" in text
    if shop.served:
        assert "runner:     pid 4711, running, since 20" in text
        assert "workers:    1 busy, 2 idle, 0 starting" in text
        assert f"running:    mail {'ab' * 16} and 2 more for 7.2 s (pid 4712)" in text
    else:
        assert "runner:     none runs; start one with: manage.py runqueues" in text


@pytest.mark.parametrize("shop", ["alone"], indirect=True)
def test_status_says_what_waits_in_the_inbox_before_it_takes_it_in(graceful: Console, shop: Shop) -> None:
    shop.push("mail", record(b"1" * 5000))
    text = graceful("status")
    assert re.search(r"inbox:      5\d\d\d bytes not yet taken in", text)
    assert "4 waiting" in text
    assert "inbox:" not in graceful("status")


@pytest.mark.parametrize("shop", ["alone"], indirect=True)
def test_status_of_a_store_that_somebody_else_has_says_who_and_does_not_fail(
    graceful: Console, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_graceful.stores.leveldb import store as module

    monkeypatch.setattr(module, "PATIENCE", 0)
    lock = OwnerLock(shop.store.conf.path)
    lock.acquire("runner")
    try:
        (store,) = graceful.json("status")["stores"]
        assert "owned by the runner with pid" in store["error"]
        assert store["items"] is None
        assert "error:      the store at" in graceful("status")
        with pytest.raises(CommandError, match="owned by the runner with pid"):
            graceful("queues")
    finally:
        lock.release()


def test_queues_has_declared_ones_without_items_and_marks_those_that_no_code_declares(
    graceful: Console, shop: Shop
) -> None:
    found = {entry["queue"]: entry for entry in graceful.json("queues")["queues"]}
    assert list(found) == ["mail", "old", "thumbnails"]
    assert [found[name]["declared"] for name in found] == [True, False, True]
    mail = found["mail"]
    assert (mail["waiting"], mail["running"]) == ((1, 1) if shop.served else (2, 0))
    assert (mail["scheduled"], mail["retrying"], mail["dead"], mail["cancelled"]) == (1, 1, 1, 1)
    assert mail["oldest_age"] >= 0
    assert found["thumbnails"]["oldest_age"] is None
    assert all(set(entry) == keys_of(overview.QUEUES_KEYS) & set(entry) for entry in found.values())
    lines = graceful("queues").splitlines()
    assert lines[0].split() == (
        ["QUEUE", "WAITING", "OLDEST", "SCHEDULED", "RETRYING", "RUNNING", "DEAD", "PAUSED", "DONE", "STORE"]
    )
    assert [line.split("  ")[0] for line in lines[1:4]] == ["mail", "old *", "thumbnails"]
    assert lines[4].startswith("* not declared")


def test_the_same_table_with_colours_fits_a_narrow_terminal(
    graceful: Console, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    text = graceful("items", "mail", terminal=True, force_color=True)
    assert text.startswith("\x1b[")
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert plain.count("\x1b") == 0
    table = [line for line in plain.splitlines() if not line.startswith("There")]
    assert max(map(width, table)) <= 80
    assert "…" in plain
    assert "\x1b" not in graceful("items", "mail")
    assert "…" not in graceful("items", "mail")


def test_items_lists_every_state_with_what_runs_first(graceful: Console, shop: Shop) -> None:
    found = graceful.json("items", "mail")
    states = [entry["state"] for entry in found["items"]]
    first = ["running", "waiting"] if shop.served else ["waiting", "waiting"]
    assert states == [*first, "retrying", "scheduled", "dead", "cancelled"]
    assert found["after"] is None
    for entry in found["items"]:
        assert set(entry) <= keys_of(items_module.KEYS)
        assert entry["queue"] == "mail"
        assert entry["store"] == "default"


def test_items_of_one_state(graceful: Console, shop: Shop) -> None:
    for state in ("retrying", "scheduled", "dead", "cancelled"):
        (entry,) = graceful.json("items", "mail", "--state", state)["items"]
        assert entry["id"] == shop.ids[state]
    (dead,) = graceful.json("items", "mail", "--state", "dead")["items"]
    assert dead["payload"] == {"to": "\x1b]0;owned"}
    assert dead["key"] == "key-dead"
    assert dead["attempt"] == 1
    assert dead["errors"][0]["type"] == "ValueError"
    assert dead["detail"]["reason"] == "no attempt left"


def test_items_are_paged_without_losing_one(graceful: Console, shop: Shop) -> None:
    pushed = shop.push("thumbnails", *(record() for _ in range(25)))
    seen: list[str] = []
    after: list[str] = []
    while True:
        page = graceful.json("items", "thumbnails", "--state", "waiting", "--limit", "10", *after)
        seen += [entry["id"] for entry in page["items"]]
        if page["after"] is None:
            break
        after = ["--after", page["after"]]
    assert seen == pushed
    assert "There are more: --after" in graceful("items", "thumbnails", "--state", "waiting", "--limit", "10")
    assert "There may be more" in graceful("items", "thumbnails", "--limit", "10")
    assert "more" not in graceful("items", "thumbnails", "--limit", "26")


def test_stored_texts_never_reach_the_terminal_as_they_are(graceful: Console, shop: Shop) -> None:
    for text in (graceful("items", "mail"), *(graceful("items", "--id", shop.ids[s]) for s in ("dead", "cancelled"))):
        assert "\x1b" not in text
    assert r"\x1b[31mluck" in graceful("items", "mail")


def test_one_item_in_full_has_payload_errors_and_tracebacks(graceful: Console, shop: Shop) -> None:
    (entry,) = graceful.json("items", "--id", shop.ids["dead"])["items"]
    assert entry["errors"][0]["traceback"] == ERROR["traceback"]
    text = graceful("items", "--id", shop.ids["dead"])
    for expected in (
        "state:      dead",
        "reason:     no attempt left",
        "key:        key-dead",
        r'"to": "\u001b]0;owned"',
    ):
        assert expected in text
    assert "  Traceback:\n    File x\n  \\x1b[2Jboom" in text
    assert "by:         anna" in graceful("items", "--id", shop.ids["cancelled"])


def test_a_payload_that_is_not_json_is_shown_as_text(graceful: Console, shop: Shop) -> None:
    (entry,) = graceful.json("items", "--id", shop.ids["second"])["items"]
    assert entry["payload"] is None
    assert entry["payload_text"] == "not json"
    assert "not json" in graceful("items", "--id", shop.ids["second"])
    assert "not JSON: not json" in graceful("items", "mail", "--state", "waiting")


def test_an_empty_queue_has_no_items(graceful: Console, shop: Shop) -> None:
    assert graceful("items", "thumbnails") == "No items.\n"
    assert graceful.json("items", "thumbnails") == {"items": [], "after": None}


@pytest.mark.parametrize("shop", ["alone"], indirect=True)
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["items"], "name a queue, or one item"),
        (["items", "mail", "--id", "x"], "name a queue, or one item"),
        (["items", "mial"], r"no queue is named 'mial' \(did you mean 'mail'\?\)"),
        (["items", "--id", "no such id"], "no item has the id 'no such id': it is done"),
        (["items", "mail", "--after", "x"], "--after goes with --state"),
        (["items", "mail", "--limit", "0"], "must be a whole number, 1 or more"),
        (["items", "mail", "--state", "asleep"], "invalid choice: 'asleep'"),
        (["status", "--store", "defualt"], r"no store is named 'defualt' \(did you mean 'default'\?\)"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        ([], "SUBCOMMAND"),
    ],
)
def test_a_wrong_word_is_an_error_for_people(graceful: Console, shop: Shop, args: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        graceful(*args)


def test_stores_in_memory_are_left_out_with_a_word(graceful: Console, store_path: Path, settings: Any) -> None:
    settings.GRACEFUL = {"STORES": settings.GRACEFUL["STORES"] | {"cache": {"BACKEND": "memory"}}}
    assert [store["store"] for store in graceful.json("status")["stores"]] == ["default"]
    assert "store cache lives in the memory of each process" in graceful.said
    assert graceful.json("status", "--store", "cache") == {"stores": []}
    with pytest.raises(CommandError, match="no queue is named 'mail'"):
        graceful("items", "mail", "--store", "cache")


@pytest.mark.parametrize("shop", ["alone"], indirect=True)
def test_a_queue_in_two_stores_is_shown_from_both(graceful: Console, shop: Shop, settings: Any, tmp_path: Path) -> None:
    stores = settings.GRACEFUL["STORES"] | {"second": {"BACKEND": "leveldb", "PATH": tmp_path / "second"}}
    settings.GRACEFUL = {"STORES": stores, "QUEUES": {"mail": {"STORE": "second"}}}
    found = {(entry["queue"], entry["store"]): entry["declared"] for entry in graceful.json("queues")["queues"]}
    assert found[("mail", "default")] is False
    assert found[("mail", "second")] is True
    assert {entry["store"] for entry in graceful.json("items", "mail")["items"]} == {"default"}
    assert graceful.json("items", "mail", "--store", "second")["items"] == []
    with pytest.raises(CommandError, match="with --store when several stores have the queue"):
        graceful("items", "mail", "--state", "dead", "--after", "x")
    assert graceful.json("items", "--id", shop.ids["dead"])["items"][0]["store"] == "default"
    close_stores()


def test_every_sub_command_documents_its_json(graceful: Console, capsys: pytest.CaptureFixture[str]) -> None:
    from django_graceful.management.commands.graceful import SUBCOMMANDS

    for name in SUBCOMMANDS:
        with pytest.raises(SystemExit):
            graceful(name, "--help")
        assert "With --json, one object:" in capsys.readouterr().out


def test_djangos_own_options_may_follow_the_sub_command(graceful: Console, store_path: Path) -> None:
    graceful("queues", "--no-color", "--verbosity", "2", "--settings", "tests.settings", "--traceback")
