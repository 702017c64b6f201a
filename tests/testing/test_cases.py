"""The mixin in Django's own test cases."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase

from django_graceful import get_queue, queue
from django_graceful.stores import get_store
from django_graceful.stores.memory import MemoryStore
from django_graceful.test import QueuesMixin
from tests.site.queues import noop


def rename(payload: dict[str, Any]) -> None:
    with transaction.atomic():
        Group.objects.filter(pk=payload["group"]).update(name="renamed")
        get_queue("after").push(payload, on_commit=True)


@pytest.fixture(autouse=True)
def declared(registry: dict[str, Any]) -> None:
    queue("rename")(rename)
    queue("after")(nothing)


def nothing(payload: Any) -> None: ...


class Shared(QueuesMixin):
    def committed(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def check_the_whole_way(self) -> None:
        with self.committed(), transaction.atomic():
            group = Group.objects.create(name="old")
            get_queue("rename").push({"group": group.pk}, on_commit=True)
            self.assertNotPushed("rename")
        self.assertPushed("rename", {"group": group.pk}, count=1)
        assert [ran.queue for ran in self.queues.run_queued()] == ["rename", "after"]
        group.refresh_from_db()
        assert group.name == "renamed"


class InOneTransaction(Shared, TestCase):
    def committed(self) -> AbstractContextManager[Any]:
        return self.captureOnCommitCallbacks(execute=True)

    @classmethod
    def setUpTestData(cls) -> None:
        cls.store = type(get_store())
        noop.push("for the class")

    def test_the_whole_way(self) -> None:
        self.check_the_whole_way()

    def test_what_was_pushed_in_another_test_is_not_seen(self) -> None:
        assert self.queues.pushed() == []
        get_queue("after").push(1)

    def test_the_same_the_other_way_round(self) -> None:
        self.test_what_was_pushed_in_another_test_is_not_seen()

    def test_the_data_of_the_class_was_made_with_a_store_in_memory_too(self) -> None:
        assert issubclass(self.store, MemoryStore)
        assert self.queues.pushed() == []

    async def test_an_async_test(self) -> None:
        group = await Group.objects.acreate(name="old")
        await get_queue("rename").apush({"group": group.pk})
        await self.queues.arun_queued()
        assert (await Group.objects.aget(pk=group.pk)).name == "renamed"


class WithCommits(Shared, TransactionTestCase):
    def test_the_whole_way(self) -> None:
        self.check_the_whole_way()


class WithoutDatabase(QueuesMixin, SimpleTestCase):
    def setUp(self) -> None:
        get_queue("after").push("set up")

    def test_what_set_up_pushes_belongs_to_the_test(self) -> None:
        self.assertPushed("after", "set up", count=1)
        with pytest.raises(AssertionError, match="1 items were pushed, not 2"):
            self.assertPushed("after", count=2)


def test_afterwards_the_stores_are_the_sites_own(store_path: Any) -> None:
    assert not isinstance(get_store(), MemoryStore)
