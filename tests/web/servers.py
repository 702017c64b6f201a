"""Real web servers for tests: gunicorn with any worker class, on a Unix socket, one worker."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

import psutil

from tests.harness import PATIENCE, Site, until

#: Interrupt the main thread by a signal, as the site's gunicorn configuration does.
CONFIGURATION = """
import signal

def post_worker_init(worker):
    from django_graceful import interrupts
    interrupts.use_signal(signal.SIGRTMIN + 7)
"""
ASYNC = {"asgi", "uvicorn"}
CLASSES = {"uvicorn": "uvicorn_worker.UvicornWorker"}


class Connection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)  # close() closes it when this fails


class Server:
    """gunicorn, serving ``tests.web``."""

    def __init__(self, site: Site, root: Path, worker: str) -> None:
        self.worker = worker
        self.site = site
        self._path = f"{root}/web"
        (root / "gunicorn_conf.py").write_text(CONFIGURATION)
        application = "tests.web.asgi:application" if worker in ASYNC else "tests.web.wsgi:application"
        options = [f"--bind=unix:{self._path}", f"--worker-class={CLASSES.get(worker, worker)}"]
        options += ["--workers=1", "--no-control-socket", "--graceful-timeout=5", "--timeout=120", "--threads=1"]
        env = {**site.env, "DJANGO_SETTINGS_MODULE": "tests.web.settings", "GRACEFUL_TEST_DB": f"{root}/db.sqlite3"}
        if worker in ASYNC:
            env["GRACEFUL_TEST_ASGI"] = "1"
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "-v0"], env=env, cwd=site.root, check=True, timeout=PATIENCE
        )
        self.log = root / "gunicorn.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", f"--config={root}/gunicorn_conf.py", *options, application],
                env=env,
                cwd=site.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._serves, "the server to serve")

    def _serves(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(self.log.read_text())
        with suppress(OSError):
            return self.get("quick")[1] == b"quick"
        return False

    def open(self, view: str, **query: str) -> Connection:
        """Ask, without waiting for the answer."""
        connection = Connection(self._path)
        try:
            connection.request("GET", f"/{view}/?{urlencode(query)}")
        except OSError:
            connection.close()
            raise
        return connection

    def get(self, view: str, **query: str) -> tuple[int, bytes]:
        """Status and body."""
        connection = self.open(view, **query)
        with connection.getresponse() as response:
            found = response.status, response.read()
        connection.close()
        return found

    def worker_pid(self) -> int:
        (child,) = psutil.Process(self.process.pid).children()
        return int(child.pid)

    def close(self) -> None:
        """End it, and whatever is left of it."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(PATIENCE)


def read(connection: Connection) -> tuple[HTTPResponse, bytes]:
    """The answer of a request that was opened before."""
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body
