"""New code for a server that is in use: what clients notice of it, with every worker class."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.gunicorn.client import Tally, load
from tests.gunicorn.conftest import Serve
from tests.gunicorn.server import ROOT, Server
from tests.harness import PATIENCE, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

Everywhere = Callable[..., None]
Together = Callable[[], object]

#: What the servers themselves do to clients when a worker leaves, as measured without us too: asgi closes a kept-alive
#: connection while a request is on its way (3 of 44 000), and uvicorn-worker resets kept-alive and fresh ones (152 of
#: 36 000).
THEIRS = {"asgi": {"reuse"}, "uvicorn": {"reuse", "first"}}


def manage(server: Server, *arguments: str) -> subprocess.Popen[str]:
    """``manage.py graceful …`` of the same site."""
    env = {k: v for k, v in psutil.Process(server.pid).environ().items() if not k.startswith("GUNICORN")}
    return subprocess.Popen(
        [sys.executable, "-m", "django", "graceful", *arguments],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def managed(server: Server, *arguments: str) -> str:
    """Its output, once it has succeeded."""
    command = manage(server, *arguments)
    out, err = command.communicate(timeout=4 * PATIENCE)
    assert command.returncode == 0, f"{out}{err}\n{server}"
    return out


def booted(server: Server) -> set[str]:
    """The pids of all workers that ever were."""
    return {line.split()[-1] for line in server.lines("hook post_worker_init")}


def failures(server: Server, tally: Tally) -> dict[str, int]:
    """What clients met that is not their server's own doing."""
    return {kind: n for kind, n in tally.failures.items() if kind not in THEIRS.get(server.kind, ())}


def passed_through(server: Server, tally: Tally, deploy: Callable[[], object]) -> None:
    """A deploy in which a request that runs is answered, and from which on new workers answer."""
    old, running = booted(server), server.ask("/sleep?s=1.5")
    deploy()
    answer = running.result(PATIENCE)
    assert (answer.status, answer.text) == (200, "slept"), server
    until(lambda: set(booted(server) - old) & set(tally.servers), f"new workers to serve\n{server}")
    assert failures(server, tally) == {}, server


def replaced(server: Server) -> int:
    """USR2, and TERM for the old arbiter when the worker of the new one has booted; the new one's pid."""
    count = len(booted(server))
    server.send(signal.SIGUSR2)
    until(lambda: len(booted(server)) > count, "the new worker")
    fresh = next(p.pid for p in psutil.Process(server.pid).children() if p.environ().get("GUNICORN_PID"))
    server.send(signal.SIGTERM)
    return fresh


def test_no_request_fails_while_a_server_is_restarted_in_all_ways(serve: Serve, everywhere: Everywhere) -> None:
    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, graceful=8)
        together()
        with load(server.port) as tally:
            passed_through(server, tally, lambda: server.send(signal.SIGHUP))
            server.said("hook child_exit")
            passed_through(server, tally, lambda: managed(server, "restart", "--wait"))
            found: list[int] = []
            passed_through(server, tally, lambda: found.append(replaced(server)))
            assert server.end() == 0
        running = server.ask("/sleep?s=1.5")
        os.kill(found[0], signal.SIGTERM)
        assert running.result(PATIENCE).status == 200
        server.gone(PATIENCE)
        assert not [line for line in server.log if "SIGKILL" in line or "Traceback" in line], server

    everywhere(scenario)


def test_no_request_fails_when_workers_are_replaced_after_max_requests(serve: Serve, everywhere: Everywhere) -> None:
    def scenario(kind: str, together: Together) -> None:
        server = serve(kind, "--workers", "2", "--max-requests", "40", graceful=8)
        server.said("hook post_worker_init", 2)
        running = server.ask("/sleep?s=1.5")
        together()
        with load(server.port) as tally:
            until(lambda: len(booted(server)) >= 4, "two workers to be replaced")
        assert running.result(PATIENCE).status == 200
        assert failures(server, tally) == {}, server

    everywhere(scenario)


