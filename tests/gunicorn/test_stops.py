"""Real gunicorns of every worker class are stopped in every way, while a request runs what does not want to end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gunicorn.conftest import Serve
from tests.gunicorn.server import Answer, Server
from tests.harness import until

pytestmark = pytest.mark.process

Everywhere = Callable[..., None]
Together = Callable[[], object]


def started(server: Server, path: str = "/command") -> Callable[[], Answer]:
    """A request that runs a command which ignores TERM, with a child in a session of its own that does so too."""
    before = len(server.lines("deaf"))
    future = server.ask(path)
    server.said("deaf", before + 2)
    return lambda: future.result(20)


def left_by_itself(server: Server, worker: int, answer: Answer) -> None:
    """The client was answered, the view could clean up, the worker ended in its own time with its hooks."""
    assert (answer.status, answer.retry_after) == (503, "5"), server
    if server.process.poll() is None:  # an arbiter that ends looks for the last time a tenth of a second before
        server.said(f"hook child_exit {worker}")
    assert "cleaned" in server.lines(), server
    assert f"hook worker_exit {worker}" in server.lines(), server
    assert f"terminate {worker}" in server.lines(), server
    bad = ("SIGKILL", "have ended", "exited with", "Traceback")
    assert not [line for line in server.log if any(word in line for word in bad)], server


def test_term_ends_all_that_runs_before_gunicorn_kills(serve: Serve, everywhere: Everywhere) -> None:
    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, graceful=4, GRACEFUL_TEST_KILL_AFTER="0.3")
        answer, worker = started(server), server.worker()
        together()
        server.send(signal.SIGTERM)
        assert server.end() == 0
        left_by_itself(server, worker, answer())
        server.gone()
        said = server.lines()
        assert said.index(f"draining {worker}") < said.index(f"hammer {worker}") < said.index(f"terminate {worker}")
        assert answer().seconds > 1.5, "the hammer comes late, not at once"
        assert said[-1] == "hook on_exit"

    everywhere(scenario)


def test_a_reload_has_the_same_limit_and_then_ctrl_c_hammers_at_once(serve: Serve, everywhere: Everywhere) -> None:
    """Ctrl-C is INT for the whole terminal, and QUIT from the arbiter for its workers a moment later."""

    def scenario(kind: str, together: Together) -> None:
        server = serve(kind)
        answer, old = started(server), server.worker()
        together()
        server.send(signal.SIGHUP)
        server.said("hook post_worker_init", 2)
        left_by_itself(server, old, answer())
        assert server.get("/quick").text == f"{server.worker()}" != f"{old}"
        until(lambda: not server.commands(), "the commands to be gone")
        answer, worker = started(server), server.worker()
        together()
        begin = time.monotonic()
        os.killpg(server.pid, signal.SIGINT)
        server.said(f"hammer {worker}")
        assert time.monotonic() - begin < 1.5, "after a TERM it would come after two seconds"
        assert server.end() == 0
        left_by_itself(server, worker, answer())
        assert len(server.lines("hook worker_int")) == 1
        server.gone()

    everywhere(scenario)


def test_a_worker_that_sleeps_is_woken_by_term(serve: Serve) -> None:
    """sync waits for connections for half of ``timeout``; what wakes it is its own wakeup descriptor."""
    server = serve("sync", graceful=25)
    assert server.get("/quick").status == 200
    begin = time.monotonic()
    server.send(signal.SIGTERM)
    assert server.end() == 0
    assert time.monotonic() - begin < 10
    assert server.lines("hook worker_exit")


def test_a_stop_in_a_hurry_after_one_with_time(serve: Serve, everywhere: Everywhere) -> None:
    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, graceful=20)
        answer, worker = started(server), server.worker()
        together()
        server.send(signal.SIGTERM)
        server.said("draining")
        server.send(signal.SIGTERM)
        server.send(signal.SIGQUIT)
        assert server.end() == 0
        assert answer().seconds < 10
        left_by_itself(server, worker, answer())
        server.gone()

    everywhere(scenario)


def test_a_view_can_clean_up_also_when_gunicorn_is_in_a_hurry(serve: Serve, everywhere: Everywhere) -> None:
    """gunicorn would leave after a tenth of a second."""

    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, graceful=20)
        future, worker = server.ask("/tidies"), server.worker()
        together()
        server.send(signal.SIGINT)
        assert server.end() == 0
        left_by_itself(server, worker, future.result(20))
        assert server.lines("tidied")

    everywhere(scenario, "sync", "gevent")


def test_max_requests_does_not_let_the_last_request_run_for_ever(serve: Serve, everywhere: Everywhere) -> None:
    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, "--max-requests", "1")
        answer, old = started(server), server.worker()
        together()
        if kind in ("asgi", "uvicorn"):  # they count when a response is made
            assert server.get("/quick").status == 200
        left_by_itself(server, old, answer())
        server.said("hook post_worker_init", 2)
        server.send(signal.SIGTERM)
        server.end()
        server.gone()

    everywhere(scenario)


def test_the_worker_that_is_one_too_many_leaves_the_same_way(serve: Serve) -> None:
    server = serve("sync", "--workers", "2", graceful=2)
    server.said("hook post_worker_init", 2)
    asked = [(started(server), server.lines("begun")[-1])]
    while len({line for _, line in asked}) < 2:  # one in each worker
        asked.append((started(server), server.lines("begun")[-1]))
    server.send(signal.SIGTTOU)
    old = int(server.said("hook child_exit")[0].split()[-1])
    for answer, line in asked:
        if line == f"begun {old}":
            left_by_itself(server, old, answer())
    server.send(signal.SIGINT)
    assert server.end() == 0
    server.gone()


def test_a_changed_file_stops_a_worker_like_a_reload(serve: Serve, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    watched.touch()
    server = serve("gthread", "--reload", "--reload-engine", "poll", "--reload-extra-file", str(watched), graceful=3)
    answer, old = started(server), server.worker()
    watched.write_text("changed")
    os.utime(watched, (1, 2e9))
    left_by_itself(server, old, answer())
    assert server.lines("hook worker_int"), "gunicorn calls it for this too"
    assert answer().seconds > 1, "the request had its time"
    server.said("hook post_worker_init", 2)
    server.send(signal.SIGTERM)
    assert server.end() == 0
    server.gone()


def test_a_view_sees_that_its_worker_stops_and_how_long_it_has(serve: Serve, everywhere: Everywhere) -> None:
    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, graceful=5)
        future = server.ask("/drains")
        together()
        server.send(signal.SIGTERM)
        answer = future.result(20)
        assert answer.status == 200
        assert 1 < float(answer.text) <= 2.5
        assert server.end() == 0
        assert not server.lines("hammer")

    everywhere(scenario)


def test_what_blocks_without_a_command_of_ours_is_interrupted(serve: Serve, everywhere: Everywhere) -> None:
    """Sleeping, or waiting for a command that the site runs by itself; what each class can do."""
    paths = {
        "sync": ("/sleep", "/plain"),
        "gthread": ("/plain",),
        "gevent": ("/sleep", "/plain"),
        "asgi": ("/async-sleep", "/async-command", "/plain"),
        "uvicorn": ("/async-sleep", "/async-command", "/plain"),
    }

    def scenario(kind: str, together: Together) -> None:
        workers = ("--workers", "2") if kind == "sync" else ()
        server = serve(kind, *workers)
        if workers:
            server.said("hook post_worker_init", 2)
        futures = [server.ask(path) for path in paths[kind]]
        together()
        server.send(signal.SIGTERM)
        assert server.end() == 0
        for future in futures:
            assert future.result(20).status == 503, server
        assert len(server.lines("raised")) == len(server.lines("cleaned")) == len(futures)
        server.gone()

    everywhere(scenario)


def test_without_the_middleware_subprocesses_end_and_the_view_goes_on(serve: Serve) -> None:
    server = serve("sync", graceful=2, GRACEFUL_TEST_BARE="yes")
    future = server.ask("/plain")
    until(server.commands, "the command to run")
    server.send(signal.SIGTERM)
    assert server.end() == 0
    assert future.result(20).text == f"ended by {-signal.SIGTERM}"
    assert server.lines("hook worker_exit")


def test_a_view_that_can_not_be_stopped_ends_with_its_worker_also_where_gunicorn_sets_no_limit(
    serve: Serve, everywhere: Everywhere
) -> None:
    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, graceful=2)
        future, old = server.ask("/stubborn"), server.worker()
        together()
        server.send(signal.SIGHUP)
        server.said(f"hook child_exit {old}")
        assert future.result(20).status == 0
        assert f"terminate {old}" in server.lines(), "hooks are called all the same"
        server.logs("ends before these have ended: GET /stubborn")
        server.send(signal.SIGTERM)
        assert server.end() == 0

    everywhere(scenario, "sync", "gthread", "gevent", "asgi")


def test_a_worker_that_is_blocked_is_stopped_by_a_timeout_with_its_hooks(serve: Serve, everywhere: Everywhere) -> None:
    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, "--timeout", "3", graceful=20, GRACEFUL_TEST_KILL_AFTER="0.5")
        worker = server.worker()
        answer = server.ask({"sync": "/command", "gevent": "/block-hub"}.get(kind, "/block")).result
        if kind in ("sync", "gevent"):
            assert (answer().status, server.lines("raised")) == (503, ["raised Cancelled timeout"])
        else:
            assert answer().status in (0, 500)
        together()
        server.said(f"hook child_exit {worker}")
        assert f"terminate {worker}" in server.lines(), server
        assert not [line for line in server.log if "SIGKILL" in line], server
        until(lambda: not server.commands(), "the commands to be gone")
        if kind == "sync":
            assert {f"hook worker_exit {worker}", f"hook worker_abort {worker}"} <= {*server.lines()}
        server.send(signal.SIGINT)
        assert server.end() == 0

    everywhere(scenario, "sync", "gevent", "asgi", "uvicorn")
