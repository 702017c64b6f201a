"""The plugin's fixture, whether or not the package is installed; no queue is declared but those of the test."""

from __future__ import annotations

from typing import Any

import pytest

from django_graceful import queues
from pytest_django_graceful import graceful_queues

__all__ = ["graceful_queues"]


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(queues, "_registry", found)
    return found


class Handler:
    """Notes what it gets, and does what it is told, call by call."""

    def __init__(self, *does: Any) -> None:
        self.got: list[Any] = []
        self.does = list(does)

    def handle(self, payload: Any) -> Any:
        self.got.append(payload)
        found = self.does.pop(0) if self.does else None
        if isinstance(found, BaseException):
            raise found
        return found(payload) if callable(found) else found
