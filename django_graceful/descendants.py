"""Finding and ending what a subprocess left behind, by our mark in its environment (promise P5).

Every subprocess that we start carries :data:`VARIABLE`, and what it starts inherits it. A mark has three levels,
``store:worker:run`` (``node:run`` outside a runner), so a sweep is for one run, one worker or one store; nested marks
are kept, joined by ``/``. Only what carries the mark is ever killed, and through a pidfd that was opened before the
mark was read: a reused number can not be hit. What wipes its environment escapes, unless it stays in the group of the
subprocess, which is ended as a group.

Looking is one read of ``/proc/*/environ`` of this user's processes, a few milliseconds; a child subreaper
(:func:`adopt`) sees from its own children whether there is anything to look for. Works in any process and thread.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import select
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

#: The variable with the mark.
VARIABLE = "DJANGO_GRACEFUL_JOB"

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: Seconds for which the end of a killed process is awaited; longer takes only one that hangs in the kernel.
PATIENCE = 2.0
#: How often, a millisecond apart, a process in the middle of ``exec`` is looked at.
_LOOKS = 500
_PREFIX = b"\0" + VARIABLE.encode() + b"="
_counter = itertools.count(1)


class _Identity:
    """Who this OS process is, in marks."""

    #: The worker's name, which its forks keep; empty outside of workers.
    worker = ""
    #: The pid that adopts orphans; a fork does not.
    adopting = 0


def store_mark(path: Path) -> str:
    """The mark of all workers of the store in that directory; the same under every name of the directory."""
    status = path.stat()
    return f"{status.st_dev:x}.{status.st_ino:x}"


def worker_mark(store: Path, name: str) -> str:
    """The mark of one worker of the store."""
    return f"{store_mark(store)}:{name}"


def node_mark() -> str:
    """The mark of this OS process: nobody has or had the same since the machine was started."""
    return _node(os.getpid())


def become(worker: str) -> None:
    """Be this worker: what is started from now on carries its mark, in whatever way it is started."""
    _Identity.worker = worker
    os.environ[VARIABLE] = _joined(worker)


def adopt() -> None:
    """Become a child subreaper: orphans below this process become its children, not those of ``init``."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _Identity.adopting = os.getpid()


