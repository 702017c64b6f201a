"""Helpers for the tests of a site: what was pushed, and running it inside the test.

::

    class UploadTests(QueuesMixin, TestCase):
        def test_a_photo_gets_its_thumbnail(self):
            with self.captureOnCommitCallbacks(execute=True):
                self.client.post("/add/", form)
            self.assertPushed("thumbnails", {"photo": 1})
            self.queues.run_queued()
            self.assertTrue(Photo.objects.get().thumbnail)

:class:`QueuesMixin` is for Django's test cases, the fixture ``graceful_queues`` for pytest, and :func:`isolated_queues`
for everything else. While one of them is active, every store of this process is a fresh one in memory, whatever the
settings say: nothing is read from the site's stores and nothing written there.
"""

from __future__ import annotations

from django_graceful.test.box import QueueBox, isolated_queues
from django_graceful.test.cases import QueuesMixin
from django_graceful.test.log import Pushed
from django_graceful.test.running import Ran

__all__ = ["Pushed", "QueueBox", "QueuesMixin", "Ran", "isolated_queues"]
