"""A storm: threads that push short jobs of random kinds and cancel them at random moments, and what is true then."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from django_graceful.items import State
from django_graceful.stores import get_store
from django_graceful.stores.base import CancelReply, StoreAdmin
from tests.cancel import queues
from tests.harness import Runner, Site, until

GRACE = 0.3
SETTINGS = {"CANCEL_GRACE": GRACE, "HAMMER_AFTER": 5, "KILL_AFTER": 1, "MAX_PROCESSES": 6, "MAX_CRASHES": 3}
#: How often a kind of job is chosen. Those that are killed cost a grace each.
WEIGHTS = {
    "loop": 4,
    "sleep": 6,
    "checks": 4,
    "command": 2,
    "in C": 1,
    "swallows": 1,
    "async": 3,
    "batch": 3,
    "seated": 3,
}
QUEUES: dict[str, Any] = {"async": queues.astorm, "batch": queues.bstorm, "seated": queues.tstorm}
#: Kinds of which several run in one worker: an interrupted neighbour begins again, and its handler may be left.
TOGETHER = ("batch", "seated")
LONGEST = {"in C": 2.5 * GRACE, "swallows": 2.5 * GRACE}


@dataclass
class Pushed:
    """One job, and what was said when it was cancelled (None: nobody did)."""

    n: int
    kind: str
    seconds: float
    id: str = ""
    reply: CancelReply | None = None


@dataclass
class Storm:
    """``cancels`` cancels by ``threads`` threads. A runner serves the site; the same seed gives the same jobs."""

    site: Site
    seed: int
    cancels: int
    threads: int = 4
    jobs: list[Pushed] = field(default_factory=list)
    name: str = field(default_factory=lambda: f"storm-{uuid.uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def start(self) -> Runner:
        env = {"STORM": self.name, "GRACEFUL_TEST_APP": "tests.cancel", "GRACEFUL_TEST_EXTRA": json.dumps(SETTINGS)}
        return self.site.runner(env=env).serving()

    def rage(self) -> None:
        """Push and cancel until enough was cancelled."""
        bodies = [threading.Thread(target=self._rage, args=(number,)) for number in range(self.threads)]
        for body in bodies:
            body.start()
        for body in bodies:
            body.join()
        if self._errors:
            raise self._errors[0]

    def _rage(self, number: int) -> None:
        try:
            dice = random.Random(self.seed * 100 + number)
            with get_store().admin() as admin:
                for _ in range(-(-self.cancels // self.threads)):
                    self._one(dice, admin)
        except BaseException as error:
            self._errors.append(error)

    def _one(self, dice: random.Random, admin: StoreAdmin) -> None:
        """Push a few, and cancel one of them at a random moment: before it runs, while it does, when it is over."""
        jobs = [self._push(dice) for _ in range(dice.choice([1, 1, 1, 2]))]
        victim = dice.choice(jobs)
        if dice.random() < 0.75:
            with suppress(AssertionError):
                until(lambda: self._begun(victim.n), "it to begin", 0.5 + dice.random())
        time.sleep(dice.random() * 1.1 * victim.seconds)
        victim.reply = admin.request_cancel(victim.id, by="storm", reason=str(victim.n))

    def _push(self, dice: random.Random) -> Pushed:
        (kind,) = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
        seconds = round(dice.random() ** 2 * LONGEST.get(kind, 0.12), 3)
        queue = QUEUES.get(kind, queues.storm)
        with self._lock:
            n = len(self.jobs)
            self.jobs.append(job := Pushed(n, kind, seconds))
        job.id = queue.push({"n": n, "kind": kind, "seconds": seconds})
        return job

    def _begun(self, n: int) -> bool:
        if not self.site.out.exists():
            return False
        with self.site.out.open("rb") as file:
            file.seek(max(0, self.site.out.stat().st_size - 4096))
            return f"\nrun {n} ".encode() in file.read()

    def calm(self) -> dict[str, int]:
        """Wait until nothing waits or runs; the totals over all queues."""
        with get_store().admin() as admin:

            def quiet() -> list[Any]:
                counts = list(admin.counts().values())
                left = sum(c.waiting + c.running + c.scheduled + c.retrying for c in counts)
                return counts if not left else []

            counts = until(quiet, "the queues to drain", 60 + self.cancels / 50)
            assert admin.check() == []
        names = ("pushed", "done", "stopped", "died", "retried", "discarded", "dead", "cancelled")
        return {name: sum(getattr(c, name) for c in counts) for name in names}

    def outlived(self) -> list[psutil.Process]:
        """Processes that carry the storm's name in their environment, zombies apart."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("STORM") == self.name:
                    found.append(process)
        return found

    def verdict(self) -> Verdict:
        """What became of every job."""
        return Verdict(self)


class Verdict:
    """The handlers' words and the store's against what was asked."""

    def __init__(self, storm: Storm) -> None:
        self.jobs = storm.jobs
        self.said: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.charged: list[str] = []
        for line in storm.site.lines():
            word, n, *rest = line.split() if line != "swallowed" else (line, -1)
            self.said[int(n)][word if word != "outcome" else f"outcome {rest[0]}"] += 1
            if word == "run" and rest != ["0", "0"]:
                self.charged.append(line)
        with get_store().admin() as admin:
            self.states = {job.n: found.state if (found := admin.get(job.id)) else None for job in storm.jobs}
        self.asked = [job for job in storm.jobs if job.reply is not None]

    def complaints(self) -> list[str]:
        """Everything that is not as promised."""
        found = [f"charged: {line}" for line in self.charged]
        for job in self.jobs:
            state, said = self.states[job.n], self.said[job.n]
            found += [f"{job} is {state}, said {dict(said)}: {what}" for what in self._wrong(job, state, said)]
        return found

    def _wrong(self, job: Pushed, state: State | None, said: Counter[str]) -> list[str]:
        alone = job.kind not in TOGETHER
        wrong = {
            "ended in no way of its own": state not in (None, State.CANCELLED),
            "it was hit, and nobody had asked": job.reply is None and (state is not None or (alone and said["caught"])),
            "it ran twice": (alone and said["start"] > 1) or said["end"] > 1,
            "done without its end": state is None and alone and said["end"] != 1,
            "two outcomes": alone and sum(n for word, n in said.items() if word.startswith("outcome")) > 1,
            "cancelled at once, but it ran": job.reply is CancelReply.CANCELLED and alone and said["start"] > 0,
            "cancelled at once, but it is not": job.reply is CancelReply.CANCELLED and state is not State.CANCELLED,
            "unknown, but it was cancelled": job.reply is CancelReply.UNKNOWN and state is not None,
        }
        return [what for what, is_so in wrong.items() if is_so]

    def story(self) -> str:
        """In numbers."""
        replies = Counter(str(job.reply) for job in self.asked)
        first = sum(job.reply is CancelReply.ASKED and self.states[job.n] is None for job in self.asked)
        kinds = Counter(job.kind for job in self.asked)
        return f"{len(self.jobs)} jobs, cancels {dict(replies)}, {first} done first, kinds {dict(kinds)}"


def seed() -> int:
    """The seed of this run; ``GRACEFUL_TEST_SEED`` repeats one."""
    return int(os.environ.get("GRACEFUL_TEST_SEED", random.randrange(1 << 30)))
