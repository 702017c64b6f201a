"""Frames: whatever happens to the bytes, no wrong record is ever read and no undamaged one is missed."""

from __future__ import annotations

import struct
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_graceful.exceptions import PayloadTooLarge
from django_graceful.stores.leveldb import frames as frames_module
from django_graceful.stores.leveldb.frames import (
    HEAD,
    MAGIC,
    MAX_BODY,
    PEEK,
    Scan,
    encode,
    encode_many,
    encode_note,
    peek,
    read_note,
    scan,
)

#: Content that tries to look like frames: the magic, and heads with small, plausible and absurd lengths.
lures = st.sampled_from(
    [MAGIC, MAGIC * 3, HEAD.pack(MAGIC, 20, 0), HEAD.pack(MAGIC, 1 << 20, 1), b"\xff" * 12, b"\0" * 9]
)
contents = st.lists(st.one_of(st.binary(max_size=40), lures), max_size=4).map(b"".join)
queues = st.sampled_from(["mail", "search", "ü" * 100, "𝄞" * 100, "a"])


@st.composite
def frame_lists(draw: st.DrawFn) -> list[tuple[bytes, list[tuple[str, bytes]]]]:
    """Some frames and the entries of each; every record is different from all others."""
    frames = []
    for n, queue in enumerate(draw(st.lists(queues, min_size=1, max_size=8))):
        if draw(st.booleans()):
            records = [b"%d " % n + draw(contents)]
            frame = encode(queue, records[0])
        else:
            records = [b"%d.%d " % (n, m) + content for m, content in enumerate(draw(st.lists(contents, max_size=4)))]
            frame = encode_many(queue, records)
        frames.append((frame, [(queue, found) for found in records]))
    return frames


def spans(frames: list[tuple[bytes, list[tuple[str, bytes]]]]) -> list[tuple[int, int]]:
    return list(pairwise(accumulate((len(frame) for frame, _ in frames), initial=0)))


def is_subsequence(part: list[tuple[str, bytes]], whole: list[tuple[str, bytes]]) -> bool:
    rest = iter(whole)
    return all(entry in rest for entry in part)


def assert_only_undamaged(found: Scan, frames: list[tuple[bytes, list[tuple[str, bytes]]]], intact: list[bool]) -> None:
    whole = [entry for _, entries in frames for entry in entries]
    assert is_subsequence(found.entries, whole)
    for (_, entries), good in zip(frames, intact, strict=True):
        if good:
            assert all(entry in found.entries for entry in entries)


@given(frame_lists())
def test_what_was_encoded_is_found_again_in_order(frames: list[tuple[bytes, list[tuple[str, bytes]]]]) -> None:
    data = b"".join(frame for frame, _ in frames)
    found = scan(data)
    assert found.entries == [entry for _, entries in frames for entry in entries]
    assert found.end == len(data)
    assert found.damage == []


@given(frame_lists(), st.data())
def test_flipped_bytes_cost_the_frames_they_hit_and_no_other(
    frames: list[tuple[bytes, list[tuple[str, bytes]]]], data: st.DataObject
) -> None:
    raw = bytearray(b"".join(frame for frame, _ in frames))
    hits = data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=5, unique=True))
    for at in hits:
        raw[at] ^= data.draw(st.integers(1, 255))
    intact = [not any(first <= at < last for at in hits) for first, last in spans(frames)]
    assert_only_undamaged(scan(bytes(raw)), frames, intact)


@given(frame_lists(), st.data())
def test_a_missing_stretch_costs_the_frames_it_was_in_and_no_other(
    frames: list[tuple[bytes, list[tuple[str, bytes]]]], data: st.DataObject
) -> None:
    raw = b"".join(frame for frame, _ in frames)
    first = data.draw(st.integers(0, len(raw) - 1))
    last = data.draw(st.integers(first + 1, len(raw)))
    intact = [b <= first or a >= last for a, b in spans(frames)]
    assert_only_undamaged(scan(raw[:first] + raw[last:]), frames, intact)


@given(frame_lists(), contents.filter(bool), st.data())
def test_foreign_bytes_between_frames_are_passed_over_and_named(
    frames: list[tuple[bytes, list[tuple[str, bytes]]]], junk: bytes, data: st.DataObject
) -> None:
    raw = b"".join(frame for frame, _ in frames)
    first, _ = data.draw(st.sampled_from(spans(frames)))
    found = scan(raw[:first] + junk + raw[first:])
    assert found.entries == [entry for _, entries in frames for entry in entries]
    assert found.damage == [(first, first + len(junk))]


