"""Output within a bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from django_graceful.captures import Capture


def filled(limit: int, *parts: bytes) -> bytes:
    capture = Capture(limit)
    for part in parts:
        capture.add(part)
    return capture.value()


def test_what_fits_is_kept_as_it_is() -> None:
    assert filled(10, b"01234", b"56789") == b"0123456789"


def test_of_more_the_beginning_and_the_end_are_kept_and_the_gap_is_named() -> None:
    assert filled(4, b"abcdefgh") == b"ab\n[... 4 bytes cut ...]\ngh"


@given(st.integers(2, 50), st.lists(st.binary(max_size=40), max_size=30))
def test_any_output_in_any_pieces_keeps_head_and_tail(limit: int, parts: list[bytes]) -> None:
    whole, value = b"".join(parts), filled(limit, *parts)
    if len(whole) <= limit:
        assert value == whole
    else:
        first = limit // 2
        last = limit - first
        assert value == whole[:first] + b"\n[... %d bytes cut ...]\n" % (len(whole) - limit) + whole[-last:]


def test_memory_stays_bounded_whatever_comes() -> None:
    capture = Capture(1000)
    for _ in range(1000):
        capture.add(b"x" * 1000)
        assert len(capture._tail) <= 2000
