"""Each request is a process: WSGI, in this OS process."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from django_graceful import Cancelled, current_process, nodes, process, processes, request_process
from django_graceful.middleware import ProcessMiddleware, cancel_requests
from tests.harness import PATIENCE, until
from tests.processes.conftest import Aside, Census
from tests.web import urls
from tests.web.conftest import request_process as the_request
from tests.web.conftest import said

pytestmark = pytest.mark.usefixtures("web", "none_left")


def get(address: str, **options: Any) -> Any:
    return Client(**options).get(address)


def test_the_view_is_in_a_process_of_its_request() -> None:
    assert get("/who/").json()["description"] == "GET /who/"
    assert get("/who/").json()["kind"] == "request"
    assert get("/who/").json()["id"] != get("/who/").json()["id"]
    assert current_process() is None


def test_an_async_view_is_in_it_too() -> None:
    assert get("/who-async/").json()["description"] == "GET /who-async/"


def test_the_query_string_is_never_shown() -> None:
    assert get("/who/?token=secret").json()["description"] == "GET /who/"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/who/" + "x" * 195, "GET /who/" + "x" * 195),
        ("/who/" + "x" * 196, "GET /who/" + "x" * 194 + "…"),
        ("/who/a%0Ab%1B%5B31m", "GET /who/a\ufffdb\ufffd[31m"),
        ("/who/%E2%80%AEevil", "GET /who/\ufffdevil"),
        ("/who/Gr%C3%BC%C3%9Fe", "GET /who/Grüße"),
    ],
)
def test_a_path_is_cut_and_cleaned(path: str, shown: str) -> None:
    response: Any = ProcessMiddleware(urls.who)(RequestFactory().get(path))
    assert json.loads(response.content)["description"] == shown


def test_a_strange_method_is_cut() -> None:
    shown: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        shown.append(current_process().description)  # type: ignore[union-attr]
        return HttpResponse()

    ProcessMiddleware(view)(RequestFactory().generic("X" * 50, "/"))
    assert shown == ["X" * 20 + " /"]


def test_it_is_listed_while_it_runs_and_not_after() -> None:
    running = Aside(get, "/blocks/")
    said("begun")
    (row,) = nodes.table.describe("web")["processes"]
    assert (row["description"], row["kind"], row["parent"], row["system"]) == ("GET /blocks/", "request", None, False)
    the_request().cancel()
    running.end()
    assert nodes.table.describe("web")["processes"] == []


def test_the_node_is_visible_as_web(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[str] = []
    monkeypatch.setattr(nodes, "join", joined.append)
    get("/quick/")
    assert joined == ["web"]


def test_a_node_that_can_not_be_made_visible_says_so_once_and_breaks_no_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def join(kind: str) -> None:
        raise OSError("no room for a socket")

    monkeypatch.setattr(nodes, "join", join)
    monkeypatch.setattr(request_process, "_mute", 0)
    for _ in range(3):
        assert get("/quick/").content == b"quick"
    assert caplog.text.count("are not listed") == 1


@pytest.mark.parametrize("broken", [{"STORES": 5}, {"STORES": {"default": {"BACKEND": "leveldb", "PATH": "/proc/no"}}}])
def test_a_store_that_can_not_be_used_breaks_no_request(settings: Any, broken: dict[str, Any]) -> None:
    settings.GRACEFUL = broken
    assert get("/quick/").content == b"quick"
    settings.GRACEFUL = {}


@pytest.mark.parametrize("address", ["/blocks/", "/waits-async/", "/blocks/?how=spin"])
def test_a_cancelled_request_is_answered(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    running = Aside(get, address)
    said("begun")
    the_request().cancel(by="ada", note="too slow")
    assert running.end() is None
    answer = running.result
    assert (answer.status_code, answer.content) == (503, b"This request was cancelled.\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Retry-After" not in answer.headers
    assert urls.said == ["begun", "cleaned up"]
    assert "was ended: cancel, by ada: too slow" in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_the_hammer_cancels_all_requests_and_says_when_to_come_again() -> None:
    running = [Aside(get, "/blocks/") for _ in range(3)]
    until(lambda: urls.said.count("begun") == 3, "three requests")
    with process("no request") as other:
        assert cancel_requests("shutdown") == 3
        assert other.stop is None
    for request in running:
        assert request.end() is None
        assert (request.result.status_code, request.result.headers["Retry-After"]) == (503, "5")
        assert b"restarting" in request.result.content
    assert cancel_requests("shutdown") == 0


def test_a_view_that_answers_by_itself_is_heard() -> None:
    running = Aside(get, "/answers/")
    said("begun")
    the_request().cancel("shutdown")
    assert running.end() is None
    assert (running.result.status_code, running.result.content) == (418, b"stopped: shutdown")


def test_a_cancel_ends_the_command_and_its_family(census: Census) -> None:
    running = Aside(get, f"/command/?name={census.name}")
    census.grows_to(2)
    (row,) = nodes.table.describe("web")["processes"]
    assert len(row["commands"]) == 1
    the_request().cancel()
    assert running.end() is None
    assert running.result.status_code == 503
    assert census.alive() == []
    assert urls.said == ["begun", "cleaned up"]


@pytest.mark.parametrize("address", ["/fails/", "/leaves/"])
def test_what_a_view_left_running_ends_with_its_request(census: Census, address: str) -> None:
    status = get(f"{address}?name={census.name}", raise_request_exception=False).status_code
    assert status == (500 if address == "/fails/" else 200)
    said("left over: ended")
    assert census.alive() == []


def test_an_error_of_the_view_is_djangos() -> None:
    with pytest.raises(ValueError, match="boom"):
        ProcessMiddleware(raising(ValueError("boom")))(RequestFactory().get("/"))
    with pytest.raises(KeyboardInterrupt):
        ProcessMiddleware(raising(KeyboardInterrupt()))(RequestFactory().get("/"))


def raising(error: BaseException) -> Callable[[HttpRequest], HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        raise error

    return view


def test_cancelled_from_a_part_of_the_view_never_gets_to_the_server() -> None:
    assert get("/raises-cancelled/").status_code == 503


def test_a_request_within_stopped_work_stops_that_work_too() -> None:
    with process("around") as around:
        around.cancel("timeout")
        with pytest.raises(Cancelled, match="timeout"):
            get("/quick/")
        assert around.children == ()


def test_a_request_within_running_work_is_below_it() -> None:
    with process("around") as around:
        middleware = ProcessMiddleware(lambda request: HttpResponse(str(current_process().parent is around)))  # type: ignore[union-attr]
        assert middleware(RequestFactory().get("/")).content == b"True"  # type: ignore[union-attr]
        assert current_process() is around


def test_a_view_that_cancels_itself_is_stopped_at_its_next_check() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        found = current_process()
        assert found is not None
        found.cancel()
        urls.said.append("still here")
        found.check()
        return HttpResponse("never")

    assert ProcessMiddleware(view)(RequestFactory().get("/")).status_code == 503  # type: ignore[union-attr]
    assert urls.said == ["still here"]


def test_the_thread_of_a_cancelled_request_is_free_for_the_next_ones(restless: None) -> None:
    """A server's thread: hundreds of requests, cancelled at random moments; what comes between them is never hit."""
    wrong: list[str] = []
    answers = {200: 0, 503: 0}
    stop, chance = threading.Event(), random.Random(3)

    def view(request: HttpRequest) -> HttpResponse:
        for _ in range(3000):
            pass
        return HttpResponse("done")

    def serve() -> None:
        middleware = ProcessMiddleware(view)
        try:
            while sum(answers.values()) < 400 or min(answers.values()) < 20:
                response: Any = middleware(RequestFactory().get("/"))
                answers[response.status_code] += 1
                for _ in range(300):
                    pass
        except BaseException as error:
            wrong.append(repr(error))
        stop.set()

    server = threading.Thread(target=serve)
    server.start()
    while not stop.wait(chance.random() * 0.002):
        cancel_requests("cancel")
    server.join(PATIENCE)
    assert wrong == []
    assert min(answers.values()) >= 20


