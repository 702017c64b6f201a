"""The settings of a deploy: ``SIDECAR`` and ``DRAIN_DELAY``."""

from __future__ import annotations

from typing import Any

import pytest

from django_graceful.conf import read

STORES = {"default": {"BACKEND": "leveldb", "PATH": "/srv/queues"}}


def test_by_default_there_is_no_sidecar_and_no_delay() -> None:
    conf, faults = read({"STORES": STORES})
    assert (conf.sidecar, conf.drain_delay, faults) == (False, 0.0, [])


def test_both_can_be_set() -> None:
    conf, faults = read({"STORES": STORES, "SIDECAR": True, "DRAIN_DELAY": 5})
    assert (conf.sidecar, conf.drain_delay, faults) == (True, 5.0, [])


@pytest.mark.parametrize(("key", "value"), [("SIDECAR", "yes"), ("SIDECAR", 1), ("DRAIN_DELAY", -1)])
def test_what_makes_no_sense_is_named(key: str, value: Any) -> None:
    _, faults = read({"STORES": STORES, key: value})
    assert [fault.where for fault in faults] == [f"GRACEFUL['{key}']"]
    assert repr(value) in faults[0].what
