"""The exchange of a redis store: a channel for each node, asked when somebody looks.

So being visible costs a node one connection, and nothing while nobody looks. A node lives as long as it is subscribed
to its channel: one whose process died is gone at once, one whose host died when the server notices that (some minutes:
``tcp-keepalive``), and is silent until then. Answers come through a list with a name that nobody can guess.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from functools import partial
from typing import Any, Final

from django_graceful.exceptions import StoreUnavailable
from django_graceful.stores.exchange import Describe, Exchange, Json, Obey
from django_graceful.stores.redis.connections import own_client, raw_client
from django_graceful.stores.redis.errors import translated
from django_graceful.stores.redis.hearing import TIMEOUT, Ear
from django_graceful.stores.redis.line import Line

logger = logging.getLogger("django_graceful.nodes")

#: Seconds for all answers to a look, and for the answer to an order.
LOOK: Final = 0.5
ORDER: Final = 2.0
#: Seconds after which an answer that nobody fetched is gone.
_KEPT: Final = 10


class RedisExchange(Exchange):
    """One process's part in it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._channel = f"{line.space}:node:"
        self._ear: tuple[int, Ear] | None = None
        self._known: Any = None

    def join(self, node: str, describe: Describe, obey: Obey) -> None:
        """As :meth:`Exchange.join`; while the server can not be reached it goes on trying, and says so once."""
        tried = threading.Event()
        deaf = _Deaf(self._line, tried)
        channel = self._channel + node
        heard = partial(_answer, node, describe, obey)
        ear = Ear(self._line.alias, [channel], heard=heard, deaf=deaf.on_error, listening=deaf.on_listening)
        self._ear = os.getpid(), ear
        tried.wait(TIMEOUT)

    def leave(self) -> None:
        joined, self._ear = self._ear, None
        if joined is not None and joined[0] == os.getpid():
            joined[1].close()

    def nodes(self) -> list[Json]:
        with translated(self._line.place):
            pattern = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in self._channel)
            names = [found.decode()[len(self._channel) :] for found in self._client.pubsub_channels(pattern + "*")]
            heard, answers = self._ask(names, {"call": "describe"}, LOOK)
        return [answers.get(name) or {"node": name, "pid": None, "silent": True} for name in heard]

    def order(self, node: str, order: Json) -> Json | None:
        with translated(self._line.place):
            heard, answers = self._ask([node], {"call": "order", "order": order}, ORDER)
        if heard and node not in answers:
            raise StoreUnavailable(f"node {node} did not answer within {ORDER:g} s; it may still do what was ordered")
        return answers.get(node)

    def close(self) -> None:
        """Let go of what questions have opened. The next one opens it again."""
        if self._known is not None:
            self._known.connection_pool.disconnect(inuse_connections=False)

    def _ask(self, names: list[str], call: Json, seconds: float) -> tuple[list[str], dict[str, Json | None]]:
        """Those of these nodes that were there to hear the call, and what they have answered by then."""
        reply = f"{self._line.space}:reply:{secrets.token_hex(16)}"
        said = json.dumps(call | {"reply": reply})
        heard = [name for name in names if self._client.publish(self._channel + name, said)]
        answers: dict[str, Json | None] = {}
        end = time.monotonic() + seconds
        while len(answers) < len(heard) and (left := end - time.monotonic()) > 0:
            found = self._client.blpop([reply], timeout=max(0.01, left))
            if found is not None:
                answer = json.loads(found[1])
                answers[answer["node"]] = answer["result"]
        return heard, answers

    @property
    def _client(self) -> Any:
        if self._known is None:
            self._known = own_client(raw_client(self._line.alias), TIMEOUT)
        return self._known


class _Deaf:
    """Says once that a node can not be seen, until it can be again."""

    def __init__(self, line: Line, tried: threading.Event) -> None:
        self._line = line
        self._tried = tried
        self._told = False

    def on_error(self, error: Exception) -> None:
        if not self._told:
            logger.warning("%s: this process (pid %d) can not be seen: %s", self._line.place, os.getpid(), error)
        self._told = True
        self._tried.set()

    def on_listening(self) -> None:
        self._told = False
        self._tried.set()


def _answer(node: str, describe: Describe, obey: Obey, client: Any, message: bytes) -> None:
    """Answer a request, whatever it is."""
    try:
        call = json.loads(message)
        reply = str(call["reply"])
        result = describe() if call["call"] == "describe" else obey(call["order"])
    except Exception:
        logger.exception("a request to this node failed")
        return
    with client.pipeline() as pipe:
        pipe.rpush(reply, json.dumps({"node": node, "result": result}))
        pipe.expire(reply, _KEPT)
        pipe.execute()