# Streaming


def test_a_streaming_response_keeps_its_process_until_it_is_read() -> None:
    response = get("/stream/")
    assert the_request().description == "GET /stream/"
    assert current_process() is None
    assert b"".join(response.streaming_content) == b"<end"
    assert processes.roots() == ()
    assert current_process() is None
    assert "closed in GET /stream/" in urls.said


@pytest.mark.django_db
def test_a_streaming_response_that_is_closed_early_ends_its_process() -> None:
    response = get("/stream/")
    assert next(iter(response.streaming_content)) == b"<"
    response.close()
    assert processes.roots() == ()
    assert urls.said == ["closed in GET /stream/"]


@pytest.mark.django_db
@pytest.mark.parametrize("read", [True, False])
def test_a_response_that_is_closed_within_other_work_leaves_that_alone(read: bool) -> None:
    response = get("/stream/")
    if read:
        b"".join(response.streaming_content)
    with process("other work") as other:
        response.close()
        assert current_process() is other
        assert processes.roots() == (other,)


def test_a_cancel_between_two_pieces_cuts_the_response() -> None:
    content = iter(get("/stream/").streaming_content)
    next(content)
    the_request().cancel()
    with pytest.raises(ConnectionResetError, match="was cancelled in the middle"):
        next(content)
    assert processes.roots() == ()


