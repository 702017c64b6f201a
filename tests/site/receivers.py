"""Receivers that write down every signal, when ``$GRACEFUL_TEST_SIGNALS`` is set."""

from __future__ import annotations

import os
from typing import Any

from django_graceful import signals
from tests.site.queues import say


def _item(name: str) -> Any:
    def receive(sender: Any, item: Any, outcome: Any = "", reason: str = "", seconds: float = 0, **kwargs: Any) -> None:
        say("signal", name, sender.name, item.payload, outcome, reason.replace(" ", "_"))
        assert seconds >= 0

    return receive


def _moment(name: str) -> Any:
    def receive(sender: Any, node: str, **kwargs: Any) -> None:
        say("signal", name)

    return receive


def _broken(**kwargs: Any) -> None:
    raise ValueError("a receiver that fails")


if os.environ.get("GRACEFUL_TEST_SIGNALS"):
    for _name in ("started", "finished", "dead"):
        getattr(signals, _name).connect(_broken)
        getattr(signals, _name).connect(_item(_name), weak=False)
    for _name in ("draining", "hammer", "terminate"):
        getattr(signals, _name).connect(_moment(_name), weak=False)
