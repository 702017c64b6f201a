"""What systemd hears of the master, from its loop: a loop that is stuck says nothing, and systemd notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django_graceful.lifecycle import Phase
from django_graceful.notify import Notifier

#: Seconds between two looks at the status.
_STATUS_EVERY = 2.0


class Herald:
    """Tells of phases at once, of the status (``describe``: one line) now and then, of being alive in time."""

    def __init__(self, notifier: Notifier, describe: Callable[[], str]) -> None:
        self._notifier = notifier
        self._describe = describe
        self._said: Callable[[], None] | None = None
        watchdog = notifier.watchdog
        self._every = _STATUS_EVERY if watchdog is None else min(_STATUS_EVERY, watchdog / 2)

    def serves(self) -> None:
        """The runner serves. In the running loop."""
        if self._notifier:
            self._notifier.ready()
            self._beat()

    def tell(self, phase: Phase, *, restart: bool) -> None:
        """The phase has changed."""
        if not self._notifier:
            return
        if phase not in (Phase.RUNNING, Phase.QUIET):
            self._end(self._notifier.reloading if restart else self._notifier.stopping)
        self._notifier.status(self._describe())

    def _end(self, word: Callable[[], None]) -> None:
        if word != self._said:
            self._said = word
            word()

    def _beat(self) -> None:
        self._notifier.alive()
        self._notifier.status(self._describe())
        asyncio.get_running_loop().call_later(self._every, self._beat)
