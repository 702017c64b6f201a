"""An app that makes the master's loop hang, as a dead disk would, a moment after a worker has started to work."""

from __future__ import annotations

import logging
import time
from typing import Any

from django_graceful.runner import pump


def stuck_disk(self: pump.Pump, *arguments: Any) -> None:
    """In place of the sweep of a store, once something runs."""
    if any(worker.runs() for worker in self.workers):
        logging.getLogger("django_graceful.runner").warning("the loop is stuck from now on")
        while True:
            time.sleep(60)


pump.Pump._sweep = stuck_disk  # type: ignore[method-assign]
