"""Every call over a real socket: same arguments in, same result or error out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from django_graceful import exceptions
from django_graceful.exceptions import GracefulError, StoreError, StoreUnavailable, UnknownQueue
from django_graceful.items import Item, State
from django_graceful.stores.base import CancelCount, CancelReply, Found, Tick
from django_graceful.stores.leveldb import control, server
from django_graceful.stores.leveldb.control import ControlClient, NoRunner
from tests.control.serving import FOUND, FakeAdmin, serving


@pytest.fixture
def admin() -> FakeAdmin:
    return FakeAdmin()


@pytest.fixture
def client(tmp_path: Path, admin: FakeAdmin) -> Iterator[ControlClient]:
    with serving(tmp_path, admin):
        yield ControlClient(tmp_path)


TICK = Tick("mäil", "nightly", "", "{}", b"\x01\xff\xc3\xa4\x00", "id", 5)

CALLS: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
    ("counts", (), ()),
    ("get", ("an id",), ("an id",)),
    ("has", ("mäil", "k\u0000\ud800"), ("mäil", "k\u0000\ud800")),
    ("page", ("mail", State.DEAD), ("mail", State.DEAD, None, 100)),
    ("page", ("mail", State.RUNNING, "cursor", 7), ("mail", State.RUNNING, "cursor", 7)),
    ("retry", ("mail",), ("mail", None)),
    ("retry", ("mail", ["a", "b"]), ("mail", ["a", "b"])),
    ("discard", ("mail", State.WAITING), ("mail", State.WAITING, None)),
    ("discard", ("mail", State.CANCELLED, ("a",)), ("mail", State.CANCELLED, ["a"])),
    ("request_cancel", ("id",), ("id", "", "")),
    ("request_cancel", ("id", "anna", "töö slow"), ("id", "anna", "töö slow")),
    ("cancel_some", ("mail",), ("mail", None, "", "", None)),
    ("cancel_some", ("mail", "kü", "anna", "why"), ("mail", "kü", "anna", "why", None)),
    ("cancel_outcome", ("id",), ("id",)),
    ("pause", ("mail",), ("mail",)),
    ("resume", ("mail",), ("mail",)),
    ("result", ("id",), ("id",)),
    ("schedules", (), ()),
    ("tick", (TICK,), (TICK,)),
    ("tick", (replace(TICK, record=None),), (replace(TICK, record=None),)),
    ("check", (), ()),
    ("repair", (), ()),
]


@pytest.mark.parametrize(("name", "args", "arrived"), CALLS, ids=[f"{n}{i}" for i, (n, _, _) in enumerate(CALLS)])
def test_a_call_asks_the_owner_the_same_and_gives_its_answer(
    client: ControlClient, admin: FakeAdmin, name: str, args: Any, arrived: Any
) -> None:
    expected = getattr(FakeAdmin(), name)(*args)
    answer = getattr(client, name)(*args)
    assert answer == expected
    assert type(answer) is type(expected)
    assert admin.asked == [(name, *arrived)]
    assert [type(value) for value in admin.asked[0][1:]] == [type(value) for value in arrived]


def test_arguments_may_be_named(client: ControlClient, admin: FakeAdmin) -> None:
    assert client.request_cancel("id", reason="late", by="anna") is CancelReply.ASKED
    assert admin.asked == [("request_cancel", "id", "anna", "late")]


def test_a_cancel_of_many_is_as_many_calls_as_the_owner_needs_all_with_the_same_boundary(
    client: ControlClient, admin: FakeAdmin
) -> None:
    assert client.cancel_all("mail", "k", by="anna", reason="why") == CancelCount(6, 2)
    assert admin.asked == [("cancel_some", "mail", "k", "anna", "why", before) for before in (None, 7)]


def test_an_item_that_is_not_there_is_none(client: ControlClient, admin: FakeAdmin) -> None:
    admin.found = None
    assert client.get("x") is None


#: What a store can say. (Errors of subprocesses are raised where they run, and have more than a text.)
PUBLIC_ERRORS = [
    cls
    for cls in vars(exceptions).values()
    if isinstance(cls, type)
    and issubclass(cls, GracefulError)
    and not issubclass(cls, exceptions.ProcessFailed)
    and cls.__module__ == exceptions.__name__
]


@pytest.mark.parametrize("cls", [*PUBLIC_ERRORS, ValueError, TypeError])
def test_an_error_of_the_owner_is_raised_here_with_its_class_and_text(
    client: ControlClient, admin: FakeAdmin, cls: type[Exception]
) -> None:
    admin.error = cls("nö: /var/graceful is full")
    with pytest.raises(cls, match=r"^nö: /var/graceful is full$") as caught:
        client.counts()
    assert type(caught.value) is cls


class OwnError(UnknownQueue):
    pass


def test_an_error_that_is_not_public_goes_by_its_public_base(client: ControlClient, admin: FakeAdmin) -> None:
    admin.error = OwnError("which?")
    with pytest.raises(UnknownQueue, match="which"):
        client.counts()


def test_any_other_error_of_the_owner_is_a_store_error_that_names_it_and_is_logged_there(
    client: ControlClient, admin: FakeAdmin, caplog: pytest.LogCaptureFixture
) -> None:
    admin.error = ZeroDivisionError("by zero")
    with pytest.raises(StoreError, match="ZeroDivisionError: by zero"):
        client.counts()
    assert "Traceback" in caplog.text
    admin.error = None
    assert client.counts()


@pytest.mark.parametrize("name", ["__init__", "_note", "asked", "lease", "close", "nonsense", ""])
def test_nothing_but_the_contract_can_be_called(client: ControlClient, admin: FakeAdmin, name: str) -> None:
    with pytest.raises(ValueError, match="there is no call"):
        client.ask(name)
    assert admin.asked == []


@pytest.mark.parametrize(
    ("name", "args"),
    [("page", ("mail", "asleep")), ("retry", ("mail", "not a list")), ("has", (1, 2)), ("pause", (None,))],
)
def test_arguments_of_a_wrong_type_never_reach_the_owner(
    client: ControlClient, admin: FakeAdmin, name: str, args: Any
) -> None:
    with pytest.raises(ValueError):
        client.ask(name, *args)
    assert admin.asked == []


def test_a_missing_argument_is_a_type_error(client: ControlClient) -> None:
    with pytest.raises(TypeError, match="missing"):
        client.ask("pause")


def test_the_runner_can_add_calls(tmp_path: Path, admin: FakeAdmin) -> None:
    extra = {"runner_status": lambda deep=False: {"pid": 5, "deep": deep}}
    with serving(tmp_path, admin, extra=extra):
        client = ControlClient(tmp_path)
        assert client.ask("runner_status") == {"pid": 5, "deep": False}
        assert client.ask("runner_status", deep=True)["deep"] is True
        assert client.owner_pid() == os.getpid()


def test_the_runner_is_told_after_each_call_whatever_came_of_it(tmp_path: Path, admin: FakeAdmin) -> None:
    told: list[int] = []
    with serving(tmp_path, admin, after=lambda: told.append(len(admin.asked))):
        client = ControlClient(tmp_path)
        client.counts()
        client.page("mail", State.DEAD)
        admin.error = StoreError("no")
        with pytest.raises(StoreError):
            client.pause("mail")
    assert told == [1, 2, 3]


def test_an_added_call_can_not_replace_one_of_the_contract(tmp_path: Path, admin: FakeAdmin) -> None:
    with pytest.raises(ValueError, match="counts"):
        server.ControlServer(tmp_path, admin, extra={"counts": dict})


def test_a_path_of_any_length_works(tmp_path: Path, admin: FakeAdmin) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    with serving(deep, admin):
        assert ControlClient(deep).counts() == admin.counts()
        assert (deep / "control.sock").is_socket()


def test_one_client_serves_many_threads(client: ControlClient) -> None:
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.extend(client.counts() for _ in range(20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 160


def test_a_megabyte_comes_through_both_ways(client: ControlClient, admin: FakeAdmin) -> None:
    big = bytes(range(256)) * 8192
    admin.found = Found(Item("1", "mail", payload_json=big), State.DEAD)
    assert client.get("x") == admin.found
    client.request_cancel("x", "anna", "é" * 1_000_000)
    assert len(admin.asked[-1][3]) == 1_000_000


def test_a_request_that_is_too_long_is_refused_before_it_is_sent(client: ControlClient, admin: FakeAdmin) -> None:
    with pytest.raises(ValueError, match="too long"):
        client.request_cancel("n", "anna", "x" * control.MAX_REQUEST)
    assert admin.asked == []


def test_a_page_of_large_payloads_is_cut_to_a_handy_size(
    client: ControlClient, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_PAGE_BYTES", 2 * len(FOUND.item.payload_json) - 1)
    assert len(client.page("mail", State.DEAD).items) == 1
    assert admin.asked[-1][-1] == 1


def test_a_page_is_at_most_a_thousand_items(client: ControlClient, admin: FakeAdmin) -> None:
    client.page("mail", State.DEAD, limit=10**9)
    assert admin.asked[-1][-1] == 1000


def test_no_runner_is_said_with_the_way_to_start_one(tmp_path: Path, admin: FakeAdmin) -> None:
    with pytest.raises(NoRunner, match=f"no runner runs on the store at {tmp_path}.*manage.py runqueues"):
        ControlClient(tmp_path).counts()
    with pytest.raises(NoRunner):
        ControlClient(tmp_path / "missing").counts()
    with pytest.raises(NoRunner):
        ControlClient(tmp_path).owner_pid()
    with serving(tmp_path, admin):
        pass
    with pytest.raises(NoRunner):
        ControlClient(tmp_path).counts()


def test_the_same_client_finds_the_next_runner(tmp_path: Path, admin: FakeAdmin) -> None:
    client = ControlClient(tmp_path)
    for _ in range(2):
        with serving(tmp_path, admin):
            assert client.counts()


def test_a_server_that_can_not_bind_says_why(tmp_path: Path, admin: FakeAdmin) -> None:
    with pytest.raises(StoreUnavailable, match="no control socket can be made in"), serving(tmp_path / "no", admin):
        pass
