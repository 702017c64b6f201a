"""Finding and trying a web server, and waiting for it, where no server is needed; tests/gunicorn has real ones."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from django_graceful.console import restarting, servers, trying, webstop
from django_graceful.console.report import Look
from django_graceful.console.servers import Handle, Server
from django_graceful.console.waiting import Stuck, until
from django_graceful.exceptions import StoreUnavailable
from tests.commands.conftest import Console
from tests.harness import until as until_seen

HOST = socket.gethostname()
SAID = {"python": sys.executable, "arguments": [], "directory": "/", "preload": False, "graceful_timeout": 1.0}


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A child of this process."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def web(pid: int, arbiter: int, **more: Any) -> dict[str, Any]:
    return {"node": "a", "kind": "web", "host": HOST, "pid": pid, "phase": "running", "arbiter": arbiter} | {
        "server": SAID,
        **more,
    }


def nodes(monkeypatch: pytest.MonkeyPatch, *found: dict[str, Any]) -> None:
    monkeypatch.setattr(servers, "running", lambda: list(found))


def test_without_a_server_it_says_what_one_needs(store_path: Path, graceful: Console) -> None:
    with pytest.raises(CommandError, match="No gunicorn is seen on this host that runs with the configuration of dj"):
        graceful("restart")


def test_a_pid_file_that_has_no_pid_is_named(store_path: Path, graceful: Console, tmp_path: Path) -> None:
    (tmp_path / "g.pid").write_text("none")
    for name in ("g.pid", "missing"):
        with pytest.raises(CommandError, match=f"there is no pid in {tmp_path}/{name}"):
            graceful("restart", "--pid-file", str(tmp_path / name))
    with pytest.raises(CommandError, match="not allowed with argument --pid"):
        graceful("restart", "--pid", "1", "--pid-file", "x")


def test_a_process_that_is_gone_is_said_to_be(store_path: Path, graceful: Console) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(CommandError, match=f"there is no process {gone.pid}"):
        graceful("restart", "--pid", str(gone.pid))


def test_only_a_worker_that_is_its_arbiters_child_on_this_host_counts(
    monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes]
) -> None:
    own = os.getpid()
    nodes(monkeypatch, web(sleeper.pid, own))
    assert [server.arbiter for server in servers.all_servers()] == [own]
    stranger = web(os.getppid(), own)  # its pid is another's by now, or of another container
    silent = {"node": "b", "pid": sleeper.pid, "silent": True}
    nodes(monkeypatch, stranger, silent, web(sleeper.pid, own, host="another"), {**web(7, own), "arbiter": None})
    assert servers.all_servers() == []


def test_workers_are_forks_of_the_arbiter_and_nothing_else(sleeper: subprocess.Popen[bytes]) -> None:
    fork = os.fork()
    if fork == 0:
        signal.pause()
        os._exit(0)
    try:
        assert servers.workers(os.getpid()) == {fork}, "what it has started is no worker"
        os.kill(fork, signal.SIGKILL)
        with Handle(fork) as handle:
            assert handle.ended(10)
        assert servers.workers(os.getpid()) == set(), "nor is what has died and is not reaped yet"
    finally:
        os.waitpid(fork, 0)


def test_phases_tell_who_has_booted_and_who_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "workers", lambda arbiter: {5, 6, 7})
    silent = {"node": "b", "pid": 6, "silent": True}
    nodes(monkeypatch, web(5, 1, phase="draining"), silent, web(8, 2))
    assert servers.phases(1) == {5: "draining", 6: ""}


def test_an_old_worker_leaves_when_it_is_gone_or_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "workers", lambda arbiter: {1, 2, 3, 9})
    monkeypatch.setattr(restarting, "phases", lambda arbiter: {1: "running", 2: "draining", 3: "", 9: "draining"})
    assert restarting._leaving(0, {1, 2, 3, 4}) == {2, 3, 4}


def test_code_that_takes_too_long_or_can_not_be_tried_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(trying, "PATIENCE", 0.2)
    assert trying.try_code(Server(os.getpid(), SAID | {"python": str(slow)})) == (
        "the new code was not loaded within 0.2 s"
    )
    assert "could not be tried" in trying.try_code(Server(os.getpid(), SAID | {"python": str(tmp_path / "none")}))
    assert "how gunicorn was started is not known here" in trying.try_code(
        Server(os.getpid(), SAID | {"arguments": None})
    )


def test_the_trial_shows_the_last_lines_and_has_the_arbiters_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nfor n in $(seq 20); do echo line $n; done\necho "$A $NOTIFY_SOCKET $PWD $*"; exit 1')
    python.chmod(0o755)
    with subprocess.Popen(["sleep", "60"], env={"A": "b", "NOTIFY_SOCKET": "/s", "PATH": os.environ["PATH"]}) as server:
        said = SAID | {"python": str(python), "arguments": ["-c", "conf.py", "site.wsgi"], "directory": str(tmp_path)}
        refusal = trying.try_code(Server(server.pid, said))
        server.kill()
    lines = refusal.splitlines()
    assert lines[0] == "the new code can not be loaded:"
    assert lines[1:] == [
        *(f"line {n}" for n in range(10, 21)),
        f"b  {tmp_path} -m django_graceful.gunicorn.trial -c conf.py site.wsgi",
    ]


@pytest.mark.parametrize("how", [["-m", "gunicorn"], ["/opt/bin/gunicorn"], ["-c", "code", "gunicorn"], []])
@pytest.mark.parametrize("shared", [{"MODE": 0o660}, {"BACKEND": "redis", "ALIAS": "queues"}])
def test_what_others_may_have_written_is_never_run_but_what_the_kernel_shows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    sleeper: subprocess.Popen[bytes],
    how: list[str],
    shared: dict[str, Any],
) -> None:
    store = {"BACKEND": "leveldb", "PATH": tmp_path / "store"} if "MODE" in shared else {}
    settings.GRACEFUL = {"STORES": {"default": {**store, **shared}}}
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "seen $PWD $*"; exit 1')
    python.chmod(0o755)
    monkeypatch.setattr(trying, "_words", lambda pid: [str(python), *how, "-w", "2", "site.wsgi"] if how else [])
    evil = SAID | {"python": "/bin/false", "arguments": ["evil"], "directory": "/"}
    refusal = trying.try_code(Server(sleeper.pid, evil))
    if how[:1] in (["-m"], ["/opt/bin/gunicorn"]):
        assert refusal.endswith(f"seen {os.getcwd()} -m django_graceful.gunicorn.trial -w 2 site.wsgi")
    else:
        assert "is not known here" in refusal


def test_the_kernel_shows_how_a_process_was_started(sleeper: subprocess.Popen[bytes]) -> None:
    assert until_seen(lambda: trying._words(sleeper.pid), "it to run") == ["sleep", "60"]
    assert trying._words(1 << 22) == []


def test_waiting_ends_with_the_event_the_time_or_the_server(sleeper: subprocess.Popen[bytes]) -> None:
    with Handle(sleeper.pid) as handle:
        assert until(handle, lambda: "found", 10, "nothing") == "found"
        with pytest.raises(Stuck, match=r"no worker came \(after 0.1 s\)"):
            until(handle, lambda: None, 0.1, "no worker came")
        sleeper.kill()
        with pytest.raises(Stuck, match=rf"gunicorn \(pid {sleeper.pid}\) has ended"):
            until(handle, lambda: None, 60, "no worker came")


def test_a_server_is_restarted_by_one_at_a_time() -> None:
    server = Server(os.getpid(), SAID)
    with restarting._alone(server):
        with pytest.raises(Stuck, match="is being restarted by somebody else just now"), restarting._alone(server):
            pass
        with restarting._alone(Server(1, SAID)):
            pass
    with restarting._alone(server):
        pass


def test_process_1_of_a_container_is_not_replaced(sleeper: subprocess.Popen[bytes]) -> None:
    from django_graceful.console.replacing import replace

    class One(Handle):
        def send(self, number: signal.Signals) -> None:
            raise AssertionError("touched")

    with One(1) as arbiter, pytest.raises(Stuck, match="replacing it would end the container"):
        replace(Server(1, SAID), arbiter, {}, {"timeout": 1}, print)


class Told:
    """What was ordered, in place of the workers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *workers: dict[str, Any]) -> None:
        self.orders: list[tuple[str, bool]] = []
        self.workers = list(workers)
        monkeypatch.setattr(webstop, "look", lambda: list(self.workers))
        monkeypatch.setattr(webstop, "order", self.order)

    def order(self, node: str, what: dict[str, Any]) -> None:
        self.orders.append((node, what["ready"]))
        if node == "busy":
            raise StoreUnavailable("does not answer")


def test_every_worker_is_told_once_and_new_ones_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch, web(1, 7, node="one"), web(2, 8, node="another server's"), web(3, 7, node="busy"))
    monkeypatch.setattr(webstop, "_LOOK", 0.05)
    look = Look(None, None, lambda line: told.workers.append(web(4, 7, node="new")))  # type: ignore[arg-type]
    began = time.monotonic()
    webstop._withdraw({7}, 0.2, look)
    assert time.monotonic() - began >= 0.2
    assert told.orders.count(("one", False)) == told.orders.count(("new", False)) == 1
    assert told.orders.count(("busy", False)) > 1, "until it answers"
    assert not [node for node, _ in told.orders if node.startswith("another")]


def test_no_delay_still_tells_all(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch, web(1, 7, node="one"))
    webstop._withdraw({7}, 0, Look(None, None))  # type: ignore[arg-type]
    assert told.orders == [("one", False)]


def test_called_off_all_are_ready_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch, web(1, 7, node="one"))

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        webstop._withdraw({7}, 60, Look(None, None, interrupt))  # type: ignore[arg-type]
    assert told.orders == [("one", False), ("one", True)]
