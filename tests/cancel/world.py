"""One runner in a box: the real engine, pump, handles, links and executors; in place of the kernel's processes, signals
and clock there is the explorer, which decides what happens next (:mod:`tests.cancel.actors`).
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from fcntl import LOCK_UN, flock, ioctl
from pathlib import Path
from termios import FIONREAD
from typing import Any
from unittest import mock

from django_graceful.items import TIMED, State, decode_header, encode_record
from django_graceful.runner import dispatch, handing, pump, watch, worker
from django_graceful.runner.handle import Stage
from django_graceful.runner.slate import Word
from django_graceful.stores.base import CancelReply, StoreOwner
from django_graceful.stores.engine.kv import MemoryKV
from django_graceful.stores.engine.owner import Engine
from tests.cancel.actors import Actor
from tests.cancel.box import Loop, Slates, Time, install, mind
from tests.cancel.boxed import LIMIT

#: Seconds for a cancel. Time passes by more than that at once.
GRACE = 2.0


@dataclass(frozen=True)
class Plan:
    """What may happen in a world. ``kinds``: what each item's handler does."""

    kinds: tuple[str, ...] = ("done", "done")
    workers: int = 1
    #: Items that somebody asks to cancel.
    cancels: tuple[int, ...] = (0,)
    #: Deaths of workers by somebody else's SIGKILL, and of the whole runner.
    deaths: int = 0
    crashes: int = 0
    #: How often time may pass: longer than the grace.
    ticks: int = 0
    hammer: bool = False


