"""The settings: ``GRACEFUL``, read lazily, checked in one place, every default in one table (:class:`Conf`).

:func:`read` is a pure function from the raw setting, whatever it is, to a :class:`Conf` and a list of :class:`Fault`;
it never raises. The system checks show the faults, and :func:`get_conf` raises them. Nothing is read at import, and
tests may override the setting at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_graceful.options import OVERRIDES, coerce, nearest, one_of, optional, seconds, whole
from django_graceful.schedule.reading import read_schedules
from django_graceful.schedule.spec import Schedule
from django_graceful.store_conf import Fault, StoreConf, directory, read_stores, unknown_key

__all__ = ["Conf", "Fault", "MailConf", "MetricsConf", "StoreConf", "get_conf", "read"]


@dataclass(slots=True, frozen=True)
class MailConf:
    """``MAIL``: which backend delivers (where Django has no ``MAILERS``), and whether mail waits for the commit."""

    deliver_using: str = "django.core.mail.backends.smtp.EmailBackend"
    #: A database alias, or True for the default database; ``"outbox"``: see ``outbox.read_on_commit``.
    on_commit: bool | str = True


@dataclass(slots=True, frozen=True)
class MetricsConf:
    """``METRICS``: the bearer token that opens the URL of the metrics (empty: nobody may read, None: everybody)."""

    token: str | None = ""


@dataclass(slots=True, frozen=True)
class Conf:
    """``GRACEFUL`` with defaults filled in. Seconds and bytes."""

    stores: dict[str, StoreConf] = field(default_factory=dict)
    queues: dict[str, dict[str, Any]] = field(default_factory=dict)
    hammer_after: float = 25.0
    kill_after: float = 5.0
    cancel_grace: float = 2.0
    push_timeout: float = 5.0
    max_payload: int = 1 << 20
    #: Worker processes over all queues; None: twice the processors, at least four.
    max_processes: int | None = None
    worker_idle: float = 10.0
    #: A worker ends after that many items or above that many bytes of memory, and a fresh one takes its place.
    max_jobs: int | None = None
    max_rss: int | None = None
    max_crashes: int = 3
    length: int = 100_000
    #: Whether gunicorn runs ``runqueues`` beside its workers.
    sidecar: bool = False
    #: How long ``graceful shutdown --web`` lets load balancers look before it stops the server.
    drain_delay: float = 0.0
    mail: MailConf = MailConf()
    #: By name; those of the code are not among them.
    schedules: dict[str, Schedule] = field(default_factory=dict)
    metrics: MetricsConf = MetricsConf()

    def store(self, alias: str) -> StoreConf:
        """The store of that alias; ``ImproperlyConfigured`` names the ones there are."""
        try:
            return self.stores[alias]
        except KeyError:
            known = ", ".join(self.stores) or "none"
            raise ImproperlyConfigured(
                f"GRACEFUL['STORES'] has no {alias!r}{nearest(alias, self.stores)}; it has: {known}"
            ) from None


_NUMBERS = {
    "HAMMER_AFTER": seconds(0),
    "KILL_AFTER": seconds(0),
    "CANCEL_GRACE": seconds(0),
    "PUSH_TIMEOUT": seconds(0),
    "MAX_PAYLOAD": whole(1, 64 << 20),  # what one frame of the inbox holds
    "MAX_PROCESSES": optional(whole(1, 10_000)),
    "WORKER_IDLE": seconds(0),
    "MAX_JOBS": optional(whole(1)),
    "MAX_RSS": optional(whole(1, 1 << 62)),
    "MAX_CRASHES": whole(1, 60_000),
    "LENGTH": whole(1),
    "SIDECAR": one_of(False, True),
    "DRAIN_DELAY": seconds(0),
}
_DEFAULTS = Conf()
_TOP = ("STORES", "QUEUES", "MAIL", "METRICS", "SCHEDULES", *_NUMBERS)


def read(raw: Any, base_dir: Any = None, zone: str | None = "UTC") -> tuple[Conf, list[Fault]]:
    """``GRACEFUL`` as a :class:`Conf`, and what is wrong with it.

    ``base_dir`` places the default store and relative paths; ``zone`` is the time zone of schedules that name none.
    What is wrong is left out of the ``Conf``.
    """
    if not isinstance(raw, Mapping):
        return Conf(), [
            Fault("GRACEFUL", f"must be a dict, not {type(raw).__name__}", "Leave it out for the defaults.")
        ]
    faults = [unknown_key("GRACEFUL", key, _TOP) for key in raw if key not in _TOP]
    values = {}
    for key, convert in _NUMBERS.items():
        try:
            values[key.lower()] = convert(raw[key]) if key in raw else getattr(_DEFAULTS, key.lower())
        except ValueError as error:
            hint = f"The default is {getattr(_DEFAULTS, key.lower())!r}."
            faults.append(Fault(f"GRACEFUL['{key}']", str(error), hint))
    base = directory(base_dir)
    stores = read_stores(raw.get("STORES"), base, faults)
    named = raw["STORES"] if isinstance(raw.get("STORES"), Mapping) else stores
    aliases = [alias for alias in named if isinstance(alias, str)]
    queues = _read_queues(raw.get("QUEUES", {}), aliases, faults)
    mail = _read_mail(raw.get("MAIL", {}), faults)
    metrics = _read_metrics(raw.get("METRICS", {}), faults)
    schedules = read_schedules(raw.get("SCHEDULES", {}), zone or "UTC", faults)
    return Conf(stores=stores, queues=queues, mail=mail, metrics=metrics, schedules=schedules, **values), faults


def _read_queues(raw: Any, aliases: Collection[str], faults: list[Fault]) -> dict[str, dict[str, Any]]:
    if not isinstance(raw, Mapping):
        hint = "For example: {'mail': {'MAX_WORKERS': 2}}."
        faults.append(Fault("GRACEFUL['QUEUES']", f"must be a dict, not {type(raw).__name__}", hint))
        return {}
    return {str(name): _read_queue(name, entry, aliases, faults) for name, entry in raw.items()}


def _read_queue(name: Any, entry: Any, aliases: Collection[str], faults: list[Fault]) -> dict[str, Any]:
    where = f"GRACEFUL['QUEUES'][{name!r}]"
    if not isinstance(name, str) or not isinstance(entry, Mapping):
        faults.append(Fault(where, "must be a dict, under the name of a queue", "For example: {'MAX_WORKERS': 2}."))
        return {}
    found = {}
    for key, value in entry.items():
        if key not in OVERRIDES:
            faults.append(unknown_key(where, key, OVERRIDES))
            continue
        try:
            found[OVERRIDES[key]] = coerce(OVERRIDES[key], value)
        except ValueError as error:
            faults.append(Fault(f"{where}[{key!r}]", str(error), "Leave it out to keep what the code declares."))
    store = found.get("store")
    if store is not None and store not in aliases:
        del found["store"]
        what = f"no store is named {store!r}{nearest(store, aliases)}"
        faults.append(Fault(f"{where}['STORE']", what, f"GRACEFUL['STORES'] has: {', '.join(aliases) or 'none'}."))
    return found


def _read_mail(raw: Any, faults: list[Fault]) -> MailConf:
    known, where, default = ("DELIVER_USING", "ON_COMMIT"), "GRACEFUL['MAIL']", MailConf()
    if not isinstance(raw, Mapping):
        faults.append(Fault(where, f"must be a dict, not {type(raw).__name__}", f"Known keys: {', '.join(known)}."))
        return default
    faults.extend(unknown_key(where, key, known) for key in raw if key not in known)
    deliver, commit = raw.get("DELIVER_USING", default.deliver_using), raw.get("ON_COMMIT", default.on_commit)
    if not isinstance(deliver, str) or not deliver.rpartition(".")[0]:
        what = f"must be the dotted path of an email backend, not {deliver!r}"
        faults.append(Fault(f"{where}['DELIVER_USING']", what, f"The default is {default.deliver_using!r}."))
    if not isinstance(commit, bool | str) or commit == "":
        what = f"must be True, False or the alias of a database, not {commit!r}"
        faults.append(
            Fault(
                f"{where}['ON_COMMIT']",
                what,
                'True waits for the commit of the default database, "outbox" goes with it.',
            )
        )
    return MailConf(deliver, commit)


def _read_metrics(raw: Any, faults: list[Fault]) -> MetricsConf:
    where, hint = "GRACEFUL['METRICS']", "For example: {'TOKEN': os.environ['METRICS_TOKEN']}."
    if not isinstance(raw, Mapping):
        faults.append(Fault(where, f"must be a dict, not {type(raw).__name__}", hint))
        return MetricsConf()
    faults.extend(unknown_key(where, key, ("TOKEN",)) for key in raw if key != "TOKEN")
    token = raw.get("TOKEN", "")
    if token is None or (isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token):
        return MetricsConf(token)
    what = "must be None, or text of printable ASCII characters without spaces, as a header can carry it"
    faults.append(Fault(f"{where}['TOKEN']", what, hint))
    return MetricsConf()


_cached: Conf | None = None


def get_conf() -> Conf:
    """The settings as they are now, the same object until they change.

    Raises ``ImproperlyConfigured`` that names every fault.
    """
    if _cached is None:
        return _read_settings()
    return _cached


def read_all() -> tuple[Conf, list[Fault]]:
    """:func:`read` what the settings are just now."""
    return read(getattr(settings, "GRACEFUL", {}), getattr(settings, "BASE_DIR", None), settings.TIME_ZONE)


def _read_settings() -> Conf:
    global _cached
    conf, faults = read_all()
    if faults:
        raise ImproperlyConfigured("; ".join(f"{fault.where} {fault.what}" for fault in faults))
    _cached = conf
    return conf


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    global _cached
    if setting in ("GRACEFUL", "BASE_DIR", "TIME_ZONE"):
        _cached = None


setting_changed.connect(_on_setting_changed)
