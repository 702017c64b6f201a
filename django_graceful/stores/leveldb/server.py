"""The control socket, answering side. Runs in the owner's process, on its event loop.

One frame is one call, answered in one go on the loop's thread, which is the thread that owns the store. Whoever is
slow, silent or sends garbage costs one connection and no time: reading and writing wait on the loop with a limit each,
an unreadable request is answered with an error, and when all places are taken the one that has been silent longest
makes room. Who may ask: the owner's user and root, and with ``MODE`` 0o660 the members of the directory's group; the
kernel says who a peer is.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from django_graceful.exceptions import GracefulError, StoreUnavailable
from django_graceful.stores.base import Page, StoreAdmin
from django_graceful.stores.leveldb.codec import CALLS, to_json
from django_graceful.stores.leveldb.control import CREDENTIALS, LENGTH, MAX_REQUEST, SOCKET, encode
from django_graceful.stores.leveldb.files import settle
from django_graceful.stores.leveldb.wake import short_path

log = logging.getLogger("django_graceful.control")

MAX_PEERS: Final = 64
#: Seconds that a connection may be silent, or take for one request, and that it may take to read one answer.
PATIENCE: Final = 60.0
#: The most items, and about the most bytes of payload, on one page.
MAX_PAGE: Final = 1000
MAX_PAGE_BYTES: Final = 8 << 20

_SO_PEERGROUPS = 59


class ControlServer:
    """Serves ``admin`` (and the calls in ``extra``, by name) on ``directory``/control.sock.

    Only the holder of the owner's lock may start one: a socket that is there is a dead owner's and is replaced. The
    functions in ``extra`` take and give JSON values and are called on the loop's thread; they may not wait. ``after``
    is called after each call of ``admin``, which may have made items ready.
    """

    def __init__(
        self,
        directory: Path,
        admin: StoreAdmin,
        mode: int = 0o600,
        extra: Mapping[str, Callable[..., Any]] | None = None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.directory = directory
        self.mode = mode
        self._admin = admin
        self._after = after
        self._extra: dict[str, Callable[..., Any]] = {"ping": os.getpid, **(extra or {})}
        if clash := CALLS.keys() & self._extra.keys():
            raise ValueError(f"these calls have a meaning already: {', '.join(sorted(clash))}")
        self._server: asyncio.Server | None = None
        self._peers: dict[asyncio.Task[Any], None] = {}

    async def start(self) -> None:
        """Bind and serve. Raises :class:`~django_graceful.exceptions.StoreUnavailable` when no socket can be made."""
        try:
            listener = listen(self.directory, SOCKET, self.mode)
        except OSError as error:
            raise StoreUnavailable(f"no control socket can be made in {self.directory}: {error}") from error
        self._server = await asyncio.start_unix_server(self._serve, sock=listener)

    async def close(self) -> None:
        """Stop serving at once: the socket goes, connections are cut. Answers given before still arrive. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        # asyncio loses a connection that it has accepted but not yet begun to serve when the server closes.
        await asyncio.sleep(0)
        server.close()
        with suppress(OSError):
            (self.directory / SOCKET).unlink()
        peers = list(self._peers)
        for peer in peers:
            peer.cancel()
        await asyncio.gather(*peers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._server is None:  # accepted just before close()
            writer.transport.abort()
            return
        self._make_room()
        self._peers[task] = None
        try:
            refusal = refuse(writer.get_extra_info("socket"), self.directory, self.mode)
            if refusal:
                log.warning("control socket %s: %s", self.directory, refusal)
                await _send(writer, _failure("StoreUnavailable", refusal))
                return
            while await self._answer_next(reader, writer):
                self._peers[task] = self._peers.pop(task)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._peers.pop(task, None)
            writer.close()

    def _make_room(self) -> None:
        if len(self._peers) >= MAX_PEERS:
            silent = next(iter(self._peers))
            del self._peers[silent]
            silent.cancel()

    async def _answer_next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request. False: that was the last one."""
        async with asyncio.timeout(PATIENCE):
            try:
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                if length > MAX_REQUEST:
                    text = f"a request of {length} bytes is too long, {MAX_REQUEST} are allowed"
                    await _send(writer, _failure("ValueError", text))
                    return False
                request = await reader.readexactly(length)
            except asyncio.IncompleteReadError:
                return False
        await _send(writer, self.answer(request))
        # A peer with many requests in its buffer would not let go of the loop by itself.
        await asyncio.sleep(0)
        return True

    def answer(self, request: bytes) -> bytes:
        """The frame that answers one request. Never raises: what goes wrong is in the answer."""
        try:
            return encode({"result": to_json(self._call(request))})
        except (GracefulError, ValueError, TypeError, RecursionError) as error:
            return _failure(_public_name(error), str(error))
        except Exception as error:
            log.exception("a call on the control socket of %s failed", self.directory)
            return _failure(type(error).__name__, str(error))

    def _call(self, request: bytes) -> Any:
        asked = json.loads(request)
        if not isinstance(asked, dict):
            raise ValueError("a request is a JSON object")
        name, args, kwargs = asked.get("call"), asked.get("args", []), asked.get("kwargs", {})
        if not isinstance(name, str) or not isinstance(args, list) or not isinstance(kwargs, dict):
            raise ValueError("a request has a call (text), args (array) and kwargs (object)")
        if name in self._extra:
            return self._extra[name](*args, **kwargs)
        if name not in CALLS:
            raise ValueError(f"there is no call {name[:60]!r}")
        arguments = CALLS[name].arguments(args, kwargs)
        try:
            if name == "page":
                return _fitting_page(self._admin, **arguments)
            return getattr(self._admin, name)(**arguments)
        finally:
            self._after()


def refuse(peer: socket.socket, directory: Path, mode: int) -> str:
    """Why this peer may not ask; empty when it may."""
    pid, uid, gid = CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    if uid in (0, os.geteuid()):
        return ""
    if mode & 0o060 and directory.stat().st_gid in {gid, *_groups(peer)}:
        return ""
    return f"user {uid} (pid {pid}) may not control this store, which belongs to user {os.geteuid()}"


def _groups(peer: socket.socket) -> tuple[int, ...]:
    try:
        raw = peer.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError:  # more groups than fit
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)


def listen(directory: Path, name: str, mode: int) -> socket.socket:
    """A socket that listens as ``name`` in ``directory``, in place of one that is there. Raises ``OSError``."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    temporary = f".{name}.new"
    try:
        with short_path(directory) as short:
            with suppress(FileNotFoundError):
                os.unlink(short / temporary)
            sock.bind(str(short / temporary))
            settle(short / temporary, mode, directory)
            sock.listen(MAX_PEERS)
            # Renamed into place when it serves and has its permissions: a dead owner's socket is replaced in one step.
            os.rename(short / temporary, short / name)
    except BaseException:
        sock.close()
        raise
    return sock


async def _send(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(frame)
    async with asyncio.timeout(PATIENCE):
        await writer.drain()


def _fitting_page(admin: StoreAdmin, limit: int = 100, **arguments: Any) -> Page:
    """A page may hold less than was asked for; one of large payloads does, so that the answer stays handy."""
    limit = max(1, min(limit, MAX_PAGE))
    while True:
        page = admin.page(limit=limit, **arguments)
        size = sum(len(found.item.payload_json) for found in page.items)
        if size <= MAX_PAGE_BYTES or len(page.items) <= 1:
            return page
        limit = max(1, min(limit - 1, len(page.items) * MAX_PAGE_BYTES // size))


def _failure(name: str, message: str) -> bytes:
    return encode({"error": name, "message": message})


def _public_name(error: Exception) -> str:
    """The class as the other side knows it: the nearest in :mod:`django_graceful.exceptions`, or a builtin."""
    if isinstance(error, GracefulError):
        module = GracefulError.__module__
        return next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == module)
    return "TypeError" if isinstance(error, TypeError) else "ValueError"
