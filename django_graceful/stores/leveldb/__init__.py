"""The LevelDB store: one owner process, and an inbox and a control socket for all others."""

from __future__ import annotations

from django_graceful.stores.leveldb.store import LevelDBStore

__all__ = ["LevelDBStore"]
