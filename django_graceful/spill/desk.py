"""The desk of what this process keeps in memory.

Each call is carried out in a thread of its own, which nobody interrupts in the middle of a step, while whoever asks is
perhaps a request that is being cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django_graceful.spill.stock import Stock
from django_graceful.stores.base import StoreAdmin


class Desk:
    """The desk of a stock. Each call is carried out in a thread of its own, which nobody interrupts in the middle."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or not hasattr(StoreAdmin, name):
            raise AttributeError(name)
        method = getattr(StoreAdmin, name)
        if not getattr(method, "__isabstractmethod__", False):  # made of the others
            return lambda *arguments, **options: method(self, *arguments, **options)
        return lambda *arguments, **options: self._call(name, arguments, options)

    def _call(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        said: list[Any] = []

        def carry_out() -> None:
            try:
                answer, wishes = self._stock.keeper.call(name, arguments, options)
                self._stock.hands.heed(wishes)
                self._stock.hands.look_again()
                said.append((answer, None))
            except Exception as error:
                said.append((None, error))

        thread = threading.Thread(target=carry_out, name=f"graceful: {name}", daemon=True)
        thread.start()
        thread.join()
        answer, error = said[0]
        if error is not None:
            raise error
        return answer
