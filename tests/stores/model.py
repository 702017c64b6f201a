"""A store in its simplest form: a dict of items and the rules of the contract, with no thought for speed or disks."""

from __future__ import annotations

from dataclasses import dataclass, field

from django_graceful.items import RUN_ONCE, UNIQUE, UNTIL_FINISHED, Outcome, State
from django_graceful.stores.base import Progress

S = State
LIVE = (S.WAITING, S.SCHEDULED, S.RETRYING)


@dataclass
class ModelItem:
    id: str
    place: tuple[int, int]
    state: State
    key: str = ""
    flags: int = 0
    due: float = 0.0
    attempt: int = 0
    crashes: int = 0
    execution: int = 0
    owner: str = ""
    wished: bool = False


@dataclass
class Model:
    """One queue."""

    max_crashes: int = 3
    items: dict[str, ModelItem] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
    paused: bool = False
    pushes: int = 0
    totals: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("pushed", "duplicates", "done", "retried", "died", "stopped", "discarded"), 0
        )
    )

    def of(self, state: State) -> list[ModelItem]:
        return [item for item in self.items.values() if item.state is state]

    def running(self) -> dict[int, ModelItem]:
        return {item.execution: item for item in self.of(S.RUNNING)}

    def push(self, item_id: str, priority: int, due: float, now: float, key: str, flags: int) -> str:
        self.pushes += 1
        known = item_id if item_id in self.items else self.holders.get(key, "") if flags & UNIQUE else ""
        if known:
            self.totals["duplicates"] += 1
            return known
        state = S.SCHEDULED if due > now else S.WAITING
        item = ModelItem(item_id, (-priority, self.pushes), state, key, flags, due)
        self.items[item_id] = item
        self.take_key(item)
        self.totals["pushed"] += 1
        return item_id

    def prepare(self, now: float) -> None:
        for item in self.of(S.SCHEDULED) + self.of(S.RETRYING):
            if item.due <= now:
                item.state = S.WAITING

    def lease(self, limit: int) -> list[ModelItem]:
        """What a lease must give, in order."""
        busy = {item.key for item in self.of(S.RUNNING) if item.flags & UNIQUE}
        found: list[ModelItem] = []
        for item in sorted(self.of(S.WAITING), key=lambda item: item.place):
            if len(found) == limit or self.paused:
                break
            if item.flags & UNIQUE:
                if item.key in busy:
                    continue
                busy.add(item.key)
            found.append(item)
        return found

    def start(self, item: ModelItem, execution: int, owner: str) -> None:
        item.state, item.execution, item.owner, item.wished = S.RUNNING, execution, owner, False
        if item.flags & UNIQUE and not item.flags & UNTIL_FINISHED:
            self.free_key(item)

    def end(
        self, item: ModelItem, outcome: Outcome | None, *, now: float, delay: float = 0, failed: bool = False
    ) -> None:
        """``None`` is a release."""
        if outcome is Outcome.DONE:
            self.totals["done"] += 1
            self.remove(item)
        elif outcome is Outcome.DEAD:
            item.attempt += failed
            self.aside(item, S.DEAD)
        elif item.wished or outcome is Outcome.CANCELLED:
            self.aside(item, S.CANCELLED)
        elif outcome is Outcome.RETRY:
            item.attempt += 1
            item.due = now + delay
            item.state = S.RETRYING
            self.totals["retried"] += 1
            self.take_key(item)
        else:
            self.come_back(item, outcome)

    def come_back(self, item: ModelItem, outcome: Outcome | None) -> None:
        item.crashes += outcome is Outcome.CRASHED
        if outcome is not None and (item.flags & RUN_ONCE or item.crashes >= self.max_crashes):
            self.aside(item, S.DEAD)
        else:
            item.state = S.WAITING
            self.take_key(item)

    def crash(self, known: dict[str, Progress | None], now: float) -> None:
        for execution, item in self.running().items():
            progress = known[item.owner]
            if progress is None:
                outcome = Outcome.CRASHED if item.flags & RUN_ONCE else None
            elif execution <= progress.finished:
                outcome = Outcome.DONE
            else:
                outcome = Outcome.CRASHED if execution <= progress.started else None
            self.end(item, outcome, now=now)

    def cancel(self, item: ModelItem) -> str:
        if item.state is S.RUNNING:
            item.wished = True
            return "asked"
        if item.state in LIVE:
            self.aside(item, S.CANCELLED)
            return "cancelled"
        return "unknown"

    def cancel_all(self, key: str | None) -> tuple[int, int]:
        """How many are cancelled at once, and how many runs are asked that had not been asked before."""
        meant = [item for item in self.items.values() if key is None or item.key == key]
        asked = [item for item in meant if item.state is S.RUNNING and not item.wished]
        waiting = [item for item in meant if item.state in LIVE]
        for item in asked + waiting:
            self.cancel(item)
        return len(waiting), len(asked)

    def retry(self, item: ModelItem, now: float) -> None:
        if item.flags & UNIQUE and item.key in self.holders:
            self.remove(item)
            return
        self.totals["died" if item.state is S.DEAD else "stopped"] -= 1
        if item.attempt or item.due <= now:
            item.due = 0
        item.attempt = item.crashes = 0
        item.state = S.SCHEDULED if item.due else S.WAITING
        self.take_key(item)

    def discard(self, item: ModelItem) -> None:
        self.totals["discarded"] += item.state in LIVE
        self.remove(item)

    def aside(self, item: ModelItem, state: State) -> None:
        item.state = state
        self.totals["died" if state is S.DEAD else "stopped"] += 1
        self.free_key(item)

    def remove(self, item: ModelItem) -> None:
        self.free_key(item)
        del self.items[item.id]

    def take_key(self, item: ModelItem) -> None:
        if item.flags & UNIQUE:
            self.holders.setdefault(item.key, item.id)

    def free_key(self, item: ModelItem) -> None:
        if item.flags & UNIQUE and self.holders.get(item.key) == item.id:
            del self.holders[item.key]
