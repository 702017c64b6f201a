"""Each request is a process: ASGI, in this OS process, through Django's own handler."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory

from django_graceful import current_process, processes
from django_graceful.middleware import ProcessMiddleware, cancel_requests
from django_graceful.request_process import begin
from django_graceful.request_tasks import Threads
from tests.harness import PATIENCE, until
from tests.processes.conftest import Census
from tests.web import urls
from tests.web.conftest import request_process as the_request
from tests.web.conftest import said

pytestmark = [pytest.mark.usefixtures("web", "none_left"), pytest.mark.django_db]

#: Views that wait in a thread and in the loop.
WAITING = ["/blocks/", "/waits-async/"]


class SyncOnly:
    """A middleware of a site that knows no async."""

    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)


@pytest.fixture(params=["async all through", "around a sync middleware"])
def chain(request: pytest.FixtureRequest, web: Any) -> None:
    if request.param != "async all through":
        web.MIDDLEWARE = [*web.MIDDLEWARE, f"{__name__}.SyncOnly"]


class Visit:
    """One request of a client that may go away."""

    def __init__(self, address: str) -> None:
        path, _, query = address.partition("?")
        scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
        self._talk = ApplicationCommunicator(ASGIHandler(), scope)

    async def begin(self, word: str = "begun") -> None:
        await self._talk.send_input({"type": "http.request", "body": b"", "more_body": False})
        await asyncio.to_thread(said, word)

    async def leave(self) -> None:
        await self._talk.send_input({"type": "http.disconnect"})

    async def answer(self) -> tuple[int, bytes]:
        start = await self._talk.receive_output(PATIENCE)
        body = await self._talk.receive_output(PATIENCE)
        await self.end()
        return start["status"], body["body"]

    async def piece(self) -> dict[str, Any]:
        return await self._talk.receive_output(PATIENCE)  # type: ignore[no-any-return]

    async def end(self) -> None:
        await self._talk.wait(PATIENCE)


def drive(work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await asyncio.wait_for(work, PATIENCE)

    return asyncio.run(main())


@pytest.mark.parametrize("address", ["/who/", "/who-async/"])
def test_the_view_is_in_a_process_of_its_request(chain: None, address: str) -> None:
    async def main() -> Any:
        return (await AsyncClient().get(f"{address}?secret=1")).json()

    assert drive(main())["description"] == f"GET {address}"
    assert current_process() is None


@pytest.mark.parametrize("address", WAITING)
def test_a_cancelled_request_is_answered(chain: None, address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> tuple[int, bytes]:
        visit = Visit(address)
        await visit.begin()
        cancel_requests("shutdown")
        return await visit.answer()

    assert drive(main()) == (503, b"The server is restarting. Please try again.\n")
    assert urls.said == ["begun", "cleaned up"]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("address", ["/answers/", "/answers-async/"])
def test_a_view_that_answers_by_itself_is_heard(address: str) -> None:
    async def main() -> tuple[int, bytes]:
        visit = Visit(address)
        await visit.begin()
        cancel_requests("cancel")
        return await visit.answer()

    status, body = drive(main())
    assert (status, body[:7]) == (418, b"stopped")


@pytest.mark.parametrize("address", ["/command/", "/command-async/"])
def test_a_cancel_ends_the_command_and_its_family(chain: None, address: str, census: Census) -> None:
    async def main() -> tuple[int, bytes]:
        visit = Visit(f"{address}?name={census.name}")
        await visit.begin()
        await asyncio.to_thread(census.grows_to, 2)
        await asyncio.to_thread(cancel_requests, "cancel")
        return await visit.answer()

    assert drive(main())[0] == 503
    assert census.alive() == []
    assert urls.said == ["begun", "cleaned up"]


@pytest.mark.parametrize("address", ["/command/", "/command-async/"])
def test_the_end_of_the_connection_ends_the_command_and_its_family(chain: None, address: str, census: Census) -> None:
    async def main() -> processes.Process:
        visit = Visit(f"{address}?name={census.name}")
        await visit.begin()
        await asyncio.to_thread(census.grows_to, 2)
        found = the_request()
        await visit.leave()
        await visit.end()
        return found

    found = drive(main())
    assert census.alive() == []
    assert urls.said == ["begun", "cleaned up"]
    assert found.stop is not None
    assert (found.stop.reason, found.stop.note) == ("cancel", "the client has disconnected")


@pytest.mark.parametrize("address", WAITING)
def test_the_end_of_the_connection_interrupts_the_view(chain: None, address: str) -> None:
    async def main() -> None:
        visit = Visit(address)
        await visit.begin()
        await visit.leave()
        await visit.end()

    begin = time.monotonic()
    drive(main())
    assert time.monotonic() - begin < 20
    assert urls.said == ["begun", "cleaned up"]


FINISHING = ["/finishes/", "/finishes-async/", "/finishing/", "/finishing-async/"]


@pytest.mark.parametrize("address", FINISHING)
def test_a_view_that_finishes_runs_to_its_end_when_the_client_is_gone(chain: None, address: str) -> None:
    async def main() -> None:
        visit = Visit(address)
        await visit.begin()
        found = the_request()
        await visit.leave()
        await visit.end()
        assert found.stop is None

    drive(main())
    assert urls.said == ["begun", "to its end", "cleaned up"]


@pytest.mark.parametrize("address", FINISHING)
@pytest.mark.parametrize("client", ["stays", "leaves"])
def test_a_view_that_finishes_is_cancelled_like_any_other(address: str, client: str) -> None:
    async def main() -> int:
        visit = Visit(f"{address}?long=1")
        await visit.begin()
        if client == "leaves":
            await visit.leave()
            await asyncio.sleep(0.05)
        cancel_requests("shutdown")
        if client == "leaves":
            await visit.end()
            return 0
        return (await visit.answer())[0]

    assert drive(main()) == (503 if client == "stays" else 0)
    assert urls.said == ["begun", "cleaned up"]


def test_the_cleanup_of_a_view_that_finishes_is_not_disturbed_when_its_client_goes_away_as_well() -> None:
    async def main() -> None:
        visit = Visit("/cleans-slowly/")
        await visit.begin()
        cancel_requests()
        await asyncio.to_thread(said, "cleaning")
        await visit.leave()
        await visit.end()

    drive(main())
    assert urls.said == ["begun", "cleaning", "cleaned up"]


@pytest.mark.parametrize("address", FINISHING)
def test_what_a_view_raises_after_its_client_has_gone_is_logged(address: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        visit = Visit(f"{address}?fail=1")
        await visit.begin()
        await visit.leave()
        await visit.end()

    drive(main())
    assert "after its client had gone" in caplog.text
    assert urls.said == ["begun", "cleaned up"]


@pytest.mark.parametrize("address", FINISHING[:2])
def test_outside_of_a_request_the_decorator_changes_nothing(address: str) -> None:
    view: Any = urls.VIEWS[address.strip("/")]
    found = view(AsyncRequestFactory().get("/"))
    response: Any = drive(found) if asyncio.iscoroutine(found) else found
    assert response.content == b"done"


def test_an_error_of_an_async_view_is_djangos() -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        raise ValueError("boom")

    async def main() -> None:
        await ProcessMiddleware(view)(AsyncRequestFactory().get("/"))  # type: ignore[misc]

    with pytest.raises(ValueError, match="boom"):
        drive(main())


def test_a_view_that_raises_cancelled_error_by_itself_is_nobodys_cancel() -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        found.append(current_process())
        raise asyncio.CancelledError

    found: list[Any] = []

    async def main() -> None:
        await ProcessMiddleware(view)(AsyncRequestFactory().get("/"))  # type: ignore[misc]

    with pytest.raises(asyncio.CancelledError):
        drive(main())
    assert found[0].stop is None


def test_the_task_of_a_cancelled_request_is_untouched_afterwards() -> None:
    """One task serves hundreds of requests, cancelled at random moments."""
    stop = threading.Event()

    async def view(request: HttpRequest) -> HttpResponse:
        for _ in range(5):
            await asyncio.sleep(0)
        return HttpResponse("done")

    async def main() -> dict[int, int]:
        answers = {200: 0, 503: 0}
        middleware = ProcessMiddleware(view)
        while sum(answers.values()) < 300 or min(answers.values()) < 5:
            response: Any = await middleware(AsyncRequestFactory().get("/"))  # type: ignore[misc]
            answers[response.status_code] += 1
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return answers

    def storm() -> None:
        while not stop.is_set():
            cancel_requests()
            time.sleep(0.0005)

    storming = threading.Thread(target=storm)
    storming.start()
    try:
        answers = drive(main())
    finally:
        stop.set()
        storming.join(PATIENCE)
    assert min(answers.values()) >= 5


def test_requests_side_by_side_are_cancelled_one_by_one() -> None:
    async def main() -> list[int]:
        visits = [Visit("/waits-async/") for _ in range(3)]
        for visit in visits:
            await visit.begin()
        await asyncio.to_thread(until, lambda: urls.said.count("begun") == 3, "three")
        answers = []
        for visit, found in zip(visits, processes.roots(), strict=True):
            assert urls.said.count("cleaned up") == len(answers)
            found.cancel()
            answers.append((await visit.answer())[0])
        return answers

    assert drive(main()) == [503, 503, 503]


def test_a_client_that_goes_away_while_its_request_is_cancelled_gets_no_answer_and_nothing_stays() -> None:
    async def main() -> None:
        visit = Visit("/waits-async/")
        await visit.begin()
        cancel_requests()
        await visit.leave()
        await visit.end()

    drive(main())
    assert urls.said == ["begun", "cleaned up"]


# Streaming


def test_a_streaming_response_keeps_its_process_until_it_is_read() -> None:
    async def main() -> list[bytes]:
        visit = Visit("/stream-async/")
        await visit.begin()
        pieces = [await visit.piece()]
        while "more_body" in (piece := await visit.piece()):
            pieces.append(piece)
        await visit.end()
        return [piece["body"] for piece in pieces[1:]]

    assert drive(main()) == [b"<", b"end"]
    assert urls.said == ["begun", "closed in GET /stream-async/"]


@pytest.mark.parametrize("query", ["long", "name"])
@pytest.mark.parametrize("how", ["cancel", "disconnect"])
def test_what_makes_the_next_piece_is_ended_and_the_response_stays_incomplete(
    census: Census, query: str, how: str
) -> None:
    async def main() -> None:
        visit = Visit(f"/stream-async/?{query}={census.name}")
        await visit.begin()
        assert (await visit.piece())["status"] == 200
        assert (await visit.piece())["body"] == b"<"
        if query == "name":
            await asyncio.to_thread(census.grows_to, 2)
        if how == "cancel":
            cancel_requests()
        else:
            await visit.leave()
        await visit.end()
        assert await visit._talk.receive_nothing()

    drive(main())
    assert census.alive() == []
    assert urls.said == ["begun", "closed in GET /stream-async/"]


def test_sync_code_that_only_closes_a_response_is_not_interrupted() -> None:
    """Between two pieces nothing works for the request: what the server does then, it does to its end."""
    begun = threading.Event()

    def closing() -> str:
        begun.set()
        urls.spin(0.3)
        return "closed"

    async def main() -> str:
        async with ThreadSensitiveContext():
            process = begin(AsyncRequestFactory().get("/"))
            threads = Threads(process)
            closed = asyncio.create_task(sync_to_async(closing)())
            await asyncio.to_thread(begun.wait, PATIENCE)
            process.cancel()
            try:
                return await closed
            finally:
                threads.restore()
                process.end()

    assert drive(main()) == "closed"


def test_a_streaming_response_whose_client_does_not_read_ends_with_its_connection() -> None:
    async def main() -> None:
        visit = Visit("/stream-async/?long=1")
        await visit.begin()
        await visit.leave()
        await visit.end()

    drive(main())
    assert processes.roots() == ()