@given(frame_lists(), st.data())
def test_a_cut_end_is_left_undecided_wherever_it_is_cut(
    frames: list[tuple[bytes, list[tuple[str, bytes]]]], data: st.DataObject
) -> None:
    raw = b"".join(frame for frame, _ in frames)
    first, last = spans(frames)[-1]
    cut = data.draw(st.integers(first, last - 1))
    found = scan(raw[:cut])
    assert found.end == first
    assert found.damage == []
    assert found.entries == [entry for _, entries in frames[:-1] for entry in entries]


@pytest.mark.parametrize("length", [0, 1, 2, 300, 1 << 20, MAX_BODY, MAX_BODY + 1, 0xFFFFFFFF])
def test_a_damaged_length_does_not_swallow_the_frames_behind_it(length: int) -> None:
    damaged = bytearray(encode("mail", b"first" * 10))
    struct.pack_into("<I", damaged, 4, length)
    found = scan(bytes(damaged) + encode("mail", b"second") + encode("mail", b"third"))
    assert found.entries == [("mail", b"second"), ("mail", b"third")]
    assert found.damage == [(0, len(damaged))]


def test_records_of_one_push_that_was_cut_are_all_missing() -> None:
    frame = encode_many("mail", [b"%d" % n for n in range(50)])
    behind = encode("mail", b"behind")
    for cut in range(len(frame)):
        assert scan(frame[:cut] + behind).entries == [("mail", b"behind")]


def test_scanning_in_portions_finds_the_same_as_scanning_at_once() -> None:
    data = b"".join(encode("mail", b"%d" % n) for n in range(100)) + b"junk" + encode_many("search", [b"a", b"b"])
    entries, at = [], 0
    while at < len(data):
        found = scan(data[at:], 7)
        assert 1 <= len(found.entries) <= 8
        entries += found.entries
        at += found.end
    assert entries == scan(data).entries


def test_a_frame_that_checks_but_makes_no_sense_is_passed_over() -> None:
    from zlib import crc32

    bodies = [
        b"\x09\x00short",
        b"\x02\x00\xff\xferecord",
        b"\x01\x80q\xff\xff\xff\x7f",
        b"\x01\x80q\x02\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00xyz",
        b"\x00\x80\x00\x00\x00\x00",
    ]
    for body in bodies:
        frame = HEAD.pack(MAGIC, len(body), crc32(body)) + body
        found = scan(frame + encode("mail", b"good"))
        assert found.entries == [("mail", b"good")]
        assert found.damage == [(0, len(frame))]


def test_notes_hold_no_record() -> None:
    data = encode_note(b"header") + encode("mail", b"1") + encode_note() + encode("mail", b"2")
    assert scan(data).entries == [("mail", b"1"), ("mail", b"2")]
    assert scan(data).damage == []
    assert read_note(data) == b"header"
    assert read_note(encode("mail", b"1")) is None
    assert read_note(data[:5]) is None


def test_more_than_fits_into_one_frame_is_refused() -> None:
    half = bytes(MAX_BODY // 2)
    with pytest.raises(PayloadTooLarge, match="queue mail"):
        encode_many("mail", [half, half])
    with pytest.raises(PayloadTooLarge, match="queue mail"):
        encode("mail", half + half)


@given(frame_lists())
def test_a_peek_says_what_a_scan_finds(frames: list[tuple[bytes, list[tuple[str, bytes]]]]) -> None:
    for frame, entries in frames:
        length, queue, count = peek(frame[:PEEK]) or (0, "", 0)
        assert (length, count) == (len(frame), len(entries))
        assert all(queue == found for found, _ in entries)
    assert peek(encode_note(b"x")) == (len(encode_note(b"x")), "", 0)


@given(contents)
def test_a_peek_at_something_else_says_nothing(content: bytes) -> None:
    assert peek(b"x" + content) is None


def test_a_frame_above_the_bound_is_not_believed_even_if_it_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    long = encode("mail", bytes(200))
    monkeypatch.setattr(frames_module, "MAX_BODY", len(long) - HEAD.size - 1)
    found = scan(long + encode("mail", b"good"))
    assert found.entries == [("mail", b"good")]
    assert found.damage == [(0, len(long))]


def test_the_magic_never_occurs_in_text() -> None:
    for byte in MAGIC:
        with pytest.raises(UnicodeDecodeError):
            bytes([byte]).decode()
        assert all(byte not in chr(code).encode() for code in (0x7F, 0x7FF, 0xFFFF, 0x10FFFF))
