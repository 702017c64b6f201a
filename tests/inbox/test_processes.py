"""The inbox between real processes: many at once, killed, stopped, forked, out of space."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from django_graceful.stores.leveldb.board import Board
from django_graceful.stores.leveldb.inbox import Inbox
from django_graceful.stores.leveldb.wake import WakeReceiver
from tests.inbox.helpers import Owner, python, record, segment_names, wait_until

pytestmark = pytest.mark.process

#: Pushes "<name> <n>" and says so after each push that returned; now and then many at once.
PRODUCER = """
import os, sys
from pathlib import Path
from django_graceful.stores.leveldb.inbox import Inbox
from tests.inbox.helpers import record

store, name, count, many = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
inbox, n = Inbox(store), 0
while n < count:
    size = many if n % 7 == 0 else 1
    inbox.append("mail", [record(f"{name} {m}") for m in range(n, n + size)], 10_000_000)
    n += size
    os.write(1, b"%d\\n" % n)
"""


def finish(process: subprocess.Popen[str]) -> None:
    assert process.wait(60) == 0
    assert process.stdout is not None
    process.stdout.close()


def of(name: str, texts: list[str]) -> list[int]:
    return [int(text.split()[1]) for text in texts if text.split()[0] == name]


def test_four_processes_push_while_the_owner_takes_in_and_changes_segments(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board")
    owner = Owner(tmp_path, board=board, rotate_at=5_000)
    names = ["a", "b", "c", "d"]
    producers = [python(PRODUCER, tmp_path, name, 10_000, 3, bufsize=1 << 20) for name in names]
    outputs = [_drain(producer) for producer in producers]
    while any(producer.poll() is None for producer in producers):
        owner.take(limit=100)
    owner.take()
    for producer, output in zip(producers, outputs, strict=True):
        output.join()
        finish(producer)
    for name in names:
        found = of(name, owner.texts)
        assert found == list(range(len(found)))
        assert len(found) >= 10_000
    # how often depends on how fast this machine is; that it did so under load does not
    assert int(segment_names(tmp_path)[-1][:8]) > 1
    assert len(segment_names(tmp_path)) == 1
    assert owner.damage == []
    board.close()


def _drain(process: subprocess.Popen[str]) -> Any:
    from threading import Thread

    assert process.stdout is not None
    reader = Thread(target=process.stdout.read)
    reader.start()
    return reader


def test_producers_that_are_killed_at_any_place_lose_nothing_that_was_pushed(tmp_path: Path) -> None:
    owner = Owner(tmp_path, rotate_at=2000)
    pushed: dict[str, int] = {}
    for kill in range(25):
        name = f"p{kill}"
        producer = python(PRODUCER, tmp_path, name, 1_000_000, 40)
        assert producer.stdout is not None
        lines = []
        for _ in range(1 + kill * 3):
            lines.append(producer.stdout.readline())
            owner.store_batch(limit=5)
            owner.advance()
        producer.send_signal(signal.SIGKILL)
        lines += producer.stdout.readlines()
        producer.stdout.close()
        producer.wait(60)
        pushed[name] = int(lines[-1])
        owner.take()
        if kill % 5 == 4:
            owner.crash()
    for name, count in pushed.items():
        found = of(name, owner.texts)
        # at most the one push that had not returned is there as well, whole
        assert found == list(range(len(found)))
        assert count <= len(found) <= count + 40
    assert max(Counter(owner.texts).values()) == 1
    survivor = Inbox(tmp_path)
    survivor.append("mail", [record("survivor 0")])
    assert owner.take() == ["survivor 0"]
    assert len(segment_names(tmp_path)) == 1
    survivor.close()


#: Takes the shared lock as a push does, says so, and never comes to the write until it goes on.
STOPPED = """
import os, signal, sys
from pathlib import Path
from django_graceful.stores.leveldb import inbox as module
from tests.inbox.helpers import record

