"""Each request is a process: real gunicorn, each worker class; orders come over the node's socket, as from outside."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from django_graceful import nodes
from django_graceful.nodes import Reply
from tests.harness import PATIENCE, Site, until
from tests.processes.conftest import Census
from tests.web.servers import ASYNC, Server, read

pytestmark = pytest.mark.process


@pytest.fixture(scope="module", params=["sync", "gthread", "asgi", "uvicorn"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("web")
    found = Server(Site(root, root / "store"), root, request.param)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def same_store(server: Server, store_path: Path, settings: Any) -> None:
    """This process looks at the server's store, and what the views say begins anew."""
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "leveldb", "PATH": server.site.store}}}
    server.site.out.write_text("")


@pytest.fixture(autouse=True)
def untouched_afterwards(server: Server, same_store: None) -> Iterator[None]:
    """The same worker, with nothing left, serves on."""
    pid = server.worker_pid()
    yield
    until(lambda: rows(server) == [], f"no request: {rows(server)}")
    assert server.get("quick") == (200, b"quick")
    assert server.worker_pid() == pid


def rows(server: Server) -> list[dict[str, Any]]:
    """The requests of the server, as every node sees them."""
    return [row for node in nodes.running() if node["kind"] == "web" for row in node["processes"]]


def the_row(server: Server, patience: float = PATIENCE) -> dict[str, Any]:
    return until(lambda: next(iter(rows(server)), None), "a request", patience)  # type: ignore[no-any-return]


def views(server: Server, *both: str) -> list[str]:
    return list(both) if server.worker in ASYNC else list(both[:1])


def test_a_cancel_from_outside_ends_the_request_and_its_family(server: Server, census: Census) -> None:
    for view in views(server, "command", "command-async"):
        connection = server.open(view, name=census.name)
        census.grows_to(2)
        row = the_row(server)
        assert (row["description"], row["kind"]) == (f"GET /{view}/", "request")
        assert census.name in row["commands"][0]["command"]
        begin = time.monotonic()
        assert nodes.cancel(row["id"], by="ada") is Reply.ASKED
        response, body = read(connection)
        assert (response.status, body) == (503, b"This request was cancelled.\n")
        assert time.monotonic() - begin < 10
        assert census.alive() == []
        assert server.site.lines()[-1] == "cleaned up"


def test_python_code_is_interrupted_where_it_is(server: Server) -> None:
    """``time.sleep`` too, in the main thread of a sync worker."""
    for view in views(server, "blocks", "waits-async"):
        connection = server.open(view, how="sleep" if server.worker == "sync" else "spin")
        server.site.said("begun")
        nodes.cancel(the_row(server)["id"])
        response, _ = read(connection)
        assert response.status == 503
        assert server.site.lines()[-1] == "cleaned up"


def test_a_view_that_answers_by_itself_is_heard(server: Server) -> None:
    for view in views(server, "answers", "answers-async"):
        connection = server.open(view)
        server.site.said("begun")
        nodes.cancel(the_row(server)["id"])
        response, _ = read(connection)
        assert response.status == 418


def test_the_transaction_of_a_cancelled_request_is_rolled_back(server: Server) -> None:
    if server.worker in ASYNC:  # Django has no ATOMIC_REQUESTS for async views
        return
    connection = server.open("writes")
    server.site.said("begun")
    nodes.cancel(the_row(server)["id"])
    assert read(connection)[0].status == 503
    assert server.get("count") == (200, b"0")


def test_a_cut_response_is_seen_to_be_incomplete(server: Server, census: Census) -> None:
    connection = server.open("stream-async" if server.worker in ASYNC else "stream", name=census.name)
    response = connection.getresponse()
    assert response.read(1) == b"<"
    census.grows_to(2)
    nodes.cancel(the_row(server)["id"])
    with pytest.raises((IncompleteRead, ConnectionResetError)):
        response.read()
    connection.close()
    until(lambda: census.alive() == [], "the family to end")


def test_a_client_that_goes_away_ends_its_request(server: Server, census: Census) -> None:
    if server.worker not in ASYNC:  # a WSGI server does not look whether the client is still there
        return
    for view in ("command", "command-async", "stream-async"):
        connection = server.open(view, name=census.name)
        census.grows_to(2)
        connection.close()
        until(lambda: census.alive() == [], "the family to end")


def test_a_view_that_finishes_outlives_its_client(server: Server) -> None:
    if server.worker not in ASYNC:
        return
    for view in ("finishes", "finishes-async", "finishing", "finishing-async"):
        server.site.out.write_text("")
        connection = server.open(view)
        server.site.said("begun")
        connection.close()
        server.site.said("to its end")


def test_hundreds_of_requests_cancelled_at_random_moments_hit_nobody_else(server: Server) -> None:
    chance = random.Random(11)
    statuses: list[int] = []
    end = time.monotonic() + PATIENCE
    while (len(statuses) < 100 or statuses.count(503) < 5) and time.monotonic() < end:
        n = len(statuses)
        view = views(server, "brief", "brief-async")[n % len(views(server, "brief", "brief-async"))]
        connection = server.open(view)
        time.sleep(chance.random() * 0.01)
        for row in rows(server):
            nodes.cancel(row["id"])
        statuses.append(read(connection)[0].status)
        status, body = server.get("quick")
        assert (status, body) == (200, b"quick")
    assert set(statuses) <= {200, 503}
    assert statuses.count(503) >= 5
    assert "Traceback" not in server.log.read_text()
