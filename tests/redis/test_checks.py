"""System checks of redis stores."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.test import override_settings

from django_graceful import redis_checks
from django_graceful.conf import read
from tests.redis.kit import add_cache, cache_setting, server
from tests.redis.server import Server, free_port

STORES = {"default": {"BACKEND": "redis", "ALIAS": "queues"}}


def check(caches: dict[str, Any], *, deploy: bool = False) -> list[CheckMessage]:
    for alias, entry in caches.items():
        add_cache(alias, entry)
    with override_settings(GRACEFUL={"STORES": STORES}, CACHES=caches):
        found = run_checks(tags=["django_graceful"], include_deployment_checks=deploy)
        return [message for message in found if "redis" in message.msg]


def ids(messages: list[CheckMessage]) -> list[str]:
    return [str(message.id).removeprefix("django_graceful.") for message in messages]


def test_a_redis_store_names_a_cache() -> None:
    conf, faults = read({"STORES": STORES})
    assert faults == []
    assert (conf.stores["default"].backend, conf.stores["default"].cache) == ("redis", "queues")


@pytest.mark.parametrize("alias", [None, "", 5, ["queues"]])
def test_a_redis_store_without_the_name_of_a_cache_is_a_fault(alias: Any) -> None:
    conf, (fault,) = read({"STORES": {"default": {"BACKEND": "redis", "ALIAS": alias}}})
    assert conf.stores == {}
    assert fault.where == "GRACEFUL['STORES']['default']['ALIAS']"


def test_an_unknown_key_of_a_redis_store_is_named_with_the_nearest() -> None:
    _, (fault,) = read({"STORES": {"default": {"BACKEND": "redis", "ALIAS": "queues", "ALAIS": 1}}})
    assert "unknown key 'ALAIS' (did you mean 'ALIAS'?)" in fault.what


def test_a_good_cache_has_nothing_to_hear() -> None:
    other = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "x"}
    caches = {"queues": cache_setting("redis://localhost/1"), "default": cache_setting("redis://localhost/2")}
    assert check(caches | {"other": other}) == []


def test_a_cache_that_is_not_there_is_an_error_that_names_the_nearest() -> None:
    (found,) = check({"default": cache_setting("redis://localhost/1"), "queue": cache_setting("redis://localhost/2")})
    assert ids([found]) == ["E010"]
    assert "(did you mean 'queue'?)" in found.msg


@pytest.mark.parametrize(
    "backend",
    [
        "django.core.cache.backends.redis.RedisCache",
        "django.core.cache.backends.locmem.LocMemCache",
        "nowhere.Cache",
        "django_redis.cache",
        5,
    ],
)
def test_a_cache_that_is_none_of_django_redis_is_an_error(backend: Any) -> None:
    entry = {"BACKEND": backend, "LOCATION": "redis://localhost"}
    with override_settings(CACHES={"queues": entry}):
        conf = read({"STORES": STORES})[0].stores["default"]
        assert ids(list(redis_checks.check_alias(conf))) == ["E010"]


def test_a_missing_django_redis_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_checks, "find_spec", lambda name: None)
    (found,) = check({"queues": cache_setting("redis://localhost")})
    assert ids([found]) == ["E010"]
    assert found.hint == "pip install django-graceful-queues[redis]"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://localhost/1", "redis://localhost:6379/1"),
        ("redis://:secret@localhost/1", "rediss://localhost:6379?db=1"),
        ("redis://localhost", "redis://localhost/0"),
        (["redis://localhost/1", "redis://replica/1"], "redis://localhost/1"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_a_database_that_is_shared_with_a_cache_is_a_warning(one: Any, other: Any) -> None:
    (found,) = check({"queues": cache_setting(one), "pages": cache_setting(other)})
    assert ids([found]) == ["W009"]
    assert "'pages'" in found.msg
    assert "secret" not in found.msg


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://localhost/1", "redis://localhost/2"),
        ("redis://localhost/1", "redis://elsewhere/1"),
        ("redis://localhost:1/1", "redis://localhost:2/1"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=2"),
        ("redis://localhost/1", "redis://localhost:none/1"),
        ("redis://localhost/1", 5),
        ("redis://localhost/1", []),
    ],
)
def test_databases_of_their_own_are_fine(one: Any, other: Any) -> None:
    conf = read({"STORES": STORES})[0].stores["default"]
    with override_settings(CACHES={"queues": cache_setting(one), "pages": cache_setting(other)}):
        assert list(redis_checks.check_alias(conf)) == []


def test_queues_in_the_default_cache_are_a_warning() -> None:
    with override_settings(CACHES={"default": cache_setting("redis://localhost")}):
        conf = read({"STORES": {"default": {"BACKEND": "redis", "ALIAS": "default"}}})[0].stores["default"]
        assert ids(list(redis_checks.check_alias(conf))) == ["W009"]


def test_a_deployment_looks_at_the_server(own_server: Callable[..., Server]) -> None:
    careless = own_server("--maxmemory-policy", "allkeys-lru")
    found = check({"queues": cache_setting(careless.url)}, deploy=True)
    assert ids(found) == ["W010", "W011"]
    assert "loses all that is queued" in found[1].msg
    careful = own_server("--appendonly", "yes")
    assert check({"queues-2": cache_setting("redis://x"), "queues": cache_setting(careful.url)}, deploy=True) == []


def test_a_server_that_is_not_there_is_a_warning_without_its_password() -> None:
    (found,) = check({"queues": cache_setting(f"redis://:secret@127.0.0.1:{free_port()}")}, deploy=True)
    assert ids([found]) == ["W012"]
    assert "secret" not in found.msg


def test_without_a_deployment_no_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_checks, "check_server", pytest.fail)
    assert check({"queues": cache_setting(server().url)}) == []


@pytest.mark.parametrize(
    ("version", "expected"),
    [("6.0.16", ["E011"]), ("5.0", ["E011"]), ("6.2.0", []), ("7.0.15", []), ("10.1", []), ("", []), ("x.y", [])],
)
def test_a_server_that_is_too_old_is_an_error(version: str, expected: list[str]) -> None:
    info = {"redis_version": version, "aof_enabled": 1, "maxmemory_policy": "noeviction"}
    assert ids(list(redis_checks.judge("x", info, ""))) == expected


@pytest.mark.parametrize(("save", "words"), [("", "all that"), ("3600 1", "last minutes"), (None, "last minutes")])
def test_what_a_restart_loses_is_said(save: str | None, words: str) -> None:
    (found,) = redis_checks.judge("x", {"redis_version": "7.0", "aof_enabled": 0}, save)
    assert words in found.msg


def test_runtime_and_spool_are_directories_of_this_host(tmp_path: Path) -> None:
    entry = {"BACKEND": "redis", "ALIAS": "queues"}
    conf, faults = read({"STORES": {"a b/c": entry}}, tmp_path)
    assert not faults
    assert conf.stores["a b/c"].path == tmp_path / "var" / "graceful-a_b_c"
    assert conf.stores["a b/c"].spool is None
    conf, faults = read({"STORES": {"default": entry | {"RUNTIME": "run", "SPOOL": tmp_path / "spool"}}}, tmp_path)
    assert not faults
    assert (conf.stores["default"].path, conf.stores["default"].spool) == (tmp_path / "run", tmp_path / "spool")
    conf, faults = read({"STORES": {"default": entry}})
    assert not faults
    assert conf.stores["default"].path.name == f"graceful-{os.geteuid()}-default"


@pytest.mark.parametrize("key", ["RUNTIME", "SPOOL"])
@pytest.mark.parametrize("value", [None, "", 5, "relative"])
def test_what_is_no_directory_is_a_fault(key: str, value: Any) -> None:
    conf, (fault,) = read({"STORES": {"default": {"BACKEND": "redis", "ALIAS": "queues", key: value}}})
    assert conf.stores == {}
    assert fault.where == f"GRACEFUL['STORES']['default']['{key}']"