inbox = module.Inbox(Path(sys.argv[1]))
inbox.append("mail", [record("before")])
write = os.write

def stop(fd, data):
    write(1, b"stopped\\n")
    os.kill(os.getpid(), signal.SIGSTOP)
    return write(fd, data)

module.os.write = stop
inbox.append("mail", [record("after")])
"""


def test_a_producer_that_is_stopped_in_its_push_blocks_neither_the_owner_nor_others(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board")
    owner = Owner(tmp_path, board=board, rotate_at=200)
    stopped = python(STOPPED, tmp_path)
    assert stopped.stdout is not None
    assert stopped.stdout.readline() == "stopped\n"
    inbox = Inbox(tmp_path)
    try:
        started = monotonic()
        for n in range(50):
            inbox.append("mail", [record(n)], 1000)
            owner.take()
        assert monotonic() - started < 20
        assert owner.texts == ["before", *map(str, range(50))]
        assert len(segment_names(tmp_path)) == 2
    finally:
        stopped.send_signal(signal.SIGCONT)
    finish(stopped)
    assert owner.take() == ["after"]
    assert len(segment_names(tmp_path)) == 1
    inbox.close()
    board.close()


#: Pushes until there is no room, says why, gets room, and goes on. Names what it pushed.
OUT_OF_SPACE = """
import resource, sys
from pathlib import Path
from django_graceful.exceptions import StoreFull
from django_graceful.stores.leveldb.inbox import Inbox
from tests.inbox.helpers import record

