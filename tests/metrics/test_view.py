"""The URL: for whom it opens, and that it tells what store and runner know, without any of them too, and in time."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.test.utils import override_settings

from django_graceful.conf import get_conf, read
from django_graceful.items import encode_record, new_id
from django_graceful.metrics import gathering
from django_graceful.stores import get_store
from django_graceful.stores.leveldb.wake import short_path
from tests.control.serving import serving
from tests.metrics.conftest import Samples, runner, value
from tests.metrics.conftest import read as samples_of

pytestmark = pytest.mark.usefixtures("declared")

Token = Callable[..., None]


@pytest.fixture
def token(store_path: Path, settings: Any) -> Iterator[Token]:
    """Sets the token; it is ``None``, for everybody, until then."""

    def set_token(token: str | None) -> None:
        settings.GRACEFUL = settings.GRACEFUL | {"METRICS": {"TOKEN": token}}

    with override_settings(ROOT_URLCONF="django_graceful.metrics.urls", ALLOWED_HOSTS=["*"]):
        set_token(None)
        yield set_token


def scrape() -> Samples:
    response = Client().get("/metrics")
    assert response.status_code == 200
    return samples_of(response.content.decode())


def push(queue: str, number: int) -> None:
    records = [encode_record(new_id(), b"1", pushed_at=time.time_ns() // 1000 - 5_000_000) for _ in range(number)]
    get_store().push(queue, records)


def test_without_a_token_in_the_settings_nobody_may_read(store_path: Path) -> None:
    assert get_conf().metrics.token == ""
    with override_settings(ROOT_URLCONF="django_graceful.metrics.urls"):
        response = Client().get("/metrics", headers={"Authorization": "Bearer "})
    assert response.status_code == 403
    assert "GRACEFUL['METRICS']['TOKEN']" in response.content.decode()


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer s3cre", "Bearer é"]
)
def test_who_has_not_the_token_is_asked_for_it(token: Token, sent: str) -> None:
    token("s3cret")
    response = Client().get("/metrics", headers={"Authorization": sent} if sent else {})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert b"graceful_" not in response.content


@pytest.mark.parametrize("sent", ["Bearer s3cret", "bearer s3cret"])
def test_who_has_it_reads_and_nobody_keeps_the_answer(token: Token, sent: str) -> None:
    token("s3cret")
    response = Client().get("/metrics/", headers={"Authorization": sent})
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=")
    assert "no-store" in response["Cache-Control"]
    assert b"graceful_up" in response.content


def test_only_reading_is_allowed_and_openmetrics_is_spoken(token: Token) -> None:
    assert Client().post("/metrics").status_code == 405
    assert Client().head("/metrics").status_code == 200
    response = Client().get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response["Content-Type"].startswith("application/openmetrics-text")
    assert response.content.endswith(b"# EOF\n")


@pytest.mark.parametrize("wrong", [5, ["x"], b"x", "two words", "é", "line\n"])
def test_a_token_that_no_header_can_carry_is_a_fault(wrong: Any) -> None:
    conf, [fault] = read({"METRICS": {"TOKEN": wrong}}, "/site")
    assert fault.where == "GRACEFUL['METRICS']['TOKEN']"
    assert conf.metrics.token == ""


def test_other_settings_of_metrics_are_faults() -> None:
    assert [fault.where for fault in read({"METRICS": 5}, "/site")[1]] == ["GRACEFUL['METRICS']"]
    [fault] = read({"METRICS": {"TOKENS": "x"}}, "/site")[1]
    assert "TOKEN" in fault.what + fault.hint


def test_with_a_runner_everything_is_told(token: Token, store_path: Path) -> None:
    owner = get_store().own()
    push("mail", 3)
    owner.prepare()
    with serving(store_path, owner, extra={"describe": runner}):
        found = scrape()
    owner.close()
    assert value(found, "up", store="default") == 1
    assert value(found, "items", queue="mail", state="waiting") == 3
    assert value(found, "items", queue="thumbnails", state="waiting") == 0, "declared, never pushed to"
    assert 5 <= (value(found, "oldest_age_seconds", queue="mail") or 0) < 60
    assert value(found, "outcomes_total", queue="mail", outcome="done", host="one", pid="4711") == 2
    assert value(found, "nodes", kind="runner") == 1


def test_without_a_runner_it_tells_what_waits_in_the_store_and_in_the_inbox(token: Token, store_path: Path) -> None:
    push("mail", 3)
    owner = get_store().own()
    owner.prepare()
    owner.close()
    push("mail", 4)
    for _ in range(2):
        found = scrape()
        assert value(found, "items", queue="mail") == 7
        assert value(found, "items", queue="thumbnails") == 0
        assert value(found, "up", store="default") == 0
        assert value(found, "nodes", kind="runner") == 0
        assert (value(found, "backlog_bytes", store="default") or 0) > 4 * 40
    again = get_store().own()  # nobody has opened it meanwhile
    again.close()


def test_before_anything_was_ever_pushed_nothing_is_made(token: Token, store_path: Path) -> None:
    assert value(scrape(), "items", queue="mail") == 0
    assert not store_path.exists()


def test_a_runner_that_does_not_answer_holds_a_scrape_up_for_less_than_a_second(token: Token, store_path: Path) -> None:
    push("mail", 2)
    with socket.socket(socket.AF_UNIX) as stopped, short_path(store_path) as short:
        stopped.bind(str(short / "control.sock"))
        stopped.listen()
        begin = time.monotonic()
        found = scrape()
        took = time.monotonic() - begin
    assert value(found, "silent_nodes", store="default") == 1
    assert value(found, "up", store="default") == 0
    assert value(found, "items", queue="mail") == 2
    assert took < 1


def test_who_is_late_or_fails_is_left_out_and_the_others_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    going_on = threading.Event()

    def late() -> str:
        going_on.wait(30)
        return "late"

    def broken() -> str:
        raise RuntimeError("no luck")

    def refused() -> str:
        raise OSError("no file")

    questions = {"late": late, "broken": broken, "refused": refused, "here": lambda: "here"}
    begin = time.monotonic()
    assert gathering.ask_all(questions, 0.2) == {"here": "here"}
    assert time.monotonic() - begin < 2
    going_on.set()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["broken could not be asked"]


def test_stores_in_memory_are_left_out(settings: Any) -> None:
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "memory"}}}
    assert gathering.look() == []


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("exposition", "families", "views", "urls"):
        monkeypatch.delitem(sys.modules, f"django_graceful.metrics.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'django-graceful-queues\[metrics\]'"):
        __import__("django_graceful.metrics.urls")
