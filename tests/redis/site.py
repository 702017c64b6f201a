"""The test site on a redis store: runners, producers and commands as other OS processes, on a server of the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.harness import Runner, Site


class RedisSite(Site):
    """``url`` may name a proxy. Each test has a key space of its own. ``options`` are those of the cache, ``store``
    more of the entry in ``STORES``.
    """

    def __init__(self, root: Path, url: str, space: str, options: dict[str, Any], **store: Any) -> None:
        super().__init__(root, root / "runtime")
        self.url, self.space, self.options = url, space, options
        self.env |= {
            "GRACEFUL_TEST_REDIS": url,
            "GRACEFUL_TEST_CACHE": json.dumps({"KEY_PREFIX": space, "OPTIONS": options}),
            "GRACEFUL_TEST_STORE_EXTRA": json.dumps(store),
        }

    def through(self, url: str, runtime: str = "") -> dict[str, str]:
        """The environment of a process that reaches the server that way, as if on a host of its own."""
        more = {"GRACEFUL_TEST_REDIS": url}
        return more | ({"GRACEFUL_TEST_STORE": str(self.store.parent / runtime)} if runtime else {})

    def configured(self, runner_env: dict[str, str] | None = None, **settings: Any) -> Runner:
        """A runner with these settings of ``GRACEFUL``."""
        return self.runner(env={"GRACEFUL_TEST_EXTRA": json.dumps(settings), **(runner_env or {})})
