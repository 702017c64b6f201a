"""Several owners of one store (promises P2 and P8): no item is leased twice, and what is dead comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as BrokenConnection

from django_graceful.exceptions import StoreUnavailable
from django_graceful.items import RUN_ONCE, UNIQUE, Outcome, State, decode_item
from django_graceful.stores.base import Ending, Progress
from django_graceful.stores.redis import line as lines
from django_graceful.stores.redis.owner import LEASE_SECONDS, RENEW_SECONDS, RedisOwner
from tests.redis.kit import RedisKit, server
from tests.stores.kit import payload


@pytest.fixture
def other(kit: RedisKit) -> Iterator[RedisOwner]:
    """A second runner, at another seat."""
    found = kit.store.own(seat="another host")
    assert isinstance(found, RedisOwner)
    yield found
    found.close()


def state_of(kit: RedisKit, item_id: str) -> State | None:
    found = kit.owner.get(item_id)
    return found.state if found is not None else None


def test_a_new_owner_leaves_the_leases_of_other_seats_alone(kit: RedisKit) -> None:
    kit.push("x")
    lease = kit.take()
    asked: list[str] = []
    found = kit.store.own(asked.append, seat="another host")
    assert asked == []
    assert found.notices == []
    assert found.lease("q", 5, "w1") == []
    kit.done(lease)


def test_without_a_name_every_seat_is_a_new_one(kit: RedisKit) -> None:
    kit.push("x")
    first = kit.store.own()
    first.prepare()
    (lease,) = first.lease("q", 1, "w1")
    second = kit.store.own()
    assert second.notices == []
    assert first.finish([lease.execution]) == set()


@pytest.mark.parametrize("step", ["finish", "release", "renew"])
def test_what_nobody_renews_comes_back_to_the_front_with_one_crash_more(
    kit: RedisKit, other: RedisOwner, step: str
) -> None:
    kit.push("first", "second")
    late = kit.take("w7")
    kit.clock.now += LEASE_SECONDS - 0.1
    other.prepare()
    assert [payload(lease) for lease in other.lease("q", 5, "w1")] == ["second"]
    kit.clock.now += 0.1
    other.prepare()
    assert other.notices == ["queue q: 1 leases ran out, their runner is gone or can not reach redis"]
    (again,) = other.lease("q", 5, "w1")
    item = decode_item("q", again.record)
    assert (item.payload, item.attempt, item.crashes) == ("first", 0, 1)
    assert getattr(kit.owner, step)([late.execution]) == {late.execution}
    assert getattr(kit.owner, step)([late.execution]) == {late.execution}
    assert other.renew([again.execution]) == set()
    assert other.finish([again.execution]) == set()


def test_what_is_renewed_in_time_is_never_rescued(kit: RedisKit, other: RedisOwner) -> None:
    kit.push("slow", "slow too")
    leases = [lease.execution for lease in kit.lease(2)]
    for _ in range(10):
        kit.clock.now += RENEW_SECONDS
        other.prepare()
        assert kit.owner.renew(leases) == set()
    assert other.lease("q", 5, "w1") == []
    assert kit.owner.finish(leases) == set()


def test_two_renewals_may_fail(kit: RedisKit) -> None:
    assert 3 * RENEW_SECONDS < LEASE_SECONDS
    assert LEASE_SECONDS + 2 < 15, "P8: with the longest sleep of a runner"


def test_a_lease_that_ran_out_and_was_not_taken_away_is_still_its_owners(kit: RedisKit) -> None:
    kit.push("x")
    lease = kit.take()
    kit.clock.now += 10 * LEASE_SECONDS
    assert kit.owner.renew([lease.execution]) == set()
    kit.prepare()
    kit.done(lease)


def test_an_item_whose_hosts_die_again_and_again_is_dead_with_the_reason(kit: RedisKit, other: RedisOwner) -> None:
    (item_id,) = kit.push("poison")
    for _ in range(3):
        kit.take("w7")
        kit.clock.now += LEASE_SECONDS
        other.prepare()
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.item.crashes) == (State.DEAD, 3)
    assert found.detail["reason"] == "the lease of w7 at the only one ran out"


def test_an_item_that_must_not_run_twice_is_dead_when_its_lease_runs_out(kit: RedisKit, other: RedisOwner) -> None:
    (item_id,) = kit.push("once", flags=RUN_ONCE)
    kit.take()
    kit.clock.now += LEASE_SECONDS
    other.prepare()
    assert state_of(kit, item_id) is State.DEAD


def test_a_wish_outlives_the_host_that_should_have_heeded_it(kit: RedisKit, other: RedisOwner) -> None:
    (item_id,) = kit.push("x")
    kit.take()
    other.request_cancel(item_id, "eve", "stop")
    kit.clock.now += LEASE_SECONDS
    other.prepare()
    assert state_of(kit, item_id) is State.CANCELLED


def test_a_wish_goes_to_the_owner_that_runs_it_and_to_no_other(kit: RedisKit, other: RedisOwner) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    other.request_cancel(item_id, "eve", "stop")
    other.prepare()
    kit.prepare()
    assert other.wishes() == []
    assert [(wish.execution, wish.by) for wish in kit.owner.wishes()] == [(lease.execution, "eve")]
    assert kit.owner.wishes() == []


def test_two_rescuers_bring_an_item_back_once(kit: RedisKit, other: RedisOwner) -> None:
    kit.push(*range(50))
    kit.lease(50)
    third = kit.store.own(seat="third")
    kit.clock.now += LEASE_SECONDS
    owners = [other, third]
    threads = [threading.Thread(target=owner.prepare) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    items = [decode_item("q", lease.record) for lease in other.lease("q", 99, "w1")]
    assert [(item.payload, item.crashes) for item in items] == [(n, 1) for n in range(50)]


def test_a_key_that_runs_on_one_host_is_passed_over_on_another(kit: RedisKit, other: RedisOwner) -> None:
    kit.push("a", key="k", flags=UNIQUE)
    lease = kit.take()
    kit.push("b", key="k", flags=UNIQUE)
    other.prepare()
    assert other.lease("q", 5, "w1") == []
    kit.done(lease)
    other.prepare()
    assert [payload(found) for found in other.lease("q", 5, "w1")] == ["b"]


def test_executions_are_unique_over_queues_and_owners_and_rise_for_each_owner(kit: RedisKit, other: RedisOwner) -> None:
    seen: dict[str, list[int]] = {"one": [], "other": []}
    for number in range(3):
        kit.push("registered in this order", queue=f"q{number}")
    for number in range(12):
        queue = f"q{number * 2 % 3}"
        kit.push(*range(6), queue=queue)
        other.prepare()
        seen["one"] += [lease.execution for lease in kit.lease(2, queue=queue)]
        seen["other"] += [lease.execution for lease in other.lease(queue, 4, "w1")]
    both = seen["one"] + seen["other"]
    assert len(both) == len(set(both)) == 72
    assert seen["one"] == sorted(seen["one"])
    assert seen["other"] == sorted(seen["other"])
    assert max(both) < 1 << 63


def test_the_executions_of_one_lease_are_consecutive_in_stretches_that_hold_a_batch(kit: RedisKit) -> None:
    kit.push(*range(5000))
    numbers = [lease.execution for lease in kit.lease(5000)]
    assert numbers[:4096] == list(range(numbers[0], numbers[0] + 4096))
    assert numbers == sorted(set(numbers))


def test_after_all_keys_were_lost_no_execution_is_given_again(kit: RedisKit, other: RedisOwner) -> None:
    kit.push("x")
    late = kit.take()
    with server().client() as client:
        for key in client.scan_iter(f"*{kit.space}:*"):
            client.delete(key)
    kit.clock.now += 1
    kit.push("y")
    other.prepare()
    (again,) = other.lease("q", 1, "w1")
    assert again.execution > late.execution
    assert kit.owner.finish([late.execution]) == {late.execution}
    assert other.finish([again.execution]) == set()


def test_items_of_a_lease_whose_answer_never_came_go_back_uncounted(
    kit: RedisKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(client: Any, *command: Any) -> Any:
        real(client, *command)
        raise BrokenConnection("in the middle")

    real = lines.call
    kit.push(1, 2, 3)
    held = kit.take()
    with monkeypatch.context() as patch:
        patch.setattr(lines, "call", broken)
        with pytest.raises(StoreUnavailable, match="in the middle"):
            kit.owner.lease("q", 5, "w1")
    assert kit.counts().running == 3
    kit.prepare()
    assert kit.counts().running == 1
    items = [decode_item("q", lease.record) for lease in kit.lease(5)]
    assert [(item.payload, item.crashes) for item in items] == [(2, 0), (3, 0)]
    kit.done(held)


def test_an_ending_whose_answer_never_came_counts_once(kit: RedisKit, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(client: Any, *command: Any) -> Any:
        real(client, *command)
        raise BrokenConnection("in the middle")

    real = lines.call
    kit.push(1, 2)
    first, second = kit.lease(2)
    ending = Ending(second.execution, Outcome.RETRY, delay=5)
    with monkeypatch.context() as patch:
        patch.setattr(lines, "call", broken)
        with pytest.raises(StoreUnavailable):
            kit.owner.finish([first.execution], [ending])
    assert kit.owner.finish([first.execution], [ending]) == {first.execution, second.execution}
    assert (kit.counts().done, kit.counts().retried, kit.counts().running) == (1, 1, 0)


def test_owners_in_threads_share_the_work_and_each_item_is_done_once(kit: RedisKit) -> None:
    count = 2000
    kit.push(*range(count))
    done: list[Any] = []

    def run(number: int) -> None:
        owner = kit.store.own(seat=f"seat {number}")
        while kit.counts().done < count:
            owner.prepare()
            leases = owner.lease("q", 7, "w1")
            if number == 0 and len(leases) > 3:
                owner.release([leases.pop().execution])
            assert owner.finish([lease.execution for lease in leases]) == set()
            done.extend(map(payload, leases))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(count))
    assert kit.owner.check() == []


@pytest.mark.process
def test_the_work_of_a_killed_process_is_done_by_another_and_nothing_twice(kit: RedisKit) -> None:
    """The one that is killed says on standard output what it has leased and what it has finished."""
    kit.clock.now = 0  # the store below is on the server's clock
    kit.store.line._clock = None
    kit.push(*range(400))
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(root)}
    argv = [sys.executable, "-m", "tests.redis.worker", server().url, kit.space]
    with subprocess.Popen(argv, env=env, cwd=root, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = Counter(child.stdout.readline().split()[0] for _ in range(150))
        child.send_signal(signal.SIGKILL)
        said += Counter(line.split()[0] for line in child.stdout if line.endswith("\n"))
    assert said["finished"] >= 10
    left = kit.counts()
    assert left.done >= said["finished"]
    back = kit.store.own(lambda _: Progress(0, 0), seat="worker")
    assert left.running == (0 if not back.notices else int(back.notices[0].split()[-3]))
    rest = 0
    while back.prepare() or back.ready():
        leases = back.lease("q", 50, "w1")
        rest += len(leases)
        assert back.finish([lease.execution for lease in leases]) == set()
    assert left.done + rest == 400
    assert kit.owner.check() == []


def test_a_wish_that_could_not_be_read_is_read_the_next_time(kit: RedisKit, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: lines.Line, queue: str) -> Any:
        raise StoreUnavailable("just now")

    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.owner.request_cancel(item_id)
    with monkeypatch.context() as patch:
        patch.setattr(lines.Line, "wishes", broken)
        with pytest.raises(StoreUnavailable):
            kit.owner.wishes()
    assert [wish.execution for wish in kit.owner.wishes()] == [lease.execution]
