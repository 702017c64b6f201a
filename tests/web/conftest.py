"""What the tests of web requests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from django_graceful import processes
from django_graceful.processes import Process
from tests.harness import until
from tests.processes.conftest import census
from tests.web import urls

__all__ = ["MIDDLEWARE", "census", "none_left", "request_process", "restless", "said", "web"]

MIDDLEWARE = "django_graceful.middleware.ProcessMiddleware"


@pytest.fixture
def web(store_path: Any, settings: Any) -> Any:
    """The views of this directory behind the middleware, and a fresh store; the settings."""
    urls.said.clear()
    settings.ROOT_URLCONF = "tests.web.urls"
    settings.MIDDLEWARE = [MIDDLEWARE]
    settings.ALLOWED_HOSTS = ["*"]
    return settings


def request_process() -> Process:
    """The one request that runs in this OS process; waits for it."""
    return until(lambda: next((p for p in processes.roots() if p.kind == "request"), None), "a request")  # type: ignore[no-any-return]


def said(line: str) -> None:
    """Wait until a view has said that."""
    until(lambda: line in urls.said, f"a view to say {line!r}: {urls.said}")


@pytest.fixture
def none_left() -> Iterator[None]:
    """No process is listed after the test."""
    yield
    until(lambda: not processes.roots(), f"no process: {processes.roots()}", 5)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