def test_a_rolling_restart_adds_workers_first_and_tells_of_each(serve: Serve) -> None:
    server = serve("gthread", "--workers", "2")
    server.said("hook post_worker_init", 2)
    old = sorted(map(int, booted(server)))
    (server.place / "slow").write_text("2")  # so long does it take to boot
    with load(server.port) as tally:
        found = json.loads(managed(server, "restart", "--wait", "--json"))
    new = sorted(map(int, booted(server) - set(map(str, old))))
    assert found["seconds"] > 2
    assert found | {"seconds": 0} == {
        "server": server.pid,
        "how": "rolling",
        "old": old,
        "new": new,
        "left": [],
        "sidecar": False,
        "failure": None,
        "seconds": 0,
    }
    assert not tally.failures
    assert max(tally.seconds) < 1.5, "nobody waits for a worker that boots"
    said = server.lines("hook")
    first_end = next(at for at, line in enumerate(said) if line.startswith("hook worker_exit"))
    assert len([line for line in said[:first_end] if "post_worker_init" in line]) == 4
    assert len([line for line in server.log if "ttou" in line]) == 2
    assert {int(pid) for pid in list(tally.servers)} == {*old, *new}


def test_without_wait_the_command_returns_while_an_old_request_runs(serve: Serve) -> None:
    server = serve("gthread", graceful=30)
    running = server.ask("/sleep?s=15")
    out = managed(server, "restart")
    assert "new worker" in out
    assert "1 old one still finishes" in out
    assert not running.done()
    again = manage(server, "restart", "--json")  # waits for the old worker to leave, and then goes on
    out, err = again.communicate(timeout=4 * PATIENCE)
    assert "waiting for 1 worker to leave" in err
    assert json.loads(out)["failure"] is None
    assert running.result(PATIENCE).status == 200


@pytest.mark.parametrize("broken", ["application", "addresses"])
def test_code_that_can_not_be_loaded_is_refused_and_no_worker_is_touched(serve: Serve, broken: str) -> None:
    env = {"GRACEFUL_TEST_URLS": "tests.gunicorn.nowhere"} if broken == "addresses" else {}
    server = serve("gthread", **env)
    if broken == "application":
        (server.place / "broken").touch()
    command = manage(server, "restart", "--wait")
    out, err = command.communicate(timeout=4 * PATIENCE)
    assert command.returncode == 1
    assert "the new code can not be loaded:" in err
    assert "The old workers serve on." in err
    last = "ImportError: half of a release" if broken == "application" else "No module named 'tests.gunicorn.nowhere'"
    assert last in err, out
    assert len(booted(server)) == 1
    assert not server.lines("hook worker_exit")
    assert not [line for line in server.log if "Handling signal" in line]


def test_preloaded_code_is_replaced_with_its_arbiter_which_gets_the_pid_file(serve: Serve, tmp_path: Path) -> None:
    pid_file = tmp_path / "g.pid"
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(tmp_path / "notify"))
    systemd.settimeout(PATIENCE)
    env = {"GRACEFUL_TEST_SIDECAR": "yes", "NOTIFY_SOCKET": str(tmp_path / "notify")}
    server = serve("gthread", "--preload", "--pid", str(pid_file), graceful=8, **env)
    first = server.logs(" serves ")
    with load(server.port) as tally:
        running = server.ask("/sleep?s=1.5")
        found = json.loads(managed(server, "restart", "--wait", "--json", "--pid-file", str(pid_file)))
        assert (found["how"], found["sidecar"], found["left"]) == ("replaced", True, [])
        assert found["server"] != server.pid
        assert int(pid_file.read_text()) == found["server"]
        assert server.end() == 0
        assert running.result(PATIENCE).status == 200
        until(lambda: set(map(str, found["new"])) & set(tally.servers), "new workers to serve")
    assert not tally.failures, server
    until(lambda: [line for line in server.log if " serves " in line and line != first], "the new runner")
    with systemd:
        words = [systemd.recv(1000).decode() for _ in range(3)]
    assert [word for word in words if "MAINPID" in word] == [f"MAINPID={found['server']}"], "and none of the runner's"
    os.kill(found["server"], signal.SIGTERM)
    server.gone(PATIENCE)


