"""Words to systemd, with a real datagram socket in its place."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_graceful.notify import Notifier
from tests.harness import PATIENCE, Runner, Site, until
from tests.site import queues


class Systemd:
    """A socket that hears the words of a service."""

    def __init__(self, address: str) -> None:
        self.name = address.replace("\0", "@")
        self.words: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def listen(self) -> list[str]:
        """All words so far."""
        while True:
            try:
                self.words.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self.words

    def hears(self, pattern: str, times: int = 1) -> None:
        """Wait until it has heard a word like that, so many times."""
        until(
            lambda: sum(bool(re.fullmatch(pattern, word)) for word in self.listen()) >= times,
            f"systemd to hear {pattern!r}; it heard {self.words}",
            PATIENCE,
        )

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    """A listener, at a path and in the abstract namespace."""
    found = Systemd(str(tmp_path / "notify") if request.param == "path" else f"\0graceful-{tmp_path}"[:100])
    yield found
    found.close()


def serving(site: Site, systemd: Systemd, **env: str) -> Runner:
    runner = site.runner(env={"NOTIFY_SOCKET": systemd.name, **env}).serving()
    systemd.hears(f"READY=1\nMAINPID={runner.pid}")
    return runner


def test_every_word_is_one_datagram_of_the_protocol(systemd: Systemd) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.name, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())})
    assert notifier
    notifier.ready()
    notifier.status("all is well")
    notifier.alive()
    notifier.reloading()
    notifier.stopping()
    heard = systemd.listen()
    assert heard[:3] == [f"READY=1\nMAINPID={os.getpid()}", "STATUS=all is well", "WATCHDOG=1"]
    reloading = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", heard[3])
    assert reloading is not None
    assert abs(int(reloading[1]) / 1e6 - time.monotonic()) < 5
    assert heard[4:] == ["STOPPING=1"]


def test_a_status_is_told_only_when_it_changes(systemd: Systemd) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.name})
    for text in ("a", "a", "b", "a"):
        notifier.status(text)
    assert systemd.listen() == ["STATUS=a", "STATUS=b", "STATUS=a"]


def test_the_environment_loses_the_variables_until_they_are_put_back() -> None:
    before = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "7", "HOME": "/root"}
    environ = dict(before)
    notifier = Notifier(environ)
    assert environ == {"HOME": "/root"}
    notifier.put_back()
    assert environ == before


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_without_a_unix_socket_nothing_is_said(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"} if address else {})
    assert not notifier
    assert notifier.watchdog is None
    notifier.ready()
    notifier.alive()


def test_a_manager_that_is_gone_or_does_not_listen_is_no_error(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    full = Systemd(str(tmp_path / "full"))
    notifier = Notifier({"NOTIFY_SOCKET": full.name})
    begin = time.monotonic()
    for _ in range(5000):  # far more than a datagram socket holds
        notifier.stopping()
    assert time.monotonic() - begin < 10
    full.close()


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_only_when_it_is_meant_for_this_process(
    variables: dict[str, str], seconds: float | None
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **variables}).watchdog == seconds


@pytest.mark.process
def test_systemd_hears_of_each_phase_and_of_what_runs_and_waits(site: Site, systemd: Systemd) -> None:
    runner = serving(site, systemd)
    queues.single.push_many([{"n": n, "seconds": 60 if n == 0 else 0} for n in range(4)])
    site.said("start 0")
    systemd.hears("STATUS=running: 1 running, 3 waiting")
    runner.send(signal.SIGTERM)
    systemd.hears("STATUS=draining: 1 running, 3 waiting")
    runner.send(signal.SIGTERM)
    assert runner.end() == 0
    heard = systemd.listen()
    assert heard.count("STOPPING=1") == 1
    assert heard.index("STOPPING=1") < heard.index("STATUS=draining: 1 running, 3 waiting")
    assert heard[-1] == "STATUS=terminate: 0 running, 4 waiting"
    assert "WATCHDOG=1" not in heard


@pytest.mark.process
def test_a_restart_in_place_is_a_reload_of_the_same_main_process(site: Site, systemd: Systemd) -> None:
    runner = serving(site, systemd, WATCHDOG_USEC="60000000")
    runner.send(signal.SIGHUP)
    systemd.hears(f"READY=1\nMAINPID={runner.pid}", times=2)
    kinds = [word.partition("\n")[0] for word in systemd.listen() if not word.startswith("STATUS")]
    assert [kind for kind in kinds if kind != "WATCHDOG=1"] == ["READY=1", "RELOADING=1", "READY=1"]
    assert runner.stop() == 0
    assert systemd.listen().count("STOPPING=1") == 1


@pytest.mark.process
def test_the_watchdog_is_fed_while_the_loop_turns_and_not_while_it_is_stuck(site: Site, systemd: Systemd) -> None:
    runner = serving(site, systemd, WATCHDOG_USEC="400000")
    begin = time.monotonic()
    systemd.hears("WATCHDOG=1", times=6)
    assert time.monotonic() - begin > 0.8  # five halves of 0.4 s, less a little
    runner.send(signal.SIGSTOP)
    until(lambda: runner.family()[0].status() == "stopped", "the runner to stop")
    heard = systemd.listen().count("WATCHDOG=1")
    time.sleep(0.5)  # more than the watchdog's time: systemd would act now
    assert systemd.listen().count("WATCHDOG=1") == heard
    runner.send(signal.SIGCONT)
    systemd.hears("WATCHDOG=1", times=heard + 2)
    assert runner.stop() == 0


@pytest.mark.process
def test_no_worker_is_mistaken_for_the_service(site: Site, systemd: Systemd) -> None:
    runner = serving(site, systemd, WATCHDOG_USEC="60000000")
    queues.environment.push()
    site.said("environment")
    assert site.lines() == ["environment"]
    assert runner.stop() == 0