def allow(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

inbox, n, errors = Inbox(Path(sys.argv[1])), 0, []
allow(10_000)
for size in (10_000, 20_000):
    allow(size)
    while True:
        try:
            inbox.append("mail", [record(f"{n} {'x' * (n % 90)}")] * (n % 3 + 1))
        except StoreFull as error:
            errors.append(str(error))
            if len(errors) % 4 == 0:
                break
        else:
            print(n)
            n += 1
allow(-1)
inbox.append("mail", [record(n)])
print(n)
print(errors[-1], file=sys.stderr)
"""


def test_without_space_pushes_fail_clearly_and_with_space_they_go_on(tmp_path: Path) -> None:
    process = python(OUT_OF_SPACE, tmp_path, stderr=subprocess.PIPE)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert str(tmp_path) in errors
    assert "ulimit -f" in errors
    pushed = [int(line) for line in output.split()]
    owner = Owner(tmp_path)
    owner.take()
    found = [int(text.split()[0]) for text in owner.texts]
    assert found == [n for n in pushed[:-1] for _ in range(n % 3 + 1)] + pushed[-1:]
    assert owner.damage == []


#: Forks with an open inbox, while another thread is in the middle of a push and has the lock.
FORK = """
import os, sys, threading
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from django_graceful.stores.leveldb import inbox as module
from tests.inbox.helpers import record

store = Path(sys.argv[1])
inbox = module.Inbox(store)
inbox.append("mail", [record("parent 0")])
inside, go_on, write, parent = threading.Event(), threading.Event(), os.write, os.getpid()

def slow(fd, data):
    if os.getpid() == parent:
        inside.set()
        go_on.wait()
    return write(fd, data)

module.os.write = slow
thread = threading.Thread(target=inbox.append, args=("mail", [record("parent 1")]))
thread.start()
inside.wait()
child = os.fork()
if not child:
    # not ours any more: neither the lock of the thread nor the descriptor that shares the parent's flock
    for n in range(20):
        inbox.append("mail", [record(f"child {n}")], 1000)
    probe = os.open(store / "inbox" / "00000001.log", os.O_RDWR)
    try:
        flock(probe, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        os._exit(0)
    os._exit(1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go_on.set()
thread.join()
inbox.append("mail", [record("parent 2")])
sys.exit(code)
"""


def test_a_child_forked_in_the_middle_of_a_push_has_its_own_inbox(tmp_path: Path) -> None:
    finish(python(FORK, tmp_path))
    owner = Owner(tmp_path, rotate_at=1)
    owner.take()
    assert of("child", owner.texts) == list(range(20))
    assert of("parent", owner.texts) == [0, 1, 2]
    assert segment_names(tmp_path) == ["00000002.log"]


#: The child of a killed parent lives on; what the parent had locked must not stay locked.
ORPHAN = """
import os, signal, sys, time
from pathlib import Path
from django_graceful.stores.leveldb import inbox as module
from tests.inbox.helpers import record

inbox = module.Inbox(Path(sys.argv[1]))
inbox.append("mail", [record("parent 0")])
write, parent = os.write, os.getpid()

def fork_in_push(fd, data):
    if os.getpid() == parent and not os.fork():
        write(1, b"%d\\n" % os.getpid())
        signal.pause()
    os.kill(parent, signal.SIGKILL)

module.os.write = fork_in_push
inbox.append("mail", [record("parent 1")])
"""


def test_a_child_of_a_killed_producer_holds_no_lock(tmp_path: Path) -> None:
    process = python(ORPHAN, tmp_path)
    assert process.stdout is not None
    orphan = int(process.stdout.readline())
    try:
        assert process.wait(60) == -signal.SIGKILL
        owner = Owner(tmp_path, rotate_at=1)
        wait_until(lambda: [owner.take(), len(segment_names(tmp_path)) == 1][1])
        assert owner.texts == ["parent 0"]
        assert segment_names(tmp_path) != ["00000001.log"]
    finally:
        os.kill(orphan, signal.SIGKILL)
        process.stdout.close()


#: An owner that sleeps whenever there is nothing, and says each time when it woke and what it found.
SLEEPER = """
import select, sys
from pathlib import Path
from django_graceful.stores.leveldb.board import Board
from django_graceful.stores.leveldb.wake import WakeReceiver
from tests.inbox.helpers import Owner

store, count = Path(sys.argv[1]), int(sys.argv[2])
receiver, board = WakeReceiver(store), Board.create(store / "board")
owner = Owner(store, board=board)
print("ready", flush=True)
while len(owner.taken) < count:
    owner.take()
    board.sleeping = True
    if not owner.intake.pending():
        print("slept", len(owner.taken), flush=True)
        if len(owner.taken) < count and not select.select([receiver.socket], [], [], 60)[0]:
            sys.exit("nobody woke me")
    board.sleeping = False
    receiver.drain()
"""


def test_a_sleeping_owner_is_woken_by_every_push_in_good_time(tmp_path: Path) -> None:
    sleeper = python(SLEEPER, tmp_path, 1000)
    assert sleeper.stdout is not None
    assert sleeper.stdout.readline() == "ready\n"
    inbox, slow = Inbox(tmp_path), 0.0
    for n in range(100):
        wait_until(lambda n=n: sleeper.stdout.readline() == f"slept {n}\n")
        started = monotonic()
        inbox.append("mail", [record(n)])
        slow = max(slow, monotonic() - started)
    # and without waiting for its sleep: no push may fall between its last look and its sleep
    for n in range(900):
        inbox.append("mail", [record(n)])
    assert sleeper.stdout.read().endswith("slept 1000\n")
    finish(sleeper)
    assert slow < 5
    inbox.close()


def test_an_owner_that_is_stopped_in_its_sleep_blocks_no_push(tmp_path: Path) -> None:
    board, receiver, inbox = Board.create(tmp_path / "board"), WakeReceiver(tmp_path), Inbox(tmp_path)
    board.sleeping = True
    started = monotonic()
    for n in range(2000):
        inbox.append("mail", [record(n)], 100_000)
    assert monotonic() - started < 20
    assert Owner(tmp_path).take() == [str(n) for n in range(2000)]
    inbox.close()
    receiver.close()
    board.close()
