"""Views that are in the way of a stop, and hooks: what they go through, they tell in the file ``said``."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from django_graceful import arun, current_process, lifecycle, run, signals

#: Ignores TERM, as does what it starts in a session of its own.
DEAF = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1:]:
    subprocess.Popen([sys.executable, "-c", os.environ["DEAF"]], start_new_session=True)
print("deaf", os.getpid(), file=open(os.environ["SAID"], "a"), flush=True)
time.sleep(60)
"""


def say(*words: object) -> None:
    with open(settings.PLACE / "said", "a") as file:
        print(*words, file=file)


@contextmanager
def told() -> Iterator[None]:
    say("begun", os.getpid())
    try:
        yield
    except BaseException as error:
        say("raised", type(error).__name__, error)
        raise
    finally:
        say("cleaned")


def deaf() -> dict[str, object]:
    env = {**os.environ, "DEAF": DEAF, "SAID": str(settings.PLACE / "said")}
    return {"argv": [sys.executable, "-c", DEAF, "and a child"], "env": env}


def quick(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{os.getpid()}")


def command(request: HttpRequest) -> HttpResponse:
    with told():
        run(**deaf())  # type: ignore[arg-type]
    return HttpResponse("done")


async def async_command(request: HttpRequest) -> HttpResponse:
    with told():
        await arun(**deaf())  # type: ignore[arg-type]
    return HttpResponse("done")


def plain(request: HttpRequest) -> HttpResponse:
    """The site's own way to run a command: it takes no notice of anything, but ends with it."""
    with told():
        code = subprocess.run(["sleep", "60"], check=False).returncode
    return HttpResponse(f"ended by {code}")


def tidies(request: HttpRequest) -> HttpResponse:
    """Has something to do when it is interrupted."""
    with told():
        try:
            time.sleep(60)
        finally:
            time.sleep(0.5)
            say("tidied")
    return HttpResponse("slept")


def sleep(request: HttpRequest) -> HttpResponse:
    with told():
        time.sleep(float(request.GET.get("s", 60)))
    return HttpResponse("slept")


async def async_sleep(request: HttpRequest) -> HttpResponse:
    with told():
        await asyncio.sleep(60)
    return HttpResponse("slept")


async def block(request: HttpRequest) -> HttpResponse:
    """What an async view must not do."""
    with told():
        subprocess.Popen(["sleep", "60"])
        time.sleep(60)
    return HttpResponse("slept")


def block_hub(request: HttpRequest) -> HttpResponse:
    """The same for gevent."""
    from gevent import monkey

    with told():
        subprocess.Popen(["sleep", "60"])
        monkey.get_original("time", "sleep")(60)
    return HttpResponse("slept")


def drains(request: HttpRequest) -> HttpResponse:
    """Leaves when it is told that the node drains."""
    process = current_process()
    assert process is not None
    with told():
        while not process.stopping:
            process.wait(0.02)
    return HttpResponse(f"{process.remaining}")


def stubborn(request: HttpRequest) -> HttpResponse:
    """Swallows everything."""
    say("begun", os.getpid())
    while True:
        try:
            time.sleep(60)
        except BaseException as error:
            say("swallowed", type(error).__name__)


def forks(request: HttpRequest) -> HttpResponse:
    """Two children by fork that are terminated: one at once, one that has a handler of its own by then."""
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    children = [fork.Process(target=time.sleep, args=(60,)), fork.Process(target=handle, args=(ready,))]
    for child in children:
        child.start()
        if child is children[1]:
            ready.wait(10)
        child.terminate()
        child.join(10)
    return HttpResponse(" ".join(f"{child.exitcode}" for child in children))


def handle(ready: Event) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    ready.set()
    time.sleep(60)


def lingers(request: HttpRequest) -> HttpResponse:
    """Leaves a thread behind that never ends."""
    threading.Thread(target=time.sleep, args=(60,), name="lingerer").start()
    return HttpResponse("there")


def pushes(request: HttpRequest) -> HttpResponse:
    from tests.site.queues import noop

    return HttpResponse(noop.push({"n": 1}))


def pushes_slow(request: HttpRequest) -> HttpResponse:
    from tests.site.queues import slow

    return HttpResponse(slow.push({"n": 1, "seconds": 60}))


if (settings.PLACE / "broken").exists():
    raise ImportError("half of a release")
if (settings.PLACE / "slow").exists():
    time.sleep(float((settings.PLACE / "slow").read_text()))

urlpatterns = [
    path("", include("django_graceful.urls")),
    path("quick", quick),
    path("command", command),
    path("async-command", async_command),
    path("plain", plain),
    path("sleep", sleep),
    path("tidies", tidies),
    path("async-sleep", async_sleep),
    path("block", block),
    path("block-hub", block_hub),
    path("drains", drains),
    path("stubborn", stubborn),
    path("forks", forks),
    path("lingers", lingers),
    path("pushes", pushes),
    path("pushes-slow", pushes_slow),
]

lifecycle.at_shutdown(lambda: say("draining", os.getpid()))
lifecycle.at_hammer(lambda: say("hammer", os.getpid()))
lifecycle.at_terminate(lambda: say("terminate", os.getpid()))


def on_draining(**kwargs: object) -> None:
    say("signal draining", os.getpid())


signals.draining.connect(on_draining)

if "GRACEFUL_TEST_PUSH_AT_IMPORT" in os.environ:
    django.setup()
    pushes(HttpRequest())

asynchronous = os.environ.get("GRACEFUL_TEST_ASGI")
application = get_asgi_application() if asynchronous else get_wsgi_application()
