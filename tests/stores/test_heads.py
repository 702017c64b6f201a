"""The head of a queue in memory: in order, bounded, and never without an item that it claims to know."""

from __future__ import annotations

import random

from django_graceful.stores.engine import counters, heads
from django_graceful.stores.engine.heads import Head


def key(number: int) -> bytes:
    return b"R%06d" % number


def known(head: Head) -> list[bytes]:
    return [found for found, _ in head.entries]


def fresh() -> Head:
    head = Head(b"R")
    head.beyond = None
    return head


def test_a_new_head_knows_nothing_and_takes_nothing_in() -> None:
    head = Head(b"R")
    head.add(key(1), b"")
    assert known(head) == []
    assert head.beyond == b"R"


def test_items_are_given_in_order_however_they_came() -> None:
    head = fresh()
    for number in (5, 1, 9, 3, 7):
        head.add(key(number), b"x")
    assert [found for found, _ in head.take(2)] == [key(1), key(3)]
    head.add(key(2), b"x")
    assert [found for found, _ in head.take(9)] == [key(2), key(5), key(7), key(9)]


def test_a_removed_item_is_not_given() -> None:
    head = fresh()
    for number in range(4):
        head.add(key(number), b"x")
    head.remove(key(2))
    head.remove(key(99))
    assert known(head) == [key(0), key(1), key(3)]


def test_a_full_head_leaves_what_follows_to_the_disk() -> None:
    head = fresh()
    for number in range(heads.LENGTH + 10):
        head.add(key(number), b"x")
    assert len(head.entries) == heads.LENGTH
    assert head.beyond == key(heads.LENGTH)
    head.take(heads.LENGTH)
    head.add(key(heads.LENGTH + 11), b"x")
    assert known(head) == [], "the disk has earlier ones"


def test_large_records_fill_a_head_by_their_size() -> None:
    head = fresh()
    record = bytes(1 << 20)
    for number in range(100):
        head.add(key(number), record)
    assert len(head.entries) == heads.BYTES >> 20
    head.take(4)
    head.load([(key(50), record)], None)
    head.add(key(51), record)
    assert len(head.entries) == (heads.BYTES >> 20) - 2


def test_urgent_items_push_the_last_ones_out_to_the_disk() -> None:
    head = fresh()
    for number in range(100_000, 100_000 + heads.LENGTH):
        head.add(key(number), b"x")
    for number in range(heads.LENGTH + 1):
        head.add(key(number), b"x")
    assert len(head.entries) == heads.LENGTH
    assert known(head) == [key(number) for number in range(heads.LENGTH)]
    assert head.beyond == key(heads.LENGTH)


def test_large_urgent_items_are_bounded_too() -> None:
    head = fresh()
    record = bytes(1 << 20)
    for number in reversed(range(100)):
        head.add(key(number), record)
    assert len(head.entries) <= 3 * heads.BYTES >> 20
    assert known(head) == [key(number) for number in range(len(head.entries))]
    assert head.beyond == key(len(head.entries))


def test_whatever_happens_everything_before_beyond_is_known() -> None:
    chance = random.Random(3)
    head, there = fresh(), set()
    for _ in range(30_000):
        number = chance.randrange(100_000)
        if key(number) not in there:
            head.add(key(number), b"x")
            there.add(key(number))
        if chance.random() < 0.05:
            there -= {found for found, _ in head.take(chance.randrange(20))}
        if chance.random() < 0.05:
            gone = key(chance.randrange(100_000))
            head.remove(gone)
            there.discard(gone)
    beyond = head.beyond
    assert known(head) == sorted(found for found in there if beyond is None or found < beyond)


def test_where_what_is_on_disk_begins_is_only_ever_moved_on() -> None:
    head = Head(key(0))
    for to, beyond in ((key(7), key(7)), (key(3), key(7)), (key(9), key(9)), (None, None), (key(12), None)):
        head.skip_to(to)
        assert head.beyond == beyond


def test_numbers_below_zero_are_stored_as_zero() -> None:
    tally = [-1, *range(11)]
    stored = counters.pack(tally, "mail")
    assert counters.unpack(stored) == [0, *range(11)]
    assert counters.name_in(stored) == "mail"
    assert counters.unpack(b"short") == counters.unpack(None) == [0] * 12
