"""Who is killed leaves nothing behind, and forks are nobody's business: real gunicorns."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psutil
import pytest

from tests.gunicorn.conftest import Serve
from tests.gunicorn.test_stops import Together, started
from tests.harness import until

pytestmark = pytest.mark.process

Everywhere = Callable[..., None]


@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_a_killed_worker_leaves_nothing_and_another_takes_its_place(serve: Serve, preload: tuple[str, ...]) -> None:
    server = serve("gthread", "--workers", "2", *preload)
    server.said("hook post_worker_init", 2)
    answer = started(server)
    victim = int(server.lines("begun")[0].split()[-1])
    os.kill(victim, signal.SIGKILL)
    assert answer().status == 0
    server.said(f"hook child_exit {victim}")
    until(lambda: not server.commands(), "the commands to be gone", 2)
    server.said("hook post_worker_init", 3)
    assert server.get("/quick").status == 200
    server.send(signal.SIGTERM)
    assert server.end() == 0
    server.gone()


def test_only_what_the_killed_worker_has_started_ends(serve: Serve) -> None:
    server = serve("sync", "--workers", "2")  # a busy one takes no other request
    server.said("hook post_worker_init", 2)
    asked = [(started(server), int(server.lines("begun")[-1].split()[-1]))]
    while len({worker for _, worker in asked}) < 2:  # a request in each worker
        asked.append((started(server), int(server.lines("begun")[-1].split()[-1])))
    victim = asked[0][1]
    spared = set(server.lines("deaf"))
    os.kill(victim, signal.SIGKILL)
    server.said(f"hook child_exit {victim}")
    others = 2 * sum(worker != victim for _, worker in asked)
    until(lambda: len(server.commands()) <= others, "those of the victim to be gone", 5)
    alive = {f"deaf {process.pid}" for process in server.commands()}
    assert len(alive) == others
    assert alive < spared
    server.send(signal.SIGINT)
    server.end()
    server.gone()


def test_without_its_arbiter_a_worker_stops_as_if_it_were_asked_to(serve: Serve, everywhere: Everywhere) -> None:
    """sync sees it after its request otherwise, and uvicorn never."""

    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, graceful=4, GRACEFUL_TEST_KILL_AFTER="0.3")
        answer, worker = started(server), server.worker()
        together()
        server.send(signal.SIGKILL)
        until(lambda: worker not in [process.pid for process in server.alive()], "the worker to be gone")
        server.gone()
        assert f"terminate {worker}" in server.lines(), server
        assert answer().status == 503, server

    everywhere(scenario)


def test_everything_killed_at_the_graceful_timeout_is_swept(serve: Serve) -> None:
    """The worker hangs in a way that only SIGKILL ends: it is stopped."""
    server = serve("sync", graceful=1)
    answer, worker = started(server), server.worker()
    os.kill(worker, signal.SIGSTOP)
    server.send(signal.SIGTERM)
    assert server.end() == 0
    server.gone()
    assert answer().status == 0
    assert server.lines()[-1] == "hook on_exit"


def test_a_child_by_fork_keeps_its_signals_for_itself(serve: Serve, everywhere: Everywhere) -> None:
    def scenario(kind: str, together: Together) -> None:
        server = serve(kind)
        assert server.get("/forks").text == f"{-signal.SIGTERM} 7", "terminate() reaches it"
        together()
        assert server.get("/quick").status == 200
        assert not server.lines("draining"), "its parent has not heard that"
        server.send(signal.SIGTERM)
        assert server.end() == 0

    everywhere(scenario)


def test_a_thread_that_never_ends_holds_nobody(serve: Serve, everywhere: Everywhere) -> None:
    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, graceful=3)
        assert server.get("/lingers").status == 200
        worker = server.worker()
        together()
        server.send(signal.SIGHUP)
        server.said(f"hook child_exit {worker}")
        assert f"terminate {worker}" in server.lines()
        server.logs("ends before these have ended: thread lingerer")
        server.send(signal.SIGTERM)
        assert server.end() == 0

    everywhere(scenario, "sync", "gthread", "asgi")


def test_a_store_that_was_used_before_the_fork_is_not_shared(serve: Serve) -> None:
    server = serve("gthread", "--preload", "--workers", "2", GRACEFUL_TEST_PUSH_AT_IMPORT="yes")
    server.said("hook post_worker_init", 2)
    ids = {server.get("/pushes").text for _ in range(20)}
    assert len(ids) == 20
    server.send(signal.SIGTERM)
    assert server.end() == 0
    assert not [line for line in server.log if "Traceback" in line]


def test_an_arbiter_that_replaces_itself_ends_only_its_own(serve: Serve) -> None:
    server = serve("sync", graceful=4)
    old = server.worker()
    server.send(signal.SIGUSR2)
    server.said("hook post_worker_init", 2)
    new = server.worker()
    before = len(server.lines("deaf"))
    answers = [started(server)]
    while len({*server.lines("begun")}) < 2:  # in the old one and in the new one
        answers.append(started(server))
    assert len(server.lines("deaf")) == before + 2 * len(answers)
    server.send(signal.SIGTERM)
    assert server.process.wait(20) == 0  # its log goes on: the other one has it as well
    begun = [int(line.split()[-1]) for line in server.lines("begun")]
    until(lambda: len(server.commands()) == 2 * begun.count(new), "those of the old worker to be gone")
    assert {answer().status for answer, worker in zip(answers, begun, strict=True) if worker == old} == {503}
    arbiter = next(process for process in server.alive() if process.pid == _parent(new))
    arbiter.send_signal(signal.SIGINT)
    server.gone(20)


def _parent(pid: int) -> int:
    return int(psutil.Process(pid).ppid())