@pytest.mark.parametrize("query", ["long", "name"])
def test_a_cancel_ends_what_makes_the_next_piece(census: Census, query: str) -> None:
    response = get(f"/stream/?{query}={census.name}")
    reading = Aside(lambda: b"".join(response.streaming_content))
    said("begun")
    if query == "name":
        census.grows_to(2)
    the_request().cancel()
    assert isinstance(reading.end(), ConnectionResetError)
    assert census.alive() == []
    assert urls.said == ["begun", "closed in GET /stream/"]


def test_async_content_is_cut_as_well() -> None:
    def read() -> bytes:
        with pytest.warns(Warning, match="must consume asynchronous iterators"):
            return b"".join(get("/stream-async/?long=1"))

    reading = Aside(read)
    said("begun")
    the_request().cancel()
    assert isinstance(reading.end(), ConnectionResetError)


@pytest.mark.django_db
def test_a_file_is_left_to_the_server(tmp_path: Path) -> None:
    from django.http import FileResponse

    (tmp_path / "file").write_bytes(b"content")
    opened = (tmp_path / "file").open("rb")
    response: Any = ProcessMiddleware(lambda request: FileResponse(opened))(RequestFactory().get("/"))
    assert response.file_to_stream is opened
    assert the_request()
    assert b"".join(response.streaming_content) == b"content"
    response.close()
    assert opened.closed
    assert processes.roots() == ()


def test_an_error_in_the_content_ends_the_process() -> None:
    def content() -> Iterator[bytes]:
        yield b"a"
        raise ValueError("boom")

    from django.http import StreamingHttpResponse

    response: Any = ProcessMiddleware(lambda request: StreamingHttpResponse(content()))(RequestFactory().get("/"))
    with pytest.raises(ValueError, match="boom"):
        b"".join(response.streaming_content)
    assert processes.roots() == ()


# The database


@pytest.mark.django_db(transaction=True)
def test_the_transaction_of_a_cancelled_request_is_rolled_back(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    def body() -> None:
        said("begun")
        the_request().cancel()

    canceller = threading.Thread(target=body)
    canceller.start()
    assert get("/writes/").status_code == 503
    canceller.join(PATIENCE)
    assert not Group.objects.exists()
    assert get("/count/").content == b"0"


@pytest.mark.parametrize("address", ["/answers/", "/quick/"])
def test_the_connections_of_a_thread_that_was_interrupted_are_closed(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Also when the view has an answer of its own; and only then."""
    closed: list[int] = []
    monkeypatch.setattr(request_process, "close_connections", lambda: closed.append(threading.get_ident()))
    running = Aside(get, address)
    if address == "/answers/":
        said("begun")
        the_request().cancel()
    thread = running._thread.ident
    assert running.end() is None
    assert closed == ([thread] if address == "/answers/" else [])


@pytest.mark.django_db(transaction=True)
def test_a_connection_whose_transaction_was_left_open_is_not_used_again() -> None:
    found = connection._connections["default"]  # type: ignore[attr-defined]
    connection.in_atomic_block = True
    try:
        request_process.close_connections()
        assert connection._connections["default"] is not found  # type: ignore[attr-defined]
        assert connection.in_atomic_block is False
    finally:
        found.in_atomic_block = False
        connection._connections["default"] = found  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_a_connection_that_a_test_holds_in_a_transaction_stays() -> None:
    Group.objects.create(name="kept")
    request_process.close_connections()
    assert Group.objects.filter(name="kept").exists()


def test_a_wrong_setting_is_djangos_error(settings: Any) -> None:
    settings.MIDDLEWARE = ["django_graceful.middleware.NoSuchMiddleware"]
    with pytest.raises((ImproperlyConfigured, ImportError)):
        get("/quick/")
