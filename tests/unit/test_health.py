"""The health views, and what they answer from: whether this process wants new requests."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django.urls import reverse

from django_graceful import health, lifecycle, readiness
from django_graceful.lifecycle import Node, Phase
from django_graceful.nodes import table

pytestmark = pytest.mark.usefixtures("urls")


@pytest.fixture
def urls(store_path: Path) -> Iterator[None]:
    with override_settings(ROOT_URLCONF="django_graceful.urls", ALLOWED_HOSTS=["*"]):
        yield
    readiness.switch(ready=True)


@pytest.fixture
def draining(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    node.reach(Phase.DRAINING, "here")
    for module in (readiness, lifecycle, health):
        monkeypatch.setattr(module, "node", node)


def get(path: str, method: str = "get", *, asynchronous: bool = False) -> Any:
    if not asynchronous:
        return getattr(Client(), method)(path)
    return asyncio.run(getattr(AsyncClient(), method)(path))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_process_is_live_and_ready(asynchronous: bool, store_path: Path) -> None:
    store_path.mkdir()
    live, ready = (get(reverse(n), asynchronous=asynchronous) for n in ("live", "ready"))
    assert (live.status_code, live.json()) == (200, {"live": True})
    assert ready.status_code == 200
    assert ready.json() == {"ready": True, "reasons": [], "phase": "running", "stores": {"default": True}}
    assert not store_path.joinpath("inbox").exists(), "looking opens nothing"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_that_was_asked_to_stop_is_live_and_not_ready(draining: None, asynchronous: bool) -> None:
    assert get("/health/live", asynchronous=asynchronous).status_code == 200
    ready = get("/health/ready", asynchronous=asynchronous)
    assert ready.status_code == 503
    assert ready.json()["phase"] == "draining"
    assert ready.json()["reasons"] == ["this process was asked to stop (draining)"]


def test_readiness_is_switched_by_an_order_and_back_again() -> None:
    assert table.obey({"ready": False}) == {"reply": "asked"}
    ready = get("/health/ready")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["readiness was switched off"])
    assert ready.json()["phase"] == "running"
    assert get("/health/live").status_code == 200
    table.obey({"ready": True})
    assert get("/health/ready").status_code == 200


def test_a_fork_is_ready_again() -> None:
    readiness.switch(ready=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: exit(len(readiness.reasons())))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert readiness.reasons() == ["readiness was switched off"]


def test_a_store_in_trouble_is_shown_and_does_not_take_the_site_away(store_path: Path) -> None:
    store_path.write_text("a file in the way")
    ready = get("/health/ready")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert ready.json()["stores"] == {"default": False}


def test_answers_are_never_cached_and_only_for_get_and_head() -> None:
    for path in ("/health/live", "/health/ready", "/health/live/", "/health/ready/"):
        answer = get(path)
        assert answer.status_code == 200
        assert "no-store" in answer["Cache-Control"]
        assert get(path, "head").status_code == 200
        assert get(path, "post").status_code == 405


@pytest.mark.usefixtures("draining")
def test_a_503_is_no_error_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert get("/health/ready").status_code == 503
    assert not [record for record in caplog.records if record.name.startswith("django.request")]
