"""``GRACEFUL["SCHEDULES"]``: reading it. Pure; see :mod:`django_graceful.conf`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django_graceful.schedule.spec import Schedule, SpecError, make
from django_graceful.store_conf import Fault, unknown_key

_KEYS: Final = ("QUEUE", "EVERY", "CRON", "TIMEZONE", "PAYLOAD", "MISSED", "OVERLAP", "KEY")
_HINT: Final = "For example: {'nightly': {'QUEUE': 'search', 'CRON': '0 3 * * *'}}."


def read_schedules(raw: Any, zone: str, faults: list[Fault]) -> dict[str, Schedule]:
    """The schedules by name; what is wrong is left out and told in ``faults``. ``zone`` is that of the site."""
    where = "GRACEFUL['SCHEDULES']"
    if not isinstance(raw, Mapping):
        faults.append(Fault(where, f"must be a dict, not {type(raw).__name__}", _HINT))
        return {}
    found = {}
    for name, entry in raw.items():
        if not isinstance(entry, Mapping):
            faults.append(Fault(f"{where}[{name!r}]", "must be a dict, under the name of a schedule", _HINT))
            continue
        unknown = [key for key in entry if key not in _KEYS]
        faults += [unknown_key(f"{where}[{name!r}]", key, _KEYS) for key in unknown]
        options = {key.lower(): value for key, value in entry.items() if key in _KEYS}
        try:
            if not unknown:
                found[name] = make(name, options.pop("queue", None), default_zone=zone, **options)
        except SpecError as error:
            faults.append(Fault(f"{where}[{name!r}]", f"{error.option.upper()} {error}", _HINT))
    return found
