"""What a site's test cases inherit: queues of their own for the class, and fresh ones for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import TestResult
from unittest.mock import ANY

from django_graceful.queues import Queue
from django_graceful.test.box import QueueBox, isolated_queues
from django_graceful.test.log import Pushed

if TYPE_CHECKING:
    from django.test import SimpleTestCase as Base
else:
    Base = object


class QueuesMixin(Base):
    """For any ``unittest`` or Django test case, before it in the list of bases. :attr:`queues` is the test's box.

    What is pushed in ``setUpClass`` and ``setUpTestData`` goes to a box of the class, and is not seen by its tests.
    """

    queues: QueueBox

    @classmethod
    def setUpClass(cls) -> None:
        cls.queues = cls.enterClassContext(isolated_queues())
        super().setUpClass()

    def run(self, result: TestResult | None = None) -> TestResult | None:
        with isolated_queues() as self.queues:
            return super().run(result)

    def assertPushed(
        self, queue: Queue[Any] | str, payload: Any = ANY, *, count: int | None = None, **wanted: Any
    ) -> Pushed:
        """See :meth:`~django_graceful.test.box.QueueBox.assert_pushed`."""
        return self.queues.assert_pushed(queue, payload, count=count, **wanted)

    def assertNotPushed(self, queue: Queue[Any] | str, payload: Any = ANY, **wanted: Any) -> None:
        """See :meth:`~django_graceful.test.box.QueueBox.assert_not_pushed`."""
        self.queues.assert_not_pushed(queue, payload, **wanted)
