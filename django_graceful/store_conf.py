"""``GRACEFUL["STORES"]``: what can be said of a store, and reading it. Pure; see :mod:`django_graceful.conf`."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django_graceful.options import MOST_THREADS, is_whole, nearest

_THREADS = 2


@dataclass(slots=True, frozen=True)
class Fault:
    """One thing that is wrong with the settings: where, what, and what to do."""

    where: str
    what: str
    hint: str


@dataclass(slots=True, frozen=True)
class StoreConf:
    """One entry of ``STORES``, checked. Paths are absolute."""

    alias: str
    backend: str
    #: The store itself; of a redis store what its runners on this host keep beside it (``RUNTIME``).
    path: Path = Path()
    #: ``os``: what was pushed survives every process crash; ``fsync``: and power loss.
    durability: str = "os"
    #: Permission bits for others who push: 0o600 (this user only) or 0o660 (the directory's group too).
    mode: int = 0o600
    #: The alias in ``CACHES`` whose server holds a redis store.
    cache: str = ""
    #: Where pushes to a redis store wait while its server can not be reached; None: they raise.
    spool: Path | None = None
    #: The durable store that gets what a memory store of a process holds when that process ends; empty: none does.
    spill_to: str = ""
    #: The threads of a process that handle what it holds of such a memory store.
    threads: int = _THREADS

    @property
    def home(self) -> str:
        """The alias of the store in which a runner finds the items of this one."""
        return self.spill_to or self.alias

    @property
    def fsync(self) -> bool:
        """Whether a push is written to the disk before it returns."""
        return self.durability == "fsync"


_STORE_KEYS = {
    "leveldb": ("BACKEND", "PATH", "DURABILITY", "MODE"),
    "memory": ("BACKEND", "SPILL_TO", "THREADS"),
    "redis": ("BACKEND", "ALIAS", "RUNTIME", "SPOOL"),
}
_SPILLING = "For example: {'BACKEND': 'memory', 'SPILL_TO': 'default', 'THREADS': 2}; 'default' is leveldb or redis."
_EXAMPLE = "For example: {'default': {'BACKEND': 'leveldb', 'PATH': BASE_DIR / 'var/graceful'}}."


def read_stores(raw: Any, base: Path | None, faults: list[Fault]) -> dict[str, StoreConf]:
    """``STORES`` by alias, each store checked; what is wrong is added to ``faults`` and left out."""
    where = "GRACEFUL['STORES']"
    if raw is None and base is None:
        faults.append(Fault(where, "is missing, and there is no BASE_DIR to place a store in", _EXAMPLE))
        return {}
    if raw is None:
        raw = {"default": {"BACKEND": "leveldb", "PATH": "var/graceful"}}
    if not isinstance(raw, Mapping) or not raw:
        faults.append(Fault(where, "must be a dict with at least one store in it", _EXAMPLE))
        return {}
    found = (_read_store(alias, entry, base, faults) for alias, entry in raw.items())
    stores = {conf.alias: conf for conf in found if conf is not None}
    return {alias: conf for alias, conf in stores.items() if _spills_well(conf, raw, faults)}


def _read_store(alias: Any, entry: Any, base: Path | None, faults: list[Fault]) -> StoreConf | None:
    where = f"GRACEFUL['STORES'][{alias!r}]"
    if not isinstance(alias, str) or not isinstance(entry, Mapping):
        faults.append(Fault(where, "must be a dict, under a name", _EXAMPLE))
        return None
    backend = entry.get("BACKEND")
    if not isinstance(backend, str) or backend not in _STORE_KEYS:
        known = ", ".join(map(repr, _STORE_KEYS))
        what = f"must be one of {known}, not {backend!r}{nearest(str(backend), _STORE_KEYS)}"
        faults.append(Fault(f"{where}['BACKEND']", what, _EXAMPLE))
        return None
    faults.extend(unknown_key(where, key, _STORE_KEYS[backend]) for key in entry if key not in _STORE_KEYS[backend])
    if backend == "redis":
        return _read_redis(where, alias, entry, base, faults)
    if backend == "memory":
        return _read_memory(where, alias, entry, faults)
    return _read_leveldb(where, alias, entry, base, faults)


def _read_memory(where: str, alias: str, entry: Mapping[str, Any], faults: list[Fault]) -> StoreConf | None:
    wrong = len(faults)
    spill_to, threads = entry.get("SPILL_TO", ""), entry.get("THREADS", _THREADS)
    if "SPILL_TO" in entry and (not isinstance(spill_to, str) or not spill_to):
        faults.append(Fault(f"{where}['SPILL_TO']", f"must be the name of a store, not {spill_to!r}", _SPILLING))
    if not is_whole(threads) or not 1 <= threads <= MOST_THREADS:
        what = f"must be a whole number from 1 to {MOST_THREADS}, not {threads!r}"
        faults.append(Fault(f"{where}['THREADS']", what, f"The default is {_THREADS}."))
    elif "THREADS" in entry and "SPILL_TO" not in entry:
        faults.append(Fault(f"{where}['THREADS']", "has no meaning without SPILL_TO", _SPILLING))
    return StoreConf(alias, "memory", spill_to=spill_to, threads=threads) if len(faults) == wrong else None


def _spills_well(conf: StoreConf, raw: Mapping[Any, Any], faults: list[Fault]) -> bool:
    """Whether the other store of a memory store, if it has one, is there and durable."""
    if not conf.spill_to:
        return True
    where, other = f"GRACEFUL['STORES'][{conf.alias!r}]['SPILL_TO']", raw.get(conf.spill_to)
    if other is None:
        what = f"no store is named {conf.spill_to!r}{nearest(conf.spill_to, filter(_is_name, raw))}"
        faults.append(Fault(where, what, _SPILLING))
        return False
    if isinstance(other, Mapping) and other.get("BACKEND") == "memory":
        faults.append(Fault(where, f"the store {conf.spill_to!r} is in memory too, and keeps nothing", _SPILLING))
        return False
    return True


def _is_name(alias: Any) -> bool:
    return isinstance(alias, str)


def _read_redis(
    where: str, alias: str, entry: Mapping[str, Any], base: Path | None, faults: list[Fault]
) -> StoreConf | None:
    wrong = len(faults)
    cache = entry.get("ALIAS")
    if not isinstance(cache, str) or not cache:
        hint = "For example: {'BACKEND': 'redis', 'ALIAS': 'queues'}, with a cache of django-redis under that name."
        faults.append(Fault(f"{where}['ALIAS']", f"must be the name of an entry of CACHES, not {cache!r}", hint))
    places = {"RUNTIME": _runtime(alias, base), "SPOOL": None}
    for key in places.keys() & entry.keys():
        places[key] = directory(entry[key], base)
        if places[key] is None:
            what = f"must be a directory of this host, absolute or below BASE_DIR, not {entry[key]!r}"
            faults.append(Fault(f"{where}[{key!r}]", what, f"For example: BASE_DIR / 'var/{key.lower()}'."))
    if len(faults) > wrong:
        return None
    return StoreConf(alias, "redis", places["RUNTIME"] or Path(), cache=str(cache), spool=places["SPOOL"])


def _runtime(alias: str, base: Path | None) -> Path:
    """Where the runners of a redis store keep what belongs to this host, when the site does not say."""
    name = re.sub(r"[^\w-]", "_", alias)
    if base is None:
        return Path(tempfile.gettempdir()) / f"graceful-{os.geteuid()}-{name}"
    return base / "var" / f"graceful-{name}"


def _read_leveldb(
    where: str, alias: str, entry: Mapping[str, Any], base: Path | None, faults: list[Fault]
) -> StoreConf | None:
    wrong = len(faults)
    path, durability, mode = entry.get("PATH"), entry.get("DURABILITY", "os"), entry.get("MODE", 0o600)
    found = directory(path, base)
    if found is None:
        what = f"must be the directory of the store, absolute or below BASE_DIR, not {path!r}"
        faults.append(Fault(f"{where}['PATH']", what, "For example: BASE_DIR / 'var/graceful'."))
    if durability not in ("os", "fsync"):
        hint = "'os' survives every process crash; 'fsync' power loss too, and is slower."
        faults.append(Fault(f"{where}['DURABILITY']", f"must be 'os' or 'fsync', not {durability!r}", hint))
    if not is_whole(mode) or mode not in (0o600, 0o660):
        shown = oct(mode) if isinstance(mode, int) else repr(mode)
        hint = "0o600: only this user pushes; 0o660: the directory's group too. Mind the 0o."
        faults.append(Fault(f"{where}['MODE']", f"must be 0o600 or 0o660, not {shown}", hint))
    return StoreConf(alias, "leveldb", found, durability, mode) if found and len(faults) == wrong else None


def directory(path: Any, base: Path | None = None) -> Path | None:
    """An absolute path (below ``base``, when it is given and ``path`` is not absolute); None for what is none."""
    if not isinstance(path, str | os.PathLike) or not path:
        return None
    text = os.fspath(path)
    if not isinstance(text, str) or "\0" in text:
        return None
    found = Path(text) if base is None else base / text
    return Path(os.path.normpath(found)) if found.is_absolute() else None


def unknown_key(where: str, key: Any, known: Iterable[str]) -> Fault:
    """A key that does not belong there."""
    return Fault(where, f"unknown key {key!r}{nearest(str(key), known)}", f"Known keys: {', '.join(known)}.")
