"""A network between a test's processes and a server, which can be slow, cut, or silently dead, in each direction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from tests.redis.server import free_port


class Proxy:
    """Forwards to ``port`` on this machine, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.target, self.port = port, free_port()
        #: Seconds that each piece takes on its way, in each direction.
        self.latency = 0.0
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Every connection is broken, and so are new ones."""
        self._do(self._set_cut, True)

    def freeze(self, *, there: bool = True, back: bool = True) -> None:
        """Nothing more goes through (in these directions), and nobody is told. What is sent comes late, if at all."""
        self._do(self._set_gates, not there, not back)

    def heal(self) -> None:
        """All is well again."""
        self._do(self._set_cut, False)
        self._do(self._set_gates, True, True)

    def close(self) -> None:
        self._do(self._set_cut, True)
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def _do(self, act: Callable[..., None], *args: Any) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (act(*args), done.set()))
        assert done.wait(10)

    def _set_cut(self, cut: bool) -> None:
        self._cut = cut
        if cut:
            for writer in self._writers:
                writer.transport.abort()

    def _set_gates(self, *open_: bool) -> None:
        for gate, is_open in zip(self._gates, open_, strict=True):
            gate.set() if is_open else gate.clear()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._gates = (asyncio.Event(), asyncio.Event())
        self._set_gates(True, True)
        server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other: asyncio.StreamWriter | None = None
        self._writers.add(writer)
        try:
            if self._cut:
                return
            answers, other = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(other)
            there = asyncio.ensure_future(self._pump(reader, other, 0))
            back = asyncio.ensure_future(self._pump(answers, writer, 1))
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in filter(None, (writer, other)):
                self._writers.discard(end)
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: int) -> None:
        while data := await reader.read(1 << 16):
            if self.latency:
                await asyncio.sleep(self.latency)
            await self._gates[way].wait()
            writer.write(data)
            await writer.drain()
