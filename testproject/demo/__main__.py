"""``python -m testproject.demo``: see the package. ``PORT`` is the web server's port, 8000 by default."""

from __future__ import annotations

import os
import signal
import socket
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import django

from testproject.demo.children import Program
from testproject.demo.supervisor import Supervisor
from testproject.demo.words import closing_words, greeting

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
_MAIL_PORT = 8025


def main() -> int:
    """Run the demo. The exit code: 0 when it was stopped, 1 when it could not start or a program ended by itself."""
    port = os.environ.get("PORT") or "8000"
    if not port.isdecimal() or not 0 < int(port) < 1 << 16:
        return _refuse(f"PORT must be a number from 1 to 65535, not {port!r}.")
    if not is_free(int(port)):
        return _refuse(f"Port {port} is taken by another program. Name another one: make demo PORT={int(port) + 1}")
    os.chdir(ROOT)
    os.environ["LICHTWAND_URL"] = f"http://localhost:{port}"
    os.environ["LICHTWAND_SMTP_PORT"] = str(free_port(_MAIL_PORT))
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
    with Supervisor(show) as supervisor:
        show(None, "Preparing the site …")
        django.setup()
        return run(int(port), supervisor)


def run(port: int, supervisor: Supervisor) -> int:
    """Prepare the site, run its programs until they are stopped, and say what the queues hold."""
    from django.conf import settings

    from testproject.demo.site import prepare, read_counts, runner_pid

    login = prepare()
    before = read_counts()

    def ready() -> bool:
        return answers(port) and runner_pid() is not None

    def greet() -> None:
        write(greeting(settings.SITE_URL, login.name, login.password, runner_pid()))

    good = supervisor.run(programs(port, os.environ["LICHTWAND_SMTP_PORT"], settings.OUTBOX), os.environ, ready, greet)
    show(None, closing_words(before, read_counts(), os.path.relpath(settings.VAR / "graceful")))
    return 0 if good else 1


def programs(port: int, mail_port: str, outbox: Path) -> tuple[Program, Program]:
    """The web server, which has the runner beside it, and the mail server: in the order in which they are stopped."""
    python = sys.executable
    serve = [python, "-m", "gunicorn", "-c", "python:django_graceful.gunicorn", "testproject.wsgi"]
    return (
        Program("web", [*serve, "--bind", f"{HOST}:{port}", "--workers", "2"], 36, signal.SIGQUIT),
        Program("mail", [python, "-m", "testproject.smtpserver", mail_port, str(outbox)], 35),
    )


def show(program: Program | None, line: str) -> None:
    """Print one line, with the name of its program before it; in colour on a terminal."""
    name = f"{program.name if program else 'demo':>9} │"
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        name = f"\033[{program.colour if program else 1}m{name}\033[0m"
    write(f"{name} {line}")


def write(text: str) -> None:
    """Print, also when nobody reads on: what runs is then stopped as gracefully as ever."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_free(port: int) -> bool:
    """Whether this process could listen on that port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(wanted: int) -> int:
    """``wanted`` when it is free, else any free port."""
    if is_free(wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether the site answers, within a second."""
    connection = HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("HEAD", "/static/lichtwand/icon.svg")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _refuse(why: str) -> int:
    print(why, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
