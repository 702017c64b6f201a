"""Handing items over to the other store: the same records, so the same ids, and pushing one twice changes nothing.

A dead item is handed over as one that waits, with the mark that it is dead (``ended`` in its meta): whoever leases it
does not run it, and it is dead there too, with its errors. It gives up its unique key, so that it never stands in the
way of a fresh item.

One thread hands over at a time; who comes second waits for the first, until its own deadline. Times are of
``time.monotonic``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from django_graceful.conf import get_conf
from django_graceful.exceptions import RecordError
from django_graceful.items import UNIQUE, UNTIL_FINISHED, decode_item, id_of
from django_graceful.spill.keeper import Keeper, Left
from django_graceful.stores import get_store

logger = logging.getLogger("django_graceful.spill")

#: The most records, and bytes, of one push.
_RECORDS: Final = 500
_BYTES: Final = 4 << 20
#: Seconds between two tries.
_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
#: Seconds that one waits at least for another who hands over just now.
_TURN: Final = 0.2


class Handover:
    """From the keeper of the store ``alias`` to the store ``to``."""

    def __init__(self, alias: str, to: str, keeper: Keeper) -> None:
        self._alias, self._to, self._keeper = alias, to, keeper
        self._lock = threading.Lock()
        #: Set when somebody has less time than whoever tries again and again.
        self._hurry = threading.Event()
        self._lamented: set[bytes] = set()

    def dead(self) -> bool:
        """What is dead, now; whether all of it is over there. Later calls try again."""
        return self._all(time.monotonic(), dead_only=True)

    def all(self, deadline: float) -> bool:
        """Everything that does not run, again and again until ``deadline`` or until somebody calls :meth:`rescue`;
        whether all of it is over there.
        """
        return self._all(deadline, dead_only=False)

    def rescue(self, deadline: float) -> bool:
        """As :meth:`all`, for the last time: what can not be handed over until then is written to a file, and named in
        the log as loudly as can be.
        """
        self._hurry.set()
        if self._all(deadline, dead_only=False):
            return True
        self._lament()
        return False

    def _all(self, deadline: float, *, dead_only: bool) -> bool:
        if not self._lock.acquire(timeout=max(_TURN, deadline - time.monotonic())):
            return False
        try:
            return self._try(deadline, dead_only=dead_only)
        finally:
            self._lock.release()

    def _try(self, deadline: float, *, dead_only: bool) -> bool:
        last, pause = self._hurry.is_set(), 0.0
        while (error := self._pass(dead_only=dead_only)) is not None:
            if not pause:
                logger.warning("store %s: nothing can be handed over to store %s now: %s", self._alias, self._to, error)
            if time.monotonic() >= deadline or self._hurry.is_set() > last:
                return False
            pause = min(2 * pause or _PAUSE, _LONGEST_PAUSE)
            if last:
                time.sleep(pause)
            else:
                self._hurry.wait(pause)
        return True

    def _pass(self, *, dead_only: bool) -> Exception | None:
        """Hand over what there is; the error that was in the way."""
        handed: list[tuple[Left, list[bytes]]] = []
        try:
            for left in self._keeper.left(dead_only=dead_only):
                for records in _portions(left.records):
                    pushed = [_unkeyed(record) for record in records] if left.dead else records
                    get_store(self._to).push(left.queue, pushed)
                    handed.append((left, records))
        except Exception as error:
            return error
        finally:  # not in between: perhaps there is no time, and what is over there is safe
            for left, records in handed:
                self._keeper.forget(left, records)
        if handed:
            number = sum(len(records) for _, records in handed)
            logger.info("store %s: %d items were handed over to store %s", self._alias, number, self._to)
        return None

    def _lament(self) -> None:
        lost = [(left, record) for left in self._keeper.left() for record in left.records]
        lost = [(left, record) for left, record in lost if id_of(record) not in self._lamented]
        self._lamented.update(id_of(record) for _, record in lost)
        if not lost:
            return
        path = _write_down([_line(left, record) for left, record in lost], self._to)
        where = f"they are in {path}, a line each" if path else "no file could be written either"
        what = f"{len(lost)} items could not be handed over to store {self._to}"
        logger.critical("store %s: %s; %s", self._alias, what, where)
        for left, record in lost:
            size = len(_payload(left.queue, record)[0])
            logger.critical("queue %s: item %s, payload of %d bytes", left.queue, id_of(record).hex(), size)


def _portions(records: Sequence[bytes]) -> Iterator[list[bytes]]:
    found: list[bytes] = []
    size = 0
    for record in records:
        if found and (len(found) == _RECORDS or size + len(record) > _BYTES):
            yield found
            found, size = [], 0
        found.append(record)
        size += len(record)
    if found:
        yield found


def _unkeyed(record: bytes) -> bytes:
    """The record of an item that is not unique; everything else as it is."""
    return record[:1] + bytes([record[1] & ~(UNIQUE | UNTIL_FINISHED)]) + record[2:]


def _payload(queue: str, record: bytes) -> tuple[bytes, dict[str, Any]]:
    try:
        item = decode_item(queue, record)
        return item.payload_json, {
            "payload": item.payload, "key": item.key, "priority": item.priority, "attempt": item.attempt,
            "pushed_at": item.pushed_at, "not_before": item.not_before,
        }  # fmt: skip
    except RecordError:
        return record, {}


def _line(left: Left, record: bytes) -> str:
    about = {"queue": left.queue, "item": id_of(record).hex(), "dead": left.dead}
    return json.dumps(about | _payload(left.queue, record)[1] | {"record": base64.b64encode(record).decode()})


def _write_down(lines: Sequence[str], to: str) -> Path | None:
    """In the directory of the other store, else where temporary files go; None: nowhere."""
    name = f"unspilled-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"
    conf = get_conf().store(to)
    places: list[Callable[[], Path]] = [lambda: Path(tempfile.gettempdir()) / f"graceful-{name}"]
    if conf.backend == "leveldb":
        places.insert(0, lambda: conf.path / name)
    for place in places:
        try:
            return _write_new(place(), "\n".join(lines) + "\n")
        except OSError:
            continue
    return None


def _write_new(path: Path, text: str) -> Path:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
