"""The words that a master and its worker exchange over their socket; pure functions on bytes.

A frame is its body's length (u32), its kind (u8) and its body. See ``docs/architecture.md`` for the conversation.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from django_graceful.items import Outcome
from django_graceful.stores.base import Ending, Lease

_HEAD = struct.Struct("<IB")
_WORK = struct.Struct("<BBHI")
_ITEM = struct.Struct("<QI")
_DONE = struct.Struct("<QIQ")
_NEWS = struct.Struct("<HI")

#: Longer frames are a broken peer, not a message.
LONGEST = 1 << 30


class Kind(IntEnum):
    """What a frame is."""

    # master → worker
    WORK = 1
    ACK = 2
    RETIRE = 3
    NEWS = 4
    # worker → master
    READY = 16
    DONE = 17
    REPORT = 18
    ENDED = 19


class WireError(ValueError):
    """The peer sent what is not in the protocol; the connection is of no use any more."""


class Unit(NamedTuple):
    """What a worker starts with one token: one item, or one batch."""

    epoch: int
    queue: str
    #: A batch handler gets a list, even of one.
    batch: bool
    leases: list[Lease]
    #: The seconds that it may run (None: as long as it likes): the master's to know, not on the wire.
    limit: float | None = None

    @property
    def last(self) -> int:
        """The execution that stands for the unit on the slate."""
        return self.leases[-1].execution

    def has(self, execution: int | None) -> bool:
        """Whether that execution is one of the unit's; None is."""
        return execution is None or any(lease.execution == execution for lease in self.leases)


class Done(NamedTuple):
    """Everything up to execution ``upto`` is done: ``number`` items that took ``busy`` nanoseconds."""

    upto: int
    number: int
    busy: int


class Ended(NamedTuple):
    """These units, each named by its last execution, are done, and what each of them took, in nanoseconds."""

    executions: tuple[int, ...]
    took: tuple[int, ...]

    @property
    def busy(self) -> int:
        """What they took together."""
        return sum(self.took)


@dataclass(slots=True)
class Report:
    """How the unit that ran ended, where it was not plain success; the worker waits until it is written down."""

    done: list[int] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    busy: int = 0
    #: The worker will not take more: it was interrupted in the middle of foreign code.
    retiring: bool = False


def frame(kind: Kind, body: bytes = b"") -> bytes:
    """One frame."""
    return _HEAD.pack(len(body), kind) + body


def encode_work(epoch: int, queue: str, leases: Sequence[Lease], *, batch: bool) -> bytes:
    """A frame of ``leases``: one batch, or as many units as there are items."""
    name = queue.encode()
    parts = [_WORK.pack(epoch, batch, len(name), len(leases)), name]
    for lease in leases:
        parts.append(_ITEM.pack(lease.execution, len(lease.record)))
        parts.append(lease.record)
    return frame(Kind.WORK, b"".join(parts))


def decode_work(body: bytes) -> Iterator[Unit]:
    """The units of a ``WORK`` frame. Raises :class:`WireError`."""
    try:
        epoch, batch, name_length, count = _WORK.unpack_from(body)
        at = _WORK.size + name_length
        queue = body[_WORK.size : at].decode()
        leases = []
        for _ in range(count):
            execution, length = _ITEM.unpack_from(body, at)
            at += _ITEM.size
            leases.append(Lease(execution, body[at : at + length]))
            at += length
    except (struct.error, UnicodeDecodeError) as error:
        raise WireError(f"not a work frame: {error}") from error
    if at != len(body):
        raise WireError("a work frame with a wrong length")
    if batch:
        yield Unit(epoch, queue, True, leases)
        return
    for lease in leases:
        yield Unit(epoch, queue, False, [lease])


def encode_done(done: Done) -> bytes:
    """A ``DONE`` frame."""
    return frame(Kind.DONE, _DONE.pack(*done))


def encode_ended(ended: Ended) -> bytes:
    """An ``ENDED`` frame."""
    return frame(Kind.ENDED, struct.pack(f"<{2 * len(ended.executions)}Q", *ended.executions, *ended.took))


def encode_report(report: Report) -> bytes:
    """A ``REPORT`` frame."""
    endings = [
        [e.execution, e.outcome, e.delay, e.error, e.reason, e.by, e.result and e.result.decode(), e.result_ttl]
        for e in report.endings
    ]
    body = {"done": report.done, "endings": endings, "busy": report.busy, "retiring": report.retiring}
    return frame(Kind.REPORT, json.dumps(body).encode())


def _decode_report(body: bytes) -> Report:
    raw: dict[str, Any] = json.loads(body)
    endings = [
        Ending(int(e), Outcome(o), float(delay), error, str(reason), str(by), result and result.encode(), float(ttl))
        for e, o, delay, error, reason, by, result, ttl in raw["endings"]
    ]
    return Report([int(e) for e in raw["done"]], endings, int(raw["busy"]), bool(raw["retiring"]))


def decode_from_worker(kind: int, body: bytes) -> Done | Ended | Report | None:
    """What the worker says; None is ``READY``. Raises :class:`WireError`."""
    try:
        if kind == Kind.READY:
            return None
        if kind == Kind.DONE:
            return Done(*_DONE.unpack(body))
        if kind == Kind.ENDED:
            number = len(body) // 16
            words = struct.unpack(f"<{2 * number}Q", body)
            return Ended(words[:number], words[number:])
        if kind == Kind.REPORT:
            return _decode_report(body)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError(f"frame of kind {kind}: {error}") from error
    raise WireError(f"a worker sent a frame of kind {kind}")


class News(NamedTuple):
    """An item that was set aside without a worker: for the receivers of ``signals.dead``, which only a worker runs."""

    queue: str
    reason: str
    record: bytes


def encode_news(news: News) -> bytes:
    """A ``NEWS`` frame."""
    queue, reason = news.queue.encode(), news.reason.encode()
    return frame(Kind.NEWS, _NEWS.pack(len(queue), len(reason)) + queue + reason + news.record)


def decode_news(body: bytes) -> News:
    """The news of a ``NEWS`` frame. Raises :class:`WireError`."""
    try:
        queue, reason = _NEWS.unpack_from(body)
        texts = body[_NEWS.size : _NEWS.size + queue + reason].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise WireError(f"not a news frame: {error}") from error
    name = body[_NEWS.size : _NEWS.size + queue].decode()
    return News(name, texts[len(name) :], body[_NEWS.size + queue + reason :])


class Splitter:
    """Cuts a stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that ``data`` completes, as kind and body. Raises :class:`WireError` for an absurd length."""
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            length, kind = _HEAD.unpack_from(self._buffer, at)
            if length > LONGEST:
                raise WireError(f"a frame of {length} bytes")
            end = at + _HEAD.size + length
            if len(self._buffer) < end:
                break
            yield kind, bytes(self._buffer[at + _HEAD.size : end])
            at = end
        del self._buffer[:at]
