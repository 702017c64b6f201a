"""What type checkers say about queues: every line that ends in ``# error`` is one, and no other line is.

Read by mypy in :mod:`tests.types.test_types`; pyright says the same. Never imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, assert_type

from django_graceful import Queue, get_queue, queue


class Photo(TypedDict):
    photo: int


@queue
def bare(payload: int) -> None: ...


@queue("plain", max_workers=4, key=lambda payload: payload["photo"])
def plain(payload: Photo) -> str:
    return "done"


@queue("waiting", timeout=3)
async def waiting(payload: list[str]) -> None: ...


@queue("batch", batch_length=50)
def batch(payloads: list[Photo]) -> list[Photo]:
    return payloads


@queue("waiting_batch", batch_length=50)
async def waiting_batch(payloads: Sequence[int]) -> None: ...


@queue("one", batch_length=1)
def one(payload: Photo) -> None: ...


@queue("nothing")
def nothing(payload: None) -> None: ...


@queue("anything")
def anything(payload: Any) -> None: ...


assert_type(bare, Queue[int])
assert_type(plain, Queue[Photo])
assert_type(waiting, Queue[list[str]])
assert_type(batch, Queue[Photo])
assert_type(waiting_batch, Queue[int])
assert_type(one, Queue[Photo])
assert_type(nothing, Queue[None])
assert_type(get_queue("plain"), Queue[Any])

assert_type(plain.push({"photo": 7}, delay=30, on_commit=True), str)
assert_type(plain.push_many([{"photo": 7}], priority=3), list[str])
bare.push(7)
waiting.push(["a"])
batch.push({"photo": 7})
waiting_batch.push_many(range(3))
nothing.push()
nothing.push(None, delay=3)
anything.push()
anything.push(object())
get_queue("plain").push()
get_queue("plain").push("text")

bare.push("7")  # error
bare.push()  # error
plain.push({"photos": 7})  # error
plain.push({"photo": 7}, dealy=30)  # error
plain.push_many([7])  # error
plain.push_many({"photo": 7})  # error
waiting.push([1])  # error
batch.push([{"photo": 7}])  # error
waiting_batch.push_many(["a"])  # error
nothing.push(7)  # error


async def inside() -> None:
    assert_type(await plain.apush({"photo": 7}), str)
    assert_type(await plain.apush_many([{"photo": 7}]), list[str])
    await nothing.apush()
    await plain.apush(7)  # error
    await plain.apush_many([7])  # error
