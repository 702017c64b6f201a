"""A client that hides nothing: on fresh and on kept-alive connections, never asking twice, it sorts what goes wrong.

``connect``: nobody took the connection. ``first``: it was taken, and its first request got no answer. ``reuse``: it had
served before, and was gone when the next request came, which a client can not tell from an idle connection that timed
out. ``status``: an answer, but not 200.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

#: Seconds: between two requests of a thread, and after which an answer counts as lost.
PAUSE = 0.1
PATIENCE = 15.0


@dataclass
class Tally:
    """What all threads have met."""

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    #: Who answered: the pids of workers, and how many requests each served.
    servers: Counter[str] = field(default_factory=Counter)
    #: Seconds that each request took.
    seconds: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, failure: str, server: str, seconds: float) -> None:
        with self.lock:
            self.requests += 1
            self.seconds.append(seconds)
            if failure:
                self.failures[failure] += 1
            else:
                self.servers[server] += 1


class Caller:
    """One thread's connection; ``keep``: for as long as the server lets it."""

    def __init__(self, port: int, path: str, tally: Tally, *, keep: bool, patience: float = PATIENCE) -> None:
        self._port, self._path, self._tally, self._keep, self._patience = port, path, tally, keep, patience
        self._connection: HTTPConnection | None = None
        self._used = 0

    def call(self) -> None:
        """One request."""
        begin = time.monotonic()
        failure, server = self._ask()
        self._tally.note(failure, server, time.monotonic() - begin)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._used = None, 0

    def _ask(self) -> tuple[str, str]:
        kind = "reuse" if self._used else "first"
        try:
            if self._connection is None:
                self._connection = HTTPConnection("127.0.0.1", self._port, timeout=self._patience)
                try:
                    self._connection.connect()
                except OSError:
                    kind = "connect"
                    raise
            self._connection.request("GET", self._path)
            response = self._connection.getresponse()
            text = response.read().decode()
        except (OSError, HTTPException):
            self.close()
            return kind, ""
        self._used += 1
        if response.will_close or not self._keep:
            self.close()
        return ("" if response.status == 200 else "status"), text


@contextmanager
def load(port: int, path: str = "/quick", fresh: int = 2, kept: int = 2, patience: float = PATIENCE) -> Iterator[Tally]:
    """Ask without end in so many threads of each sort, for the length of the block."""
    tally, over = Tally(), threading.Event()

    def work(keep: bool) -> None:
        caller = Caller(port, path, tally, keep=keep, patience=patience)
        while not over.wait(PAUSE):
            caller.call()
        with suppress(OSError):
            caller.close()

    threads = [threading.Thread(target=work, args=(n < kept,)) for n in range(fresh + kept)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        over.set()
        for thread in threads:
            thread.join()
