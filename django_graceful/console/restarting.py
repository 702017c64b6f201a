"""``restart``: new code for the web server without a request that fails or waits.

The new code is tried first (:mod:`~django_graceful.console.trying`); what can not be loaded is refused, because
gunicorn ends altogether when a worker does not boot. Then workers are added, one by one (TTIN); when all of them have
booted, which they tell in the table of nodes, as many of the oldest leave (TTOU), each after its last request. The
arbiter stays, so service managers see nothing of it. With ``--preload`` the code is in the arbiter, which is therefore
replaced: a new one starts (USR2), and when its workers have booted, the old one stops.

Every step waits for its effect, because two signals that are sent at the same time count as one.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from django_graceful.conf import get_conf
from django_graceful.console import replacing
from django_graceful.console.arguments import add_timeout
from django_graceful.console.desks import Desks
from django_graceful.console.report import Look, Report, Subcommand
from django_graceful.console.servers import Handle, Server, find_server, phases, workers
from django_graceful.console.text import plural
from django_graceful.console.trying import try_code
from django_graceful.console.waiting import LEAVING, Stuck, until
from django_graceful.descendants import children
from django_graceful.lifecycle import Phase

KEYS = """\
server: the pid of gunicorn's arbiter; after a replacement that of the new one
how: rolling, replaced (with --preload), or null when nothing was touched
old, new: lists of pids: the workers before and after
left: a list of pids: old workers that still finish their last requests
sidecar: whether runqueues starts again too
seconds: how long it took
failure: why it was refused or did not come to its end, or null"""

#: Seconds between two signals to an arbiter, at least.
_APART = 0.2
Say = Callable[[str], None]


def _arguments(parser: CommandParser) -> None:
    parser.add_argument("--wait", action="store_true", help="until the old workers have left")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pid", type=int, metavar="N", help="the pid of gunicorn's arbiter, when there are several")
    which.add_argument("--pid-file", metavar="FILE", help="the file that holds it")
    add_timeout(parser, 120)


def run_restart(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Restart the server that is meant; the report says how far that came."""
    server = find_server(options["pid"], options["pid_file"])
    began = time.monotonic()
    found: dict[str, Any] = {"server": server.arbiter, "how": None, "old": sorted(workers(server.arbiter))}
    found |= {"new": [], "left": [], "sidecar": False, "failure": None}
    try:
        with Handle(server.arbiter) as arbiter, _alone(server):
            look.say(f"{server.name}: trying the new code")
            refusal = try_code(server)
            if refusal:
                raise Stuck(f"{refusal}\nThe old workers serve on.")
            restart = replacing.replace if server.said["preload"] else roll
            restart(server, arbiter, found, options, look.say)
    except Stuck as stuck:
        found["failure"] = str(stuck)
    found["seconds"] = round(time.monotonic() - began, 3)
    return Report(found, "" if found["failure"] else _text(found), found["failure"] or "")


def _text(found: dict[str, Any]) -> str:
    text = f"{plural(len(found['new']), 'new worker')} after {found['seconds']:.1f} s"
    left = len(found["left"])
    return f"{text}; {plural(left, 'old one')} still {'finishes' if left == 1 else 'finish'}" if left else text


def roll(server: Server, arbiter: Handle, found: dict[str, Any], options: dict[str, Any], say: Say) -> None:
    """New workers beside the old ones, then the old ones leave. Fills in ``found``; raises ``Stuck``."""
    pid, graceful = arbiter.pid, float(server.said["graceful_timeout"])
    _let_leave(arbiter, graceful, say)
    old = workers(pid)
    found.update(how="rolling", old=sorted(old))
    for n in range(1, len(old) + 1):
        arbiter.send(signal.SIGTTIN)
        until(arbiter, partial(_so_many, n, _added, pid, old), options["timeout"], "gunicorn added no worker")
    _let_boot(arbiter, old, options["timeout"], say)
    for n in range(1, len(old) + 1):
        arbiter.send(signal.SIGTTOU)
        arbiter.ended(_APART)
        until(arbiter, partial(_so_many, n, _leaving, pid, old), graceful, "no old worker leaves")
    found["new"] = sorted(workers(pid) - old)
    found["sidecar"] = _restart_sidecar(server, say)
    if options["wait"]:
        _see_off(arbiter, old, graceful, say)
    found["left"] = sorted(workers(pid) & old)


def _let_leave(arbiter: Handle, graceful: float, say: Say) -> None:
    """gunicorn adds no worker while one that leaves is counted."""
    leaving = {pid for pid, phase in phases(arbiter.pid).items() if phase not in ("", Phase.RUNNING)}
    if leaving:
        say(f"waiting for {plural(len(leaving), 'worker')} to leave that an earlier restart has told to")
        until(arbiter, lambda: not leaving & workers(arbiter.pid), graceful + LEAVING, "a worker does not leave")


def _let_boot(arbiter: Handle, old: set[int], seconds: float, say: Say) -> None:
    told: set[int] = set()

    def all_booted() -> bool:
        new = phases(arbiter.pid).keys() - old
        for pid in sorted(new - told):
            told.add(pid)
            say(f"new worker {pid} has booted ({len(told)} of {len(old)})")
        return len(new) >= len(old)

    hint = "Old and new workers run beside each other now; gunicorn's log says more"
    until(arbiter, all_booted, seconds, f"not all new workers have booted. {hint}")


def _so_many(n: int, look: Callable[[int, set[int]], set[int]], pid: int, old: set[int]) -> bool:
    return len(look(pid, old)) >= n


def _added(pid: int, old: set[int]) -> set[int]:
    return workers(pid) - old


def _leaving(pid: int, old: set[int]) -> set[int]:
    """Of the old workers those that are gone, or know that they are to go."""
    alive, known = workers(pid), phases(pid)
    return {one for one in old if one not in alive or known.get(one, Phase.RUNNING) != Phase.RUNNING}


def _see_off(arbiter: Handle, old: set[int], graceful: float, say: Say) -> None:
    told: set[int] = set()

    def all_gone() -> bool:
        left = old & workers(arbiter.pid)
        for pid in sorted(old - left - told):
            told.add(pid)
            say(f"old worker {pid} has left ({len(told)} of {len(old)})")
        return not left

    until(arbiter, all_gone, graceful + LEAVING, "old workers have not left")


def _restart_sidecar(server: Server, say: Say) -> bool:
    keeper = server.said["sidecar"]
    if keeper not in children(server.arbiter) or not get_conf().sidecar:
        return False
    with Handle(keeper) as sidecar:
        sidecar.send(signal.SIGHUP)
    say("runqueues starts again with the new code, once what it runs is done")
    return True


@contextmanager
def _alone(server: Server) -> Iterator[None]:
    """One restart of a server at a time. The name is free again when this process ends, however it ends."""
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0django_graceful/restart/{server.arbiter}")
        except OSError:
            raise Stuck(f"{server.name} is being restarted by somebody else just now") from None
        yield


RESTART = Subcommand(
    "new code for the web server, without a request that fails or waits", KEYS, run_restart, _arguments
)