def test_two_servers_are_told_apart_and_a_pid_that_is_none_is_named(serve: Serve, tmp_path: Path) -> None:
    one = serve("gthread")
    other = serve("sync", GRACEFUL_TEST_STORE=str(one.place / "store"))
    command = manage(one, "restart")
    _, err = command.communicate(timeout=4 * PATIENCE)
    assert command.returncode == 1
    assert "there are several servers; name one with --pid" in err
    assert f"pid {one.pid}: " in err
    assert f"pid {other.pid}: " in err
    command = manage(one, "restart", "--pid", str(os.getpid()))
    _, err = command.communicate(timeout=4 * PATIENCE)
    assert f"process {os.getpid()} is no gunicorn whose workers can be seen" in err
    assert json.loads(managed(one, "restart", "--pid", str(other.pid), "--json"))["server"] == other.pid
    assert len(booted(other)) == 2
    assert len(booted(one)) == 1


def test_readiness_goes_first_then_the_server_and_requests_go_on_meanwhile(serve: Serve) -> None:
    server = serve("gthread", "--workers", "2", GRACEFUL_TEST_DRAIN_DELAY="3")
    server.said("hook post_worker_init", 2)
    assert server.get("/health/ready").status == 200
    command = manage(server, "shutdown", "--web", "--wait", "--json")
    until(lambda: {server.get("/health/ready").status for _ in range(6)} == {503}, "both workers to be unready")
    assert "readiness was switched off" in server.get("/health/ready").text
    assert server.get("/health/live").status == server.get("/quick").status == 200
    assert not [line for line in server.log if "term" in line]
    out, err = command.communicate(timeout=4 * PATIENCE)
    assert json.loads(out) == {"servers": [{"pid": server.pid, "ended": True}]}, err
    assert server.end() == 0
    assert managed_after(server) == "No web server is seen here.\n"


def managed_after(server: Server) -> str:
    """``shutdown --web`` when the server is gone."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.gunicorn.settings", "GRACEFUL_TEST_PLACE": str(server.place)}
    command = [sys.executable, "-m", "django", "graceful", "shutdown", "--web", "--wait"]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout


def test_a_shutdown_that_is_called_off_leaves_the_workers_ready(serve: Serve) -> None:
    server = serve("gthread", GRACEFUL_TEST_DRAIN_DELAY="60")
    command = manage(server, "shutdown", "--web")
    until(lambda: server.get("/health/ready").status == 503, "it to be unready")
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=4 * PATIENCE)
    assert command.returncode != 0
    assert server.get("/health/ready").status == 200


def test_the_client_sees_it_when_a_server_is_stopped_and_started(serve: Serve) -> None:
    server = serve("gthread")
    with load(server.port) as tally:
        until(lambda: tally.requests > 20, "requests")
        server.send(signal.SIGTERM)
        server.end()
        until(lambda: tally.failures["connect"] > 3, "connections to be refused")
        again = serve("gthread", "-b", f"127.0.0.1:{server.port}")
        until(lambda: booted(again) & set(tally.servers), "the new server to serve")


def test_the_client_sees_it_when_reuse_port_loses_connections(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(tmp_path, "sync", "--reuse-port", "--workers", "2", "-b", f"127.0.0.1:{port}", graceful=10)
    try:
        server.port = port
        server.said("hook post_worker_init", 2)
        with load(port, patience=1.0) as tally:
            running = server.ask("/sleep?s=4")
            server.send(signal.SIGHUP)
            until(lambda: tally.failures["first"], "a request that got no answer")
            assert running.result(PATIENCE).status == 200
    finally:
        server.cleanup()
