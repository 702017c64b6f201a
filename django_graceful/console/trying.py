"""Trying new code before a server is touched: a fresh Python loads it just as a worker of that server would."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from django_graceful.conf import get_conf
from django_graceful.console.servers import Server, environment

#: Seconds for the code to load.
PATIENCE = 120.0
#: Lines of a traceback that are shown.
_LINES = 12
#: Of a server that runs, and of its service manager.
_NOT_OURS = ("GUNICORN_PID", "GUNICORN_FD", "LISTEN_PID", "LISTEN_FDS", "NOTIFY_SOCKET")


def try_code(server: Server) -> str:
    """Empty when the code that is there now can be loaded; else why not: the last lines of what it said."""
    command = told_command(server) if _is_ours_alone() else seen_command(server.arbiter)
    if command is None:
        return "how gunicorn was started is not known here, so the new code can not be tried before it is used"
    python, arguments, directory = command
    try:
        done = subprocess.run(
            [python, "-m", "django_graceful.gunicorn.trial", *arguments],
            cwd=directory,
            env={name: value for name, value in environment(server.arbiter).items() if name not in _NOT_OURS},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return f"the new code was not loaded within {PATIENCE:g} s"
    except OSError as error:
        return f"the new code could not be tried: {error}"
    lines = done.stdout.strip().splitlines()[-_LINES:]
    return "\n".join(["the new code can not be loaded:", *lines]) if done.returncode else ""


def _is_ours_alone() -> bool:
    """Whether only this user can have written what the nodes tell. What others may have written is never run."""
    return all(store.backend != "redis" and store.mode == 0o600 for store in get_conf().stores.values())


def told_command(server: Server) -> tuple[str, list[str], str] | None:
    """Interpreter, arguments of the command gunicorn, and directory, as a worker tells; None for another program."""
    said = server.said
    return None if said["arguments"] is None else (said["python"], said["arguments"], said["directory"])


def seen_command(arbiter: int) -> tuple[str, list[str], str] | None:
    """The same, as the kernel shows it; None for another program, or when it has changed its title (setproctitle)."""
    words = _words(arbiter)
    for how in (["-m", "gunicorn"], [word for word in words[1:2] if Path(word).name == "gunicorn"]):
        if how and words[1 : 1 + len(how)] == how:
            return words[0], words[1 + len(how) :], f"/proc/{arbiter}/cwd"
    return None


def _words(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="surrogateescape").split("\0")[:-1]
    return []
