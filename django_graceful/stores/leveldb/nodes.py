"""The exchange of a LevelDB store: a Unix socket for each node below ``PATH``/nodes, asked when somebody looks.

So being visible costs a node nothing while nobody looks. Who may ask is who may use the store (``MODE``). A node that
died leaves its socket behind, and whoever looks or joins next finds that nobody listens there and removes it. The
runner is asked at its control socket, where it answers the same two calls, ``describe`` and ``order``.
"""

from __future__ import annotations

import json
import logging
import os
from _socket import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from django_graceful.conf import StoreConf
from django_graceful.exceptions import StoreUnavailable
from django_graceful.stores.exchange import Describe, Exchange, Json, Obey
from django_graceful.stores.leveldb.asking import Answer, ask_all
from django_graceful.stores.leveldb.control import SOCKET
from django_graceful.stores.leveldb.files import explain, make_directory
from django_graceful.stores.leveldb.hearing import Door, close_door, open_door
from django_graceful.stores.leveldb.server import listen, refuse

logger = logging.getLogger("django_graceful.nodes")

#: The directory of the sockets, and how their names end.
DIRECTORY: Final = "nodes"
SUFFIX: Final = ".sock"
#: Seconds for all answers to a look, and for the answer to an order.
LOOK: Final = 0.5
ORDER: Final = 2.0


class LevelDBExchange(Exchange):
    """One process's part in it."""

    def __init__(self, conf: StoreConf) -> None:
        self._conf = conf
        self._door: tuple[int, Path, Door] | None = None

    def join(self, node: str, describe: Describe, obey: Obey) -> None:
        mode, home = self._conf.mode, self._conf.path
        try:
            directory = make_directory(home, DIRECTORY, mode)
            # detached: a socket of gevent's must not be touched by another thread than the one that made it
            listener = socket(fileno=listen(directory, node + SUFFIX, mode).detach())
            door = Door(listener, lambda peer: refuse(peer, home, mode), partial(_answer, describe, obey))
        except OSError as error:
            raise explain(error, home / DIRECTORY, "be seen") from error
        self._door = os.getpid(), directory / (node + SUFFIX), door
        try:
            open_door(door)
        except (OSError, RuntimeError) as error:
            self.leave()
            listener.close()
            raise StoreUnavailable(f"{directory}: this process can not be seen: {error}") from error
        self._bury_the_dead(node + SUFFIX)

    def leave(self) -> None:
        joined, self._door = self._door, None
        if joined is None:
            return
        pid, path, door = joined
        if pid == os.getpid():
            with suppress(OSError):
                path.unlink()
            close_door(door)

    def nodes(self) -> list[Json]:
        answers = self._ask([SOCKET, *self._names()], {"call": "describe"}, LOOK)
        found = []
        for name, answer in answers.items():
            if answer.dead:
                self._bury(name)
                continue
            node = _result(answer)
            # a tool that has the store open for a moment, or an old release, has no such call: it is no node
            if node is None and answer.body is None:
                found.append(_silent(name, answer))
            elif node is not None:
                found.append(node)
        return found

    def order(self, node: str, order: Json) -> Json | None:
        name = f"{DIRECTORY}/{node}{SUFFIX}"
        known = name in self._names()
        answer = self._ask([name if known else SOCKET], {"call": "order", "args": [order]}, ORDER)
        for said in answer.values():
            if said.dead:
                self._bury(name)
            elif said.body is None:
                who = f"node {node} (pid {said.pid})" if known else f"the runner of store {self._conf.alias}"
                raise StoreUnavailable(f"{who} did not answer within {ORDER:g} s; it may still do what was ordered")
            else:
                return _result(said)
        return None

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._conf.path / DIRECTORY) as entries:
                return [f"{DIRECTORY}/{e.name}" for e in entries if e.name.endswith(SUFFIX) and e.name[0] != "."]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise explain(error, self._conf.path / DIRECTORY, "see the nodes") from error

    def _ask(self, names: list[str], call: Json, seconds: float) -> dict[str, Answer]:
        try:
            return ask_all(self._conf.path, names, json.dumps(call).encode(), seconds)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise explain(error, self._conf.path, "see the nodes") from error

    def _bury_the_dead(self, ours: str) -> None:
        """Where nobody ever looks, sockets of killed nodes would pile up."""
        others = [name for name in self._names() if not name.endswith(ours)]
        for name, answer in self._ask(others, {}, 0).items():
            if answer.dead:
                self._bury(name)

    def _bury(self, name: str) -> None:
        """Remove a dead node's socket. The runner's own is replaced by the next runner."""
        if name != SOCKET:
            with suppress(OSError):
                os.unlink(self._conf.path / name)


def _answer(describe: Describe, obey: Obey, request: bytes) -> bytes:
    """The answer to a request, whatever it is; the same form as on the control socket."""
    try:
        call = json.loads(request)
        found = describe() if call["call"] == "describe" else obey(*call["args"])
        return json.dumps({"result": found}).encode()
    except Exception as error:
        logger.exception("a request to this node failed")
        return json.dumps({"error": type(error).__name__, "message": str(error)}).encode()


def _result(answer: Answer) -> Json | None:
    try:
        found: Any = json.loads(answer.body or b"")["result"]
    except (ValueError, LookupError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def _silent(name: str, answer: Answer) -> Json:
    if name == SOCKET:
        return {"node": "", "kind": "runner", "pid": answer.pid, "silent": True}
    return {"node": name.removeprefix(f"{DIRECTORY}/").removesuffix(SUFFIX), "pid": answer.pid, "silent": True}
