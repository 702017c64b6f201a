"""What this process keeps in memory of one store, and who works on it: from the first push to the process's end."""

from __future__ import annotations

import os
from typing import Final

from django_graceful.conf import StoreConf
from django_graceful.items import Outcome
from django_graceful.spill.handover import Handover
from django_graceful.spill.hands import Hands
from django_graceful.spill.inlet import Inlet
from django_graceful.spill.keeper import Keeper
from django_graceful.stores.base import Ending

#: How runs end whose items may be dead then: some must not run twice.
_MAY_BE_DEAD: Final = (Outcome.DEAD, Outcome.INTERRUPTED, Outcome.CRASHED)

_stocks: dict[Stock, None] = {}


class Stock:
    """What one process keeps in memory of one store, and who works on it. It lives from the first push to the end."""

    def __init__(self, conf: StoreConf) -> None:
        self.alias = conf.alias
        self.inlet = Inlet()
        self.keeper = Keeper(self.inlet)
        self.handover = Handover(conf.alias, conf.spill_to, self.keeper)
        self.hands = Hands(conf.alias, self.keeper, conf.threads, self._ended, self._rest)
        #: Nothing is kept any more: whatever comes back is handed over at once.
        self.closed = False

    @property
    def busy(self) -> bool:
        """Whether anything runs, or how it ended is not written down."""
        return self.keeper.busy or self.hands.busy

    def close(self) -> None:
        """Keep nothing that comes from now on, and begin nothing. Idempotent, and returns at once."""
        self.closed = True
        self.keeper.close()
        self.hands.close()

    def _ended(self, endings: list[Ending]) -> None:
        """A unit has ended so; in the thread that ran it."""
        if self.closed:
            self.handover.all(0.0)
        elif any(one.outcome in _MAY_BE_DEAD for one in endings):
            self.handover.dead()

    def _rest(self) -> None:
        """Nothing has happened for a while; in such a thread, too."""
        self.keeper.sweep()
        self.handover.dead()


def add(stock: Stock) -> None:
    """It is this process's, and has to be handed over at its end."""
    _stocks[stock] = None


def stocks() -> tuple[Stock, ...]:
    """Those of this process."""
    return tuple(_stocks)


def forget() -> None:
    """This process has none: it is a fork's child."""
    _stocks.clear()


os.register_at_fork(after_in_child=forget)
