from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_graceful import items
from django_graceful.exceptions import RecordError
from django_graceful.items import (
    HEADER,
    KNOWN_FLAGS,
    MAX_PRIORITY,
    MIN_PRIORITY,
    Item,
    decode_header,
    decode_item,
    decode_meta,
    encode_header,
    encode_meta,
    encode_record,
    id_of,
    micros,
    new_id,
)

_counts = st.integers(0, 0xFFFF)
_times = st.integers(0, 1 << 52)
_json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)
_metas = st.dictionaries(st.text(max_size=5), _json, max_size=3)
fields = st.fixed_dictionaries(
    {
        "key": st.text(max_size=100),
        "priority": st.integers(MIN_PRIORITY, MAX_PRIORITY),
        "attempt": _counts,
        "crashes": _counts,
        "flags": st.integers(0, KNOWN_FLAGS),
        "pushed_at": _times,
        "not_before": _times,
        "meta": _metas.map(encode_meta),
    }
)


def record(payload: bytes = b'{"photo":7}', **given_fields: Any) -> bytes:
    return encode_record(b"i" * 16, payload, **({"pushed_at": 1} | given_fields))


def read_everything(data: bytes) -> None:
    """As a store, a master and a worker do, one after the other."""
    header = decode_header(data)
    decode_meta(header.meta)
    encode_header(header, data)
    item = decode_item("q", data)
    _ = item.payload, item.errors


@given(st.binary(min_size=16, max_size=16), _json, fields)
def test_a_record_gives_back_what_went_into_it(item_id: bytes, payload: Any, given_fields: dict[str, Any]) -> None:
    data = encode_record(item_id, json.dumps(payload).encode(), **given_fields)
    item = decode_item("mail", data)
    assert item == Item(
        id=item_id.hex(),
        queue="mail",
        key=given_fields["key"],
        priority=given_fields["priority"],
        attempt=given_fields["attempt"],
        crashes=given_fields["crashes"],
        pushed_at=given_fields["pushed_at"] / 1e6,
        not_before=given_fields["not_before"] / 1e6,
        flags=given_fields["flags"],
        meta=decode_meta(given_fields["meta"]),
        payload_json=json.dumps(payload).encode(),
    )
    assert item.payload == payload
    assert id_of(data) == item_id


@given(fields, fields, st.binary(max_size=50))
def test_a_new_header_changes_the_header_and_not_the_payload(
    old: dict[str, Any], new: dict[str, Any], payload: bytes
) -> None:
    data = record(payload, **old)
    changed = encode_header(replace(decode_header(data), **new), data)
    assert changed == record(payload, **new)


@given(fields)
def test_an_unchanged_header_gives_the_same_record(given_fields: dict[str, Any]) -> None:
    data = record(**given_fields)
    assert encode_header(decode_header(data), data) == data


@given(fields)
def test_a_record_cut_short_in_its_header_key_or_meta_is_a_record_error(given_fields: dict[str, Any]) -> None:
    data = record(**given_fields)
    for end in range(decode_header(data).payload_at):
        with pytest.raises(RecordError):
            decode_header(data[:end])


