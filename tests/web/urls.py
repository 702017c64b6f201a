"""Views that wait, run commands, stream, fail: each says what became of it, in ``GRACEFUL_TEST_OUT`` or in ``said``."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

from django_graceful import Cancelled, arun, current_process, nodes, process, processes, run
from django_graceful.middleware import finish_on_disconnect

#: What the views of this OS process have said.
said: list[str] = []


def say(line: str) -> None:
    said.append(line)
    out = os.environ.get("GRACEFUL_TEST_OUT")
    if out:
        with open(out, "a") as file:
            file.write(f"{line}\n")


def family(request: HttpRequest) -> list[str]:
    """A command that is deaf to TERM, with a child in a session of its own; both carry the name that was asked for."""
    name = request.GET["name"]
    deaf = f"trap '' TERM; while :; do sleep 0.05; done; : {name}"
    return ["sh", "-c", f'setsid sh -c "{deaf}" & {deaf}']


def quick(request: HttpRequest) -> HttpResponse:
    return HttpResponse("quick")


def who(request: HttpRequest) -> JsonResponse:
    found = current_process()
    assert found is not None
    return JsonResponse({"id": found.id, "description": found.description, "kind": found.kind})


async def who_async(request: HttpRequest) -> JsonResponse:
    return who(request)


def listed(request: HttpRequest) -> JsonResponse:
    """The other requests of this OS process."""
    return JsonResponse({"rows": [p.description for p in processes.roots() if p is not current_process()]})


def cancel_one(request: HttpRequest) -> JsonResponse:
    """Cancel what is described so, over the table of nodes, as the command line does."""
    word, reason = request.GET["word"], request.GET.get("reason", "cancel")
    for found in processes.roots():
        if word in found.description and found is not current_process():
            if reason == "cancel":
                return JsonResponse({"reply": str(nodes.cancel(found.id, by="test"))})
            found.cancel(reason)
            return JsonResponse({"reply": "asked"})
    return JsonResponse({"reply": "none"})


def command(request: HttpRequest) -> HttpResponse:
    say("begun")
    try:
        run(family(request), kill_after=0.3)
    finally:
        say("cleaned up")
    return HttpResponse("done")


async def command_async(request: HttpRequest) -> HttpResponse:
    say("begun")
    try:
        await arun(family(request), kill_after=0.3)
    finally:
        say("cleaned up")
    return HttpResponse("done")


def blocks(request: HttpRequest) -> HttpResponse:
    """In Python code; ``how`` says in which."""
    say("begun")
    try:
        if request.GET.get("how") == "sleep":
            time.sleep(60)
        else:
            spin(60)
    finally:
        say("cleaned up")
    return HttpResponse("done")


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)


async def waits_async(request: HttpRequest) -> HttpResponse:
    say("begun")
    try:
        await asyncio.sleep(60)
    finally:
        say("cleaned up")
    return HttpResponse("done")


def brief(request: HttpRequest) -> HttpResponse:
    spin(0.02)
    return HttpResponse("done")


async def brief_async(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0.02)
    return HttpResponse("done")


def answers(request: HttpRequest) -> HttpResponse:
    """A view with an answer of its own."""
    say("begun")
    try:
        spin(60)
    except Cancelled as error:
        time.sleep(0.3)  # longer than an exception may take to arrive
        return HttpResponse(f"stopped: {error.reason}", status=418)
    return HttpResponse("done")


async def answers_async(request: HttpRequest) -> HttpResponse:
    say("begun")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        return HttpResponse("stopped", status=418)
    return HttpResponse("done")


def writes(request: HttpRequest) -> HttpResponse:
    Group.objects.create(name="written")
    say("begun")
    spin(60)
    return HttpResponse("done")


def count(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Group.objects.filter(name="written").count()))


def fails(request: HttpRequest) -> HttpResponse:
    """With something that it left running."""
    found = current_process()
    assert found is not None
    threading.Thread(target=_leave_running, args=(found, family(request))).start()
    until_running(found)
    raise ValueError("the view fails")


def leaves(request: HttpRequest) -> HttpResponse:
    """The same, without an error."""
    try:
        return fails(request)
    except ValueError:
        return HttpResponse("left")


def _leave_running(found: Any, argv: list[str]) -> None:
    try:
        found.run(argv, kill_after=0.3)
    except Cancelled:
        say("left over: ended")


def until_running(found: Any) -> None:
    while not found.commands:
        time.sleep(0.001)


def raises_cancelled(request: HttpRequest) -> HttpResponse:
    with process("a part") as part:
        part.cancel()
        part.check()
    return HttpResponse("never")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def content() -> Iterator[str]:
        try:
            yield f"{current_process()}"[:1]
            say("begun")
            if "name" in request.GET:
                run(family(request), kill_after=0.3)
            else:
                spin(60 if "long" in request.GET else 0)
            yield "end"
        finally:
            say(f"closed in {getattr(current_process(), 'description', None)}")

    return StreamingHttpResponse(content())


def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    async def content() -> AsyncIterator[str]:
        try:
            yield "<"
            say("begun")
            if "name" in request.GET:
                await arun(family(request), kill_after=0.3)
            else:
                await asyncio.sleep(60 if "long" in request.GET else 0)
            yield "end"
        finally:
            say(f"closed in {getattr(current_process(), 'description', None)}")

    return StreamingHttpResponse(content())


@finish_on_disconnect
def finishes(request: HttpRequest) -> HttpResponse:
    return works(request)


@finish_on_disconnect
async def finishes_async(request: HttpRequest) -> HttpResponse:
    return await works_async(request)


@finish_on_disconnect
async def cleans_slowly(request: HttpRequest) -> HttpResponse:
    say("begun")
    try:
        await asyncio.sleep(60)
    finally:
        say("cleaning")
        await asyncio.sleep(0.3)
        say("cleaned up")
    return HttpResponse("done")


@method_decorator(finish_on_disconnect, name="get")
class Finishing(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return works(request)


@method_decorator(finish_on_disconnect, name="dispatch")
class FinishingAsync(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return await works_async(request)


def works(request: HttpRequest) -> HttpResponse:
    """Half a second of work in a command; ``fail`` to fail then, ``long`` for a minute."""
    say("begun")
    try:
        run(["sleep", "60" if "long" in request.GET else "0.5"], kill_after=0.3)
        if "fail" in request.GET:
            raise ValueError("after its client had gone")
        say("to its end")
    finally:
        say("cleaned up")
    return HttpResponse("done")


async def works_async(request: HttpRequest) -> HttpResponse:
    say("begun")
    try:
        await arun(["sleep", "60" if "long" in request.GET else "0.5"], kill_after=0.3)
        if "fail" in request.GET:
            raise ValueError("after its client had gone")
        say("to its end")
    finally:
        say("cleaned up")
    return HttpResponse("done")


VIEWS: dict[str, Any] = {
    "quick": quick,
    "who": who,
    "who-async": who_async,
    "listed": listed,
    "cancel": cancel_one,
    "command": command,
    "command-async": command_async,
    "blocks": blocks,
    "waits-async": waits_async,
    "brief": brief,
    "brief-async": brief_async,
    "answers": answers,
    "answers-async": answers_async,
    "writes": writes,
    "count": count,
    "fails": fails,
    "leaves": leaves,
    "raises-cancelled": raises_cancelled,
    "stream": stream,
    "stream-async": stream_async,
    "finishes": finishes,
    "finishes-async": finishes_async,
    "cleans-slowly": cleans_slowly,
    "finishing": Finishing.as_view(),
    "finishing-async": FinishingAsync.as_view(),
}
urlpatterns = [path(f"{name}/", view) for name, view in VIEWS.items()]
urlpatterns.append(path("who/<path:rest>", lambda request, rest: who(request)))
