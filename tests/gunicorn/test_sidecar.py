"""``runqueues`` beside gunicorn's workers, as one tree of processes, with real ones."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.gunicorn.conftest import Serve
from tests.gunicorn.server import Server
from tests.harness import PATIENCE, until

pytestmark = pytest.mark.process

Sidecar = Callable[[], Server]


def runners(server: Server) -> list[int]:
    """The pids of all runners that ever served, in their order."""
    return [int(line.partition("runner ")[2].split()[0]) for line in server.log if " serves " in line]


def served_by(server: Server, number: int = 1) -> int:
    """The pid of that many-th runner, once it serves."""
    until(lambda: len(runners(server)) >= number, f"{number} runners\n{server}")
    return runners(server)[number - 1]


def keeper(server: Server) -> psutil.Process:
    return next(p for p in psutil.Process(server.pid).children() if "keeper.py" in " ".join(p.cmdline()))


def started(server: Server, times: int = 1) -> None:
    """Wait until the job of ``pushes-slow`` has begun so often."""
    out = server.place.parent / "out"
    until(lambda: out.exists() and out.read_text().count("start 1") >= times, f"the job to begin\n{server}")


@pytest.fixture
def sidecar(serve: Serve, tmp_path: Path) -> Sidecar:
    env = {"GRACEFUL_TEST_SIDECAR": "yes", "GRACEFUL_TEST_OUT": str(tmp_path / "out")}
    return lambda: serve("gthread", **env)


def test_the_runner_stops_after_the_workers_have_left_and_a_second_signal_hastens_it(sidecar: Sidecar) -> None:
    server = sidecar()
    served_by(server)
    server.get("/pushes-slow")
    started(server)
    server.send(signal.SIGTERM)
    server.logs("draining: no new work")
    left = next(at for at, line in enumerate(server.log) if "Worker exiting" in line)
    assert left < next(at for at, line in enumerate(server.log) if "SIGTERM received" in line)
    server.send(signal.SIGQUIT)
    server.logs("hammer: what runs is cancelled")
    assert server.end() == 0
    assert any("1 waiting" in line for line in server.log if "stopped after" in line), server
    server.gone(PATIENCE)


def test_a_runner_that_is_killed_is_started_again_and_goes_on_with_its_items(sidecar: Sidecar) -> None:
    server = sidecar()
    pid = served_by(server)
    server.get("/pushes-slow")
    started(server)
    os.kill(pid, signal.SIGKILL)
    server.logs("sidecar: runqueues has ended by SIGKILL; it is started again in 1 s")
    assert served_by(server, 2) != pid
    started(server, 2)
    assert server.get("/quick").status == 200


def test_a_reload_gives_the_runner_new_code_too_and_its_pid_stays(sidecar: Sidecar) -> None:
    server = sidecar()
    pid = served_by(server)
    server.send(signal.SIGHUP)
    server.logs("starting again in place")
    assert served_by(server, 2) == pid
    server.send(signal.SIGTERM)
    assert server.end() == 0
    server.gone(PATIENCE)


@pytest.mark.parametrize("victim", ["arbiter", "keeper"])
def test_when_its_parents_are_killed_the_runner_stops_gracefully(sidecar: Sidecar, victim: str) -> None:
    server = sidecar()
    runner = psutil.Process(served_by(server))
    os.kill(server.pid if victim == "arbiter" else keeper(server).pid, signal.SIGKILL)
    server.logs("SIGTERM received")
    server.logs("stopped after")
    runner.wait(PATIENCE)
    if victim == "arbiter":
        server.gone(PATIENCE)
    else:
        server.send(signal.SIGHUP)  # which brings it back
        served_by(server, 2)


def test_a_site_that_wants_none_has_no_process_more(serve: Serve) -> None:
    server = serve("gthread")
    until(lambda: len(server.alive()) == 2, f"only the arbiter and its worker to be left\n{server}")
    server.send(signal.SIGHUP)
    server.said("hook child_exit")
    until(lambda: len(server.alive()) == 2, "that once more")
    server.send(signal.SIGTERM)
    assert server.end() == 0


def test_the_runner_knows_nothing_of_sockets_and_service_manager(sidecar: Sidecar) -> None:
    server = sidecar()
    runner = psutil.Process(served_by(server))
    listening = [c.laddr.port for c in runner.net_connections("inet")]
    assert server.port not in listening
    assert server.port not in [c.laddr.port for c in keeper(server).net_connections("inet")]
    assert runner.environ()["DJANGO_SETTINGS_MODULE"] == "tests.gunicorn.settings"
    assert "GUNICORN_PID" not in runner.environ()
    assert runner.parent() == keeper(server)
    assert os.getsid(runner.pid) != os.getsid(server.pid), "Ctrl-C in the terminal does not reach it"
