"""The pytest plugin of django_graceful. Outside of its package, and without an import of it: pytest loads this in every
run of an environment where it is installed, also where there is no Django.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django_graceful.test import QueueBox


@pytest.fixture
def graceful_queues() -> Iterator[QueueBox]:
    """Fresh queues in memory for this test, to look into and to run: a ``django_graceful.test.QueueBox``."""
    from django_graceful.test import isolated_queues

    with isolated_queues() as queues:
        yield queues
