"""A runner without workers, in a process of its own: owns the store at ``argv[1]``, serves it, ends at TERM.

Says ``serving`` when it serves and ``ended`` when the store is closed; it leases ``argv[2]`` items of queue ``q``.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import django
from django.conf import settings

PATH = Path(sys.argv[1])
STORES = {"default": {"BACKEND": "leveldb", "PATH": PATH}}


async def main() -> None:
    from django_graceful.stores import get_store
    from django_graceful.stores.leveldb.server import ControlServer

    owner = get_store().own()
    owner.prepare()
    owner.lease("q", int(sys.argv[2]), "worker")
    server = ControlServer(PATH, owner)
    await server.start()
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    print("serving", flush=True)
    await over.wait()
    await server.close()
    owner.close()
    print("ended", flush=True)


settings.configure(GRACEFUL={"STORES": STORES}, INSTALLED_APPS=["django_graceful"], USE_TZ=True)
django.setup()
asyncio.run(main())