class World:
    """A fresh store with the plan's items in it, and a runner. ``path`` is an empty directory."""

    alive = True

    def __init__(self, plan: Plan, path: Path) -> None:
        self.plan, self.path = plan, path
        self.time = Time()
        self.kv = MemoryKV()
        self.workers: dict[int, Any] = {}
        self.handles: list[Any] = []
        #: What is to come: orders of the plan that were not given yet.
        self.cancels, self.deaths, self.crashes = list(plan.cancels), plan.deaths, plan.crashes
        self.ticks, self.hammer = plan.ticks, plan.hammer
        #: What happened: (what, item, execution).
        self.story: list[tuple[str, int, int]] = []
        self.replies: dict[int, tuple[CancelReply, int]] = {}
        self.errors: list[str] = []
        #: Executions that have begun, by item.
        self.begun: dict[int, list[int]] = {n: [] for n in range(len(plan.kinds))}
        self.ids = [bytes(15) + bytes([n + 1]) for n in range(len(plan.kinds))]
        install(self.time, self.send, self.errors)
        self._open()
        for n, kind in enumerate(plan.kinds):
            data = f'[{n}, "{kind}"]'.encode()
            limit = {"flags": TIMED, "meta": b'{"timeout": %g}' % LIMIT} if kind == "timed" else {}
            self.owner.push("boxed", [encode_record(self.ids[n], data, pushed_at=0, **limit)])

    def _open(self) -> None:
        self.owner: StoreOwner = Engine(self.kv, clock=self.time.time, witness=Slates(self.path).witness)
        Slates(self.path).clear()
        self.loop = Loop()
        self.master = Actor("master", self.loop.run)
        limits = watch.Limits(GRACE, GRACE, 1000.0, None, None)
        crew = handing.Crew(self, limits, lambda name: True, lambda: None, self.plan.workers)  # type: ignore[arg-type]
        asyncio._set_running_loop(self.loop)  # type: ignore[arg-type]
        try:
            self.pump = pump.Pump("boxed", self.owner, Slates(self.path), crew)
        finally:
            asyncio._set_running_loop(None)
        if self.plan.workers == 1:  # quick items, as far as is known: both are handed out at once
            self.pump._lanes["boxed"] = dispatch.Lane("boxed", 1, cost=1e-5, chunk=2)
        self.pump.kick()

    # -- in place of the fork server ------------------------------------------------------------------------------

    def spawn(self, name: str, slate: Path, fds: list[int], child: Any) -> None:
        sock, tokens = socket.socket(fileno=os.dup(fds[0])), os.dup(fds[1])
        actor: Any = Actor("worker", lambda: worker.work(sock, tokens, slate))
        actor.world, actor.child, actor.sock, actor.tokens, actor.signals = self, child, sock, tokens, 0
        pid = 1000 + len(self.workers)
        self.handles.append(child)
        self.workers[pid] = actor
        actor.pidfd = os.open(os.devnull, os.O_RDONLY)
        self.loop.call_soon(child.spawned, pid, actor.pidfd)

    def kill(self, pid: int) -> None:
        self.die(pid)

    def die(self, pid: int, status: int = -9) -> None:
        """The end of a worker, by SIGKILL or by itself."""
        actor = self.workers[pid]
        if not actor.dead:
            self.bury(actor)
            self.loop.call_soon(actor.child.exited, status)

    def bury(self, actor: Any) -> None:
        """What the kernel does with a dead process."""
        actor.dead = True
        actor.sock.close()
        os.close(actor.tokens)
        if hasattr(actor, "slate"):
            flock(actor.slate._fd, LOCK_UN)

    def send(self, pidfd: int) -> None:
        for actor in self.workers.values():
            if actor.pidfd == pidfd and not actor.dead:
                actor.signals = 1

    # -- what can happen ------------------------------------------------------------------------------------------

    def actions(self) -> list[tuple[Any, ...]]:
        """Everything that could happen next. The first ones happen by themselves, the others only if somebody wants."""
        return [*self.due(), *self.possible()]

    def due(self) -> list[tuple[Any, ...]]:
        """What happens sooner or later."""
        found: list[tuple[Any, ...]] = [("master",)] if self.master.ready else []
        for pid, actor in self.workers.items():
            if actor.over and not actor.dead:
                found.append(("reap", pid))
            elif not actor.dead:
                found += [("worker", pid)] * actor.ready + [("signal", pid)] * bool(actor.signals)
        return found

    def possible(self) -> list[tuple[Any, ...]]:
        """What somebody may do."""
        found: list[tuple[Any, ...]] = [("cancel", n) for n in self.cancels]
        if self.deaths:
            found += [("die", pid) for pid, actor in self.workers.items() if not actor.dead]
        found += [("crash",)] * bool(self.crashes) + [("hammer",)] * self.hammer
        return found + [("tick",)] * bool(self.ticks and self.loop.timer)

    def act(self, action: tuple[Any, ...]) -> None:
        """Let it happen."""
        getattr(self, "_do_" + action[0])(*action[1:])

    def _do_master(self) -> None:
        self.master.step()

    def _do_worker(self, pid: int) -> None:
        self.workers[pid].step()

    def _do_reap(self, pid: int) -> None:
        self.die(pid, 0)

    def _do_signal(self, pid: int) -> None:
        actor = self.workers[pid]
        actor.signals = 0
        if hasattr(actor, "stopper"):
            actor.step(lambda: actor.stopper._on_signal(0, None))

    def _do_cancel(self, n: int) -> None:
        self.cancels.remove(n)
        self.loop.call_soon(self._cancel, n)

    def _cancel(self, n: int) -> None:
        found = self.owner.get(self.ids[n].hex())
        execution = found.detail.get("execution", 0) if found is not None else 0
        self.replies[n] = self.owner.request_cancel(self.ids[n].hex(), "ada", "wrong list"), execution
        self.story.append(("asked", n, execution))
        self.pump.kick()
        self.loop.call_soon(self._granted, n)

    def _granted(self, n: int) -> None:
        """The turn after the question is over."""
        self.story.append(("granted", n, 0))

    def wrote(self, word: Word, execution: int) -> None:
        """A worker has written on its slate that this execution begins, or that it ended well."""
        for unit in (unit for known in self.handles for unit in known.units):
            if unit.last == execution:
                n = self.ids.index(decode_header(unit.leases[0].record).id)
                if word == Word.STARTED:
                    self.begun[n].append(execution)
                else:
                    self.story.append(("finished", n, execution))

    def _do_die(self, pid: int) -> None:
        self.deaths -= 1
        self.die(pid)

    def _do_tick(self) -> None:
        self.ticks -= 1
        self.pass_time()

    def pass_time(self) -> None:
        self.time.now += GRACE * 1.1
        self.pump.kick()

    def _do_hammer(self) -> None:
        self.hammer = False
        self.loop.call_soon(self.pump.drain, self.time.now)
        self.loop.call_soon(self.pump.hammer)

    def _do_crash(self) -> None:
        """SIGKILL of everything, and a new runner."""
        self.crashes -= 1
        self.master.unwind()
        for actor in self.workers.values():
            if not actor.dead:
                self.bury(actor)
        self._let_go()
        self.story.append(("crash", -1, 0))
        self._open()

    # -- what it is -----------------------------------------------------------------------------------------------

    def key(self) -> int:
        """What the future depends on."""
        master = [mind(part) for part in (self.pump, self.pump._settlement, *self.handles)]
        master += [mind(known.hands) for known in self.handles]
        workers = [None if actor.dead else self._of(actor) for actor in self.workers.values()]
        orders = (self.cancels, self.deaths, self.crashes, self.ticks, self.hammer, self.time.now, self.replies)
        calls = [getattr(act, "__qualname__", "") for act, _ in self.loop.callbacks]
        stored = list(self.kv.scan(b"\0", b"\xff"))
        loop = (self.master.trace, self.loop.timer is None, len(self.loop.writers))
        return hash(repr((stored, orders, self.story, calls, loop, self.owner.ready(), master, workers)))

    def _of(self, actor: Any) -> Any:
        """A worker's mind, its slate, and what is on its way to it and from it."""
        files = [actor.sock, actor.tokens] + [actor.child._sock] * (actor.child._sock.fileno() >= 0)
        pending = [ioctl(file, FIONREAD, bytes(4)) for file in files]
        parts = [mind(vars(actor)[part]) for part in ("link", "stopper") if part in vars(actor)]
        slate = actor.slate._map[:128] if "slate" in vars(actor) else b""
        return actor.trace, actor.signals, actor.over, pending, slate, parts

    def settle(self) -> None:
        """Nothing more happens unless time passes: let it, until nothing runs."""
        for _ in range(10):
            busy = any(known.units and known.stage is not Stage.GONE for known in self.handles)
            if not busy and self.owner.next_due() is None and not (self.owner.ready() and self.pump.leasing):
                return
            self.pass_time()
            while due := self.due():
                self.act(due[0])

    def outcome(self, n: int) -> State | None:
        """Where the item is; None: it is done."""
        found = self.owner.get(self.ids[n].hex())
        return None if found is None else found.state

    def close(self) -> None:
        """Let go of everything."""
        for actor in [self.master, *self.workers.values()]:
            if actor is not self.master and not actor.dead:
                self.bury(actor)
            actor.unwind()
        self._let_go()
        for actor in self.workers.values():
            if hasattr(actor, "slate"):
                actor.slate.close()
            os.close(actor.pidfd) if actor.child._pidfd < 0 else None
        Slates(self.path).clear()

    def _let_go(self) -> None:
        """Close the master's ends; the slates stay."""
        for known in self.handles:
            if known._sock.fileno() >= 0:
                known._slates = mock.Mock()
                known.close()
        self.handles.clear()
