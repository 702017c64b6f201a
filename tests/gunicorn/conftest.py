"""Gunicorns that end with their test, several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.gunicorn.server import CLASSES, Server
from tests.harness import PATIENCE

Serve = Callable[..., Server]
#: Gets the worker class, and a function to call when its request is on the way: it waits for those of the others, so
#: that nobody is stopped while another one boots.
Scenario = Callable[[str, Callable[[], object]], None]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    made: list[Server] = []

    def start(kind: str, *arguments: str, graceful: float = 4, **env: str) -> Server:
        place = tmp_path / f"{kind}{len(made)}"
        place.mkdir()
        server = Server(place, kind, *arguments, graceful=graceful, **env)
        made.append(server)
        return server.booted()

    yield start
    for server in made:
        server.cleanup()


@pytest.fixture
def everywhere() -> Callable[..., None]:
    """Act a scenario in these worker classes at the same time; in all without a name."""

    def act(scenario: Scenario, *kinds: str) -> None:
        kinds = kinds or tuple(CLASSES)
        barrier = Barrier(len(kinds))
        with ThreadPoolExecutor(len(kinds)) as pool:
            acts = {kind: pool.submit(scenario, kind, lambda: barrier.wait(PATIENCE)) for kind in kinds}
        errors = {kind: error for kind, act in acts.items() if (error := act.exception()) is not None}
        for kind, error in errors.items():
            error.add_note(f"in a worker of the class {kind}")
        if errors:
            raise ExceptionGroup("failed", [error for error in errors.values() if isinstance(error, Exception)])

    return act