@settings(max_examples=300)
@given(
    fields,
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 300),
)
def test_a_damaged_record_is_read_or_refused_and_raises_nothing_else(
    given_fields: dict[str, Any], damage: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(record(**given_fields))
    for at, byte in damage:
        data[at % len(data)] = byte
    with suppress(RecordError):
        read_everything(bytes(data[: len(data) - cut] if cut < len(data) else data))


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused_and_raises_nothing_else(noise: bytes) -> None:
    for data in (noise, b"\x01\x00" + noise, b"\x01\x00" + bytes(HEADER.size - 2) + noise):
        with suppress(RecordError):
            read_everything(data)


def test_a_record_of_another_format_is_refused_not_guessed_at() -> None:
    data = bytearray(record())
    data[0] = 2
    with pytest.raises(RecordError, match=r"record format 2 .* is not known to this release, which writes 1"):
        decode_header(bytes(data))


def test_a_flag_that_this_release_does_not_know_is_refused() -> None:
    with pytest.raises(RecordError, match="flags 32"):
        decode_header(record(flags=KNOWN_FLAGS + 1))


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff", b"[" * 100_000, b'"\xed\xa0\x80"', b"1" * 5000], ids=lambda p: repr(p[:8])
)
def test_a_damaged_payload_is_a_record_error_when_it_is_asked_for(payload: bytes) -> None:
    item = decode_item("mail", record(payload))
    with pytest.raises(RecordError, match="the payload is not JSON"):
        _ = item.payload


@pytest.mark.parametrize("meta", [b"[]", b"5", b"{", b"\xff", b"[" * 100_000], ids=lambda m: repr(m[:8]))
def test_a_damaged_meta_is_a_record_error(meta: bytes) -> None:
    with pytest.raises(RecordError, match="meta"):
        decode_item("mail", record(meta=meta))


def test_a_key_that_is_no_text_is_a_record_error() -> None:
    data = bytearray(record(key="ab"))
    data[HEADER.size] = 0xFF
    with pytest.raises(RecordError, match="key is not UTF-8"):
        decode_header(bytes(data))


@pytest.mark.parametrize("errors", [None, 5, {"type": "x"}])
def test_errors_that_are_no_list_are_none(errors: Any) -> None:
    assert Item("i", "q", meta={"errors": errors}).errors == []


def test_errors_are_those_in_meta() -> None:
    assert Item("i", "q", meta={"errors": [{"type": "OSError"}]}).errors == [{"type": "OSError"}]
    assert Item("i", "q").errors == []


def test_no_meta_takes_no_bytes() -> None:
    assert encode_meta({}) == b""
    assert decode_meta(b"") == {}


def test_a_traceback_with_an_undecodable_file_name_can_be_kept() -> None:
    assert decode_meta(encode_meta({"errors": [{"message": "no file a\udcff.txt"}]})) == {
        "errors": [{"message": "no file a?.txt"}]
    }


def test_the_payload_is_stored_as_the_producer_wrote_it() -> None:
    assert decode_item("q", record(b' {"b": 1,\n"a":2}')).payload_json == b' {"b": 1,\n"a":2}'


def test_micros_are_whole() -> None:
    assert micros(1.5) == 1_500_000


def test_an_id_is_a_version_7_uuid_of_now() -> None:
    before = time.time_ns() // 1_000_000
    found = uuid.UUID(bytes=new_id())
    after = time.time_ns() // 1_000_000
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert before <= found.int >> 80 <= after


def test_ids_rise_in_the_order_in_which_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(made)


def test_ids_of_one_moment_differ_and_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items.time, "time_ns", lambda: 1_900_000_000_123_456_789)
    made = [new_id() for _ in range(10_000)]
    assert len(set(made)) == 10_000
    assert made == sorted(made)


def test_ids_of_each_quarter_of_a_microsecond_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(1_900_000_000_000_000_000, 1_900_000_000_010_000_000, 250))
    monkeypatch.setattr(items.time, "time_ns", lambda: next(moments))
    made = [new_id()[:8] for _ in range(40_000)]
    assert all(one < other for one, other in pairwise(made))


def test_threads_never_make_the_same_id() -> None:
    made: list[list[bytes]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def work(found: list[bytes]) -> None:
        start.wait()
        found.extend(new_id() for _ in range(10_000))

    threads = [threading.Thread(target=work, args=(found,)) for found in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set().union(*made)) == 40_000


_FORKING = """
import os, sys, time
from django_graceful import items
items.time.time_ns = lambda: 1_900_000_000_000_000_000   # the worst case: every id of one moment
items.new_id()
children = []
for _ in range(4):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, b"".join(items.new_id() for _ in range(1000)))
        os._exit(0)
    children.append((pid, reading))
    os.close(writing)
data = b"".join(items.new_id() for _ in range(1000))
for pid, reading in children:
    with os.fdopen(reading, "rb") as file:
        data += file.read()
    os.waitpid(pid, 0)
print(len(data) // 16, len({data[at:at + 16] for at in range(0, len(data), 16)}))
"""


@pytest.mark.process
def test_forked_processes_never_make_the_same_id() -> None:
    found = subprocess.run([sys.executable, "-c", _FORKING], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == ["5000", "5000"]