def die_with(parent: int) -> None:
    """SIGKILL to this process when the process ``parent`` ends, however it ends; at once, when it has."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(71)


def adopting() -> bool:
    """Whether this process has called :func:`adopt`."""
    return _Identity.adopting == os.getpid()


def fresh_mark() -> str:
    """A mark for one run of a subprocess; nobody else has it, now or later."""
    pid = os.getpid()
    return f"{_Identity.worker or _node(pid)}:{pid}.{next(_counter)}"


def environment(mark: str, base: Mapping[str, str] | None) -> dict[str, str]:
    """``base`` (None: our own environment) with the mark in it, after those that we carry ourselves."""
    return {**(os.environ if base is None else base), VARIABLE: _joined(mark)}


def _joined(mark: str) -> str:
    inherited = os.environ.get(VARIABLE)
    return f"{inherited}/{mark}" if inherited else mark


@cache
def _node(pid: int) -> str:
    """The pid and when it began, in ticks since the boot."""
    return f"p{pid}.{Path('/proc/self/stat').read_text().rpartition(')')[2].split()[19]}"


def carries(environ: bytes, mark: str) -> bool:
    """Whether an environment, as ``/proc`` shows it, has this mark or one below it."""
    at = (b"\0" + environ).find(_PREFIX)
    if at < 0:
        return False
    value = environ[at + len(_PREFIX) - 1 :].partition(b"\0")[0].decode(errors="replace")
    return any(part == mark or part.startswith(mark + ":") for part in value.split("/"))


def find_marked(mark: str, spare: int = 0) -> list[int]:
    """The pids of all living processes of this user that carry the mark; never our own, nor ``spare``."""
    but = (os.getpid(), spare)
    return [pid for pid in _pids() if pid not in but and carries(_environ(pid), mark)]


def end_marked(mark: str, *, spare: int = 0, patience: float = PATIENCE) -> list[int]:
    """SIGKILL to everything that carries the mark, also to what is forked meanwhile; returns when it is gone.

    ``spare`` is a pid that somebody else ends and reaps. The result is what could not be ended within ``patience``
    seconds (a process that hangs in the kernel). Does nothing when we carry the mark ourselves: a tree does not end
    itself.
    """
    if carries(_environ(os.getpid()), mark):
        return []
    end = time.monotonic() + patience
    while True:
        found = find_marked(mark, spare)
        for pid in found:
            _kill(pid, mark, end)
        if not found or time.monotonic() > end:
            return found


def send(pid: int, number: signal.Signals, mark: str) -> None:
    """Signal a process if it lives and carries the mark."""
    with _opened(pid) as pidfd:
        if pidfd >= 0 and carries(_environ(pid), mark):
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, number)


def tell(number: signal.Signals, mark: str, spare: Collection[int] = ()) -> list[int]:
    """Signal everything that carries the mark but for those pids; what that was. Waits for nothing and reaps nothing,
    and takes no lock: whoever started it may be in the middle of waiting for it.
    """
    found = [pid for pid in find_marked(mark) if pid not in spare]
    for pid in found:
        send(pid, number, mark)
    return found


def children(of: int = 0) -> list[int]:
    """The pids of the children of that process (0: ours), those not yet reaped included; none, when it is gone."""
    parent = of or os.getpid()
    found = []
    try:
        for thread in os.listdir(f"/proc/{parent}/task"):
            with suppress(ProcessLookupError), open(f"/proc/{parent}/task/{thread}/children") as file:
                found += [int(word) for word in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN, or a thread that has just ended
        return [pid for pid in _pids() if _parent(pid) == parent]
    return found


def is_fork(pid: int, of: int = 0) -> bool:
    """Whether that child of that process (0: ours) runs what its parent runs, by forks without an ``exec``: its
    environment lies at the same place.

    Such a process shows its parent's environment, without the mark that it may have put there later.
    """
    return _environment_place(pid) == _environment_place(of or os.getpid())


def reap(pid: int, patience: float = PATIENCE) -> None:
    """Wait for the end of a child that was adopted, at most so long; does nothing for what is not our child."""
    with _opened(pid) as pidfd:
        if pidfd >= 0:
            _reap(pidfd, time.monotonic() + patience)


def finish_off(pidfd: int, patience: float = PATIENCE) -> None:
    """SIGKILL to that process; returns when it is gone, whoever reaps it, or ``patience`` seconds are over."""
    with suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    _reap(pidfd, time.monotonic() + patience)


def await_group(leader: int, patience: float = PATIENCE) -> None:
    """Wait until nothing of a killed process group lives whose leader is reaped, at most so long. What nobody reaps
    (a container without an ``init``) counts as gone.
    """
    end = time.monotonic() + patience
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < end:
            os.killpg(leader, 0)
            if not any(_lives_in(leader, pid) for pid in _pids()):
                return
            time.sleep(0.001)


def _kill(pid: int, mark: str, end: float) -> None:
    with _opened(pid) as pidfd:
        if pidfd >= 0 and carries(_environ(pid), mark):
            finish_off(pidfd, end - time.monotonic())


def _reap(pidfd: int, end: float) -> None:
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    if waiting.poll(max(0, end - time.monotonic()) * 1000):
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)


@contextmanager
def _opened(pid: int) -> Iterator[int]:
    """A pidfd, or -1 when there is no such process."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        yield -1
        return
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _environ(pid: int) -> bytes:
    """Empty for what is gone, a zombie, or not ours."""
    for _ in range(_LOOKS):
        try:
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                found = file.read()
        except OSError:
            return b""
        if found or _has_none(pid):
            return found
        time.sleep(0.001)
    return b""


def _has_none(pid: int) -> bool:
    """Whether it has no environment for good; in the middle of ``exec`` a process has none for a moment."""
    try:
        os.readlink(f"/proc/{pid}/exe")  # neither zombies nor threads of the kernel have one
    except OSError:
        return True
    place = _environment_place(pid)
    return place is None or place[0] == place[1] != 0


def _environment_place(pid: int) -> tuple[int, int] | None:
    """Where its environment begins and ends in its memory, twice 0 for a zombie; None for what is gone."""
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        begin, end = file.read().rpartition(b")")[2].split()[47:49]
        return int(begin), int(end)
    return None


def _lives_in(group: int, pid: int) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        state, _parent, found = file.read().rpartition(b")")[2].split()[:3]
        return int(found) == group and state not in (b"Z", b"X")
    return False


def _parent(pid: int) -> int:
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])
    return 0
