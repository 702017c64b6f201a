"""The control socket, asking side: :class:`ControlClient` is a :class:`StoreAdmin` that lives in another process.

A frame is four bytes of length (big-endian) and that much JSON. A request is ``{"call": name, "args": [...], "kwargs":
{...}}``, its answer ``{"result": ...}`` or ``{"error": class name, "message": text}``. Each call opens a connection of
its own, so a client may be shared between threads, kept over a fork, and kept while the runner restarts; a server takes
as many requests of one connection as come.

Every way in which a call can fail is a :class:`~django_graceful.exceptions.StoreUnavailable` or what the owner raised;
every call ends within its time limit, whatever the owner does (promise P10).
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from django_graceful import exceptions
from django_graceful.exceptions import GracefulError, StoreError, StoreUnavailable
from django_graceful.stores.base import StoreAdmin
from django_graceful.stores.leveldb.codec import CALLS, to_json
from django_graceful.stores.leveldb.wake import short_path

#: The name of the socket in the store's directory.
SOCKET: Final = "control.sock"
LENGTH: Final = struct.Struct(">I")
#: What the kernel says of a peer: pid, uid, gid.
CREDENTIALS: Final = struct.Struct("3i")
#: The longest request, in bytes of JSON.
MAX_REQUEST: Final = 16 << 20
#: Seconds for one call, and for those that may walk over many items.
TIMEOUT: Final = 10.0
LONG_TIMEOUTS: Final = {"retry": 60.0, "discard": 60.0, "check": 600.0, "repair": 600.0}
_PLAIN_ERRORS = {"ValueError": ValueError, "TypeError": TypeError}

Method = TypeVar("Method", bound=Callable[..., Any])


class NoRunner(StoreUnavailable):
    """Nobody serves the control socket: no runner runs on this store (or it starts or ends just now)."""


def encode(message: Any) -> bytes:
    """One frame. Raises ``TypeError`` for what JSON can not hold."""
    data = json.dumps(message, separators=(",", ":")).encode()
    return LENGTH.pack(len(data)) + data


def _remote(method: Method) -> Method:
    """That method of :class:`StoreAdmin`, done by the owner."""
    name = method.__name__
    call = CALLS[name]

    def ask(self: ControlClient, *args: Any, **kwargs: Any) -> Any:
        raw = self.ask(name, *args, timeout=LONG_TIMEOUTS.get(name, self.timeout), **kwargs)
        try:
            return call.result(raw)
        except ValueError as error:
            raise StoreError(f"the runner at {self.directory} answered {name} with something else: {error}") from error

    ask.__name__, ask.__doc__ = name, method.__doc__
    return cast(Method, ask)


class ControlClient(StoreAdmin):
    """The desk of the owner of the store in ``directory``. Making one opens nothing; ``timeout`` is seconds a call.

    Every method raises :class:`NoRunner` when nobody serves the socket, :class:`StoreUnavailable` when the owner may
    not be asked (permissions), does not answer in time, or goes away before it has answered. In the last two cases an
    order may have been carried out.
    """

    def __init__(self, directory: Path, timeout: float = TIMEOUT) -> None:
        self.directory = directory
        self.timeout = timeout

    counts = _remote(StoreAdmin.counts)
    get = _remote(StoreAdmin.get)
    has = _remote(StoreAdmin.has)
    page = _remote(StoreAdmin.page)
    retry = _remote(StoreAdmin.retry)
    discard = _remote(StoreAdmin.discard)
    request_cancel = _remote(StoreAdmin.request_cancel)
    cancel_some = _remote(StoreAdmin.cancel_some)
    cancel_outcome = _remote(StoreAdmin.cancel_outcome)
    pause = _remote(StoreAdmin.pause)
    resume = _remote(StoreAdmin.resume)
    result = _remote(StoreAdmin.result)
    schedules = _remote(StoreAdmin.schedules)
    tick = _remote(StoreAdmin.tick)
    forget_handovers = _remote(StoreAdmin.forget_handovers)
    check = _remote(StoreAdmin.check)
    repair = _remote(StoreAdmin.repair)

    def ping(self) -> None:
        """Nothing, when the owner answers. Raises as every call."""
        self.ask("ping")

    def owner_pid(self) -> int:
        """The owner's pid as this process sees it: 0 when it is in another pid namespace. Raises as every call."""
        with self._reaching(self.timeout), _connect(self.directory, time.monotonic() + self.timeout) as sock:
            pid, _, _ = CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
            return int(pid)

    def ask(self, name: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Call ``name``, also one that the runner added, and give its result as plain JSON values.

        Raises what the owner raised, as far as it is an error of :mod:`django_graceful.exceptions`, ``ValueError`` or
        ``TypeError``; anything else is a :class:`~django_graceful.exceptions.StoreError`.
        """
        request = encode({"call": name, "args": to_json(args), "kwargs": to_json(kwargs)})
        if len(request) - LENGTH.size > MAX_REQUEST:
            raise ValueError(
                f"a request of {len(request)} bytes is too long, {MAX_REQUEST} are allowed: name fewer items"
            )
        seconds = self.timeout if timeout is None else timeout
        return _unpack(self._exchange(request, seconds))

    def _exchange(self, request: bytes, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        with self._reaching(seconds), _connect(self.directory, deadline) as sock:
            # A server that refuses answers and hangs up without reading on: its answer is there all the same.
            with suppress(BrokenPipeError, ConnectionResetError):
                sock.settimeout(_left(deadline))
                sock.sendall(request)
            (length,) = LENGTH.unpack(_receive(sock, LENGTH.size, deadline))
            return _receive(sock, length, deadline)

    @contextmanager
    def _reaching(self, seconds: float) -> Iterator[None]:
        """What can go wrong on the way, in words."""
        try:
            yield
        except TimeoutError:
            text = (
                f"the runner at {self.directory} did not answer within {seconds:g} s; what was asked may still happen"
            )
            raise StoreUnavailable(text) from None
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            text = f"no runner runs on the store at {self.directory}; start one with: manage.py runqueues"
            raise NoRunner(text) from None
        except (ConnectionResetError, EOFError):
            text = f"the runner at {self.directory} went away before it had answered; what was asked may have happened"
            raise StoreUnavailable(text) from None
        except OSError as error:
            user = f"uid {os.geteuid()}"
            raise StoreUnavailable(f"the runner at {self.directory} can not be asked by {user}: {error}") from error


def _connect(directory: Path, deadline: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(directory) as short:
            while True:
                sock.settimeout(_left(deadline))
                try:
                    sock.connect(str(short / SOCKET))
                except BlockingIOError:
                    # the listener's backlog is full: there is no event to wait for
                    time.sleep(0.01)
                else:
                    return sock
    except BaseException:
        sock.close()
        raise


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _receive(sock: socket.socket, length: int, deadline: float) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        sock.settimeout(_left(deadline))
        part = sock.recv(min(length - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _unpack(reply: bytes) -> Any:
    try:
        found = json.loads(reply)
        if "error" not in found:
            return found["result"]
        name, message = str(found["error"]), str(found["message"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"the control socket gave no valid answer: {error!r}") from error
    raise _error(name, message)


def _error(name: str, message: str) -> Exception:
    cls = _PLAIN_ERRORS.get(name) or getattr(exceptions, name, None)
    if isinstance(cls, type) and (issubclass(cls, GracefulError) or cls in _PLAIN_ERRORS.values()):
        return cast(Exception, cls(message))
    return StoreError(f"the runner could not do it: {name}: {message}")
