from __future__ import annotations

import threading

from django_graceful.spill.inlet import Inlet


def test_what_was_put_is_taken_once_by_queue_and_in_order() -> None:
    inlet = Inlet()
    inlet.put("a", [b"1", b"2"])
    inlet.put("b", [b"3"])
    inlet.put("a", [b"4"])
    assert (inlet.count("a"), inlet.count("b"), inlet.count("c")) == (3, 1, 0)
    assert inlet
    assert inlet.take() == {"a": [b"1", b"2", b"4"], "b": [b"3"]}
    assert not inlet
    assert inlet.take() == {}


def test_what_nobody_has_taken_can_be_taken_back() -> None:
    inlet = Inlet()
    inlet.put("a", [b"1"])
    inlet.take()
    inlet.put("a", [b"2", b"3"])
    assert inlet.take_back("a", [b"1", b"3"]) == [b"3"]
    assert inlet.take_back("never seen", [b"1"]) == []
    assert inlet.take() == {"a": [b"2"]}


def test_of_many_threads_that_put_take_and_take_back_each_record_goes_to_exactly_one() -> None:
    inlet, got, number = Inlet(), [[], [], [], []], 4000  # type: ignore[var-annotated]
    begin = threading.Barrier(4)

    def put(me: int) -> None:
        begin.wait()
        for n in range(number):
            record = b"%d %d" % (me, n)
            inlet.put("a", [record])
            if n % 2:
                got[me] += inlet.take_back("a", [record])

    def take(me: int) -> None:
        begin.wait()
        while any(thread.is_alive() for thread in threads[:2]):
            got[me] += inlet.take().get("a", [])

    threads = [threading.Thread(target=put, args=(me,)) for me in (0, 1)]
    threads += [threading.Thread(target=take, args=(me,)) for me in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sum(got, inlet.take().get("a", []))
    assert len(found) == len(set(found)) == 2 * number
