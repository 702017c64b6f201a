"""The wire: whatever bytes come, a frame is whole and right or a WireError."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_graceful.items import Outcome
from django_graceful.runner.wire import (
    Done,
    Kind,
    Report,
    Splitter,
    WireError,
    decode_from_worker,
    decode_work,
    encode_done,
    encode_report,
    encode_work,
    frame,
)
from django_graceful.stores.base import Ending, Lease

records = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.binary(max_size=50)), min_size=1, max_size=8)


def split(data: bytes) -> list[tuple[int, bytes]]:
    return list(Splitter().feed(data))


@given(st.integers(0, 255), st.text(max_size=20), records, st.booleans())
def test_work_survives_the_wire(epoch: int, queue: str, raw: list[tuple[int, bytes]], batch: bool) -> None:
    leases = [Lease(*pair) for pair in raw]
    [(kind, body)] = split(encode_work(epoch, queue, leases, batch=batch))
    units = list(decode_work(body))
    assert kind == Kind.WORK
    assert [lease for unit in units for lease in unit.leases] == leases
    assert len(units) == (1 if batch else len(leases))
    assert {(unit.epoch, unit.queue, unit.batch) for unit in units} == {(epoch, queue, batch)}


@given(st.lists(st.binary(max_size=30), max_size=6), st.data())
def test_frames_are_found_however_the_stream_is_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(Kind.DONE, body) for body in bodies)
    splitter, found, at = Splitter(), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, 20))
        found += splitter.feed(stream[at : at + step])
        at += step
    assert found == [(Kind.DONE, body) for body in bodies]


def test_what_a_worker_says_survives_the_wire() -> None:
    done = Done(1 << 50, 7, 123)
    [(kind, body)] = split(encode_done(done))
    assert decode_from_worker(kind, body) == done
    endings = [Ending(5, Outcome.RETRY, 1.5, {"type": "X"}, "why", "who", b'{"a": 1}', 60.0), Ending(6, Outcome.DEAD)]
    report = Report([3, 4], endings, 99, retiring=True)
    [(kind, body)] = split(encode_report(report))
    assert decode_from_worker(kind, body) == report
    assert decode_from_worker(Kind.READY, b"") is None


@given(st.integers(0, 255), st.binary(max_size=80))
def test_garbage_from_a_worker_is_a_wire_error_or_a_message(kind: int, body: bytes) -> None:
    with suppress(WireError):
        decode_from_worker(kind, body)


@given(st.binary(max_size=80))
def test_garbage_for_a_worker_is_a_wire_error_or_units(body: bytes) -> None:
    with suppress(WireError):
        list(decode_work(body))


def test_an_absurd_length_is_refused() -> None:
    with pytest.raises(WireError):
        split(b"\xff\xff\xff\xff\x01rest")
