from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_graceful import checks, queue, redis_checks
from django_graceful.places import Place, look
from django_graceful.schedule import checks as schedule_checks


def check(*, deploy: bool = False, **graceful: Any) -> list[CheckMessage]:
    with override_settings(GRACEFUL=graceful):
        return run_checks(tags=["django_graceful"], include_deployment_checks=deploy)


def check_store(path: Any, **entry: Any) -> list[CheckMessage]:
    return check(STORES={"default": {"BACKEND": "leveldb", "PATH": path} | entry})


def ids(messages: list[CheckMessage]) -> list[str]:
    return [str(message.id).removeprefix("django_graceful.") for message in messages]


def handle(payload: Any) -> None: ...


@pytest.fixture
def memory() -> dict[str, Any]:
    return {"default": {"BACKEND": "memory"}}


@pytest.fixture
def disk(tmp_path: Path) -> dict[str, Any]:
    return {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "store"}}


@pytest.fixture(autouse=True)
def _local_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary directories may be in memory; here they count as a disk."""
    monkeypatch.setattr(checks, "look", lambda path: replace(look(path), filesystem="ext4"))


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make every store's directory look as told."""

    def look_like(**facts: Any) -> None:
        monkeypatch.setattr(checks, "look", lambda path: Place(path, **facts))

    return look_like


def test_a_site_with_a_good_store_and_queue_has_nothing_to_hear(disk: dict[str, Any], place: Any) -> None:
    place(filesystem="ext4", mode=0o700)
    queue("work", batch_length=10, unique="queued", key=lambda payload: payload["id"])(handle)
    assert check(deploy=True, STORES=disk, QUEUES={"work": {"MAX_WORKERS": 3}}) == []


def test_the_checks_change_nothing_on_the_disk(tmp_path: Path, disk: dict[str, Any]) -> None:
    check(deploy=True, STORES=disk)
    assert list(tmp_path.iterdir()) == []


def test_every_id_is_explained_in_the_documentation_of_the_module() -> None:
    source = Path(checks.__file__).read_text() + Path(redis_checks.__file__).read_text()
    used = {*re.findall(r'_id\("([EW]\d+)"\)', source), *schedule_checks.HINTS}
    explained = set(re.findall(r"^([EW]\d{3})", checks.__doc__ or "", re.MULTILINE))
    assert used == explained


# settings


@pytest.mark.parametrize("graceful", [5, None, "x", [1]])
def test_a_setting_that_is_no_dict_is_an_error_with_a_hint(graceful: Any) -> None:
    with override_settings(GRACEFUL=graceful):
        [message] = run_checks(tags=["django_graceful"])
    assert ids([message]) == ["E001"]
    assert message.msg == f"GRACEFUL must be a dict, not {type(graceful).__name__}."
    assert message.hint


def test_every_fault_of_the_settings_is_an_error_of_its_own(memory: dict[str, Any]) -> None:
    messages = check(STORES=memory, LENGHT=5, HAMMER_AFTER="25", MAIL=[])
    assert ids(messages) == ["E001"] * 3
    assert "unknown key 'LENGHT' (did you mean 'LENGTH'?)" in messages[0].msg
    assert all(message.is_serious() and message.hint for message in messages)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["STORES", "QUEUES", "MAIL", "d"]), inner),
        max_leaves=8,
    ),
    st.none() | st.integers() | st.text() | st.binary() | st.lists(st.text() | st.integers() | st.tuples(st.text())),
)
def test_the_checks_raise_nothing_whatever_the_settings_are(graceful: Any, root: Any) -> None:
    with override_settings(GRACEFUL=graceful, BASE_DIR=root, MEDIA_ROOT=root, STATIC_ROOT=root, STATICFILES_DIRS=root):
        messages = run_checks(tags=["django_graceful"], include_deployment_checks=True)
    assert all(message.hint for message in messages)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1))
def test_the_checks_raise_nothing_whatever_the_path_is(path: str) -> None:
    assert all(message.hint for message in check_store(f"/srv/{path}"))


# places


def test_a_file_in_the_way_of_a_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    messages = check_store(tmp_path / "file" / "store")
    assert ids(messages) == ["E002"]
    assert f"{tmp_path}/file is not a directory" in messages[0].msg


def test_a_directory_that_can_not_be_written_is_an_error_that_hints_at_mode(place: Any) -> None:
    place(obstacle="/srv is not writable for user 33")
    [message] = check_store("/srv/store")
    assert ids([message]) == ["E002"]
    assert message.msg == "The store 'default' (/srv/store) can not be used: /srv is not writable for user 33."
    assert "MODE" in str(message.hint)


@pytest.mark.parametrize("name", ["MEDIA_ROOT", "STATIC_ROOT"])
def test_a_store_that_would_be_served_to_the_world_is_an_error(tmp_path: Path, name: str) -> None:
    for path in (tmp_path / "public", tmp_path / "public" / "deep" / "store"):
        with override_settings(**{name: str(tmp_path / "public")}):
            [message] = check_store(path)
        assert ids([message]) == ["E003"]
        assert f"lies in {name}" in message.msg


@pytest.mark.parametrize("pair", [False, True])
def test_a_store_in_a_directory_of_static_files_is_an_error(tmp_path: Path, pair: bool) -> None:
    entry = ("prefix", tmp_path / "public") if pair else tmp_path / "public"
    with override_settings(STATICFILES_DIRS=[entry]):
        assert ids(check_store(tmp_path / "public" / "store")) == ["E003"]


def test_a_store_that_is_served_through_a_symbolic_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "media").symlink_to(tmp_path / "real")
    with override_settings(MEDIA_ROOT=tmp_path / "media"):
        assert ids(check_store(tmp_path / "real" / "store")) == ["E003"]


def test_a_store_beside_media_and_static_files_is_fine(tmp_path: Path) -> None:
    with override_settings(
        MEDIA_ROOT=tmp_path / "media", STATIC_ROOT=tmp_path / "static", STATICFILES_DIRS=[tmp_path / "m"]
    ):
        assert check_store(tmp_path / "media-store") == []


@pytest.mark.parametrize("root", ["", None])
def test_roots_that_are_not_set_hold_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with override_settings(MEDIA_ROOT=root, STATIC_ROOT=root, STATICFILES_DIRS=[]):
        assert check_store(tmp_path / "store") == []


def test_a_network_file_system_is_an_error(place: Any) -> None:
    place(filesystem="nfs4")
    [message] = check_store("/srv/store")
    assert ids([message]) == ["E004"]
    assert "network file system (nfs4)" in message.msg


def test_a_file_system_in_memory_is_a_warning(place: Any) -> None:
    place(filesystem="tmpfs")
    [message] = check_store("/srv/store")
    assert ids([message]) == ["W004"]
    assert not message.is_serious()


def test_a_store_in_a_package_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    assert ids(check_store(tmp_path / "var")) == ["W003"]


@pytest.mark.parametrize(
    ("mode", "found", "expected"),
    [
        (0o660, 0o2770, []),
        (0o660, 0o775, []),
        (0o660, 0o755, ["W006"]),
        (0o660, 0o700, ["W006"]),
        (0o660, None, []),
        (0o600, 0o700, []),
    ],
)
def test_a_mode_for_the_group_needs_a_directory_for_the_group(
    place: Any, mode: int, found: int | None, expected: list[str]
) -> None:
    place(mode=found)
    assert ids(check_store("/srv/store", MODE=mode)) == expected


def test_the_hint_for_the_group_is_a_command(place: Any) -> None:
    place(mode=0o755)
    [message] = check_store("/srv/store", MODE=0o660)
    assert message.hint == "chmod 2770 /srv/store"


@pytest.mark.parametrize(
    ("version", "package"),
    [((3, 11), "plyvel"), ((3, 12), "plyvel"), ((3, 13), "plyvel-next"), ((3, 14), "plyvel-next")],
)
def test_a_missing_leveldb_names_the_package_for_this_python(
    monkeypatch: pytest.MonkeyPatch, disk: dict[str, Any], version: tuple[int, int], package: str
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "version_info", version)
    [message] = check(STORES=disk)
    assert ids([message]) == ["E005"]
    assert message.hint == f"pip install {package}"


@pytest.mark.parametrize("name", ["plyvel", "plyvel_next"])
def test_either_package_for_leveldb_will_do(monkeypatch: pytest.MonkeyPatch, disk: dict[str, Any], name: str) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda asked: object() if asked == name else None)
    assert check(STORES=disk) == []


def test_a_site_without_a_leveldb_store_needs_no_package(
    monkeypatch: pytest.MonkeyPatch, memory: dict[str, Any]
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    assert check(STORES=memory) == []


@pytest.mark.parametrize(("one", "other"), [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "link")])
def test_two_stores_in_one_directory_are_an_error(tmp_path: Path, one: str, other: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    stores = {name: {"BACKEND": "leveldb", "PATH": tmp_path / path} for name, path in (("x", one), ("y", other))}
    [message] = check(STORES=stores)
    assert ids([message]) == ["E006"]
    assert "'x' and 'y'" in message.msg


def test_two_stores_beside_each_other_are_fine(tmp_path: Path) -> None:
    stores = {name: {"BACKEND": "leveldb", "PATH": tmp_path / name} for name in ("x", "xx")}
    assert check(STORES=stores) == []


# queues


@pytest.mark.parametrize(
    "handler",
    [lambda: None, lambda a, b: None, lambda *, payload: None, lambda a, *, b: None],
    ids=["none", "two", "keyword", "keyword too"],
)
def test_a_handler_that_can_not_take_one_argument_is_an_error(disk: dict[str, Any], handler: Any) -> None:
    queue("work")(handler)
    [message] = check(STORES=disk)
    assert ids([message]) == ["E007"]
    assert "The handler of queue 'work' can not be called with one argument" in message.msg


class Shop:
    def sell(self, payload: Any) -> None: ...


@pytest.mark.parametrize(
    "handler",
    [
        handle,
        lambda a, b=1: None,
        lambda *args: None,
        lambda *args, **kw: None,
        Shop().sell,
        lambda payload=None: None,
        print,
    ],
    ids=["one", "default", "star", "all", "method", "optional", "builtin"],
)
def test_a_handler_that_can_take_one_argument_is_fine(disk: dict[str, Any], handler: Any) -> None:
    queue("work")(handler)
    assert check(STORES=disk) == []


def test_a_method_that_was_declared_in_its_class_is_an_error_because_it_has_no_self(disk: dict[str, Any]) -> None:
    queue("work")(Shop.sell)
    assert ids(check(STORES=disk)) == ["E007"]


def test_an_async_handler_is_fine(disk: dict[str, Any]) -> None:
    async def fetch(payload: Any) -> None: ...

    queue(fetch)
    assert check(STORES=disk) == []


def test_a_generator_is_an_error_because_calling_it_runs_nothing(disk: dict[str, Any]) -> None:
    def work(payload: Any) -> Any:
        yield payload

    async def later(payload: Any) -> Any:
        yield payload

    queue(work)
    queue("later", batch_length=5)(later)
    messages = check(STORES=disk)
    assert ids(messages) == ["E007", "E007"]
    assert all("is a generator" in message.msg for message in messages)


def test_a_batch_handler_may_yield_what_it_could_not_handle(disk: dict[str, Any]) -> None:
    def work(payloads: Any) -> Any:
        yield from payloads

    queue(batch_length=5)(work)
    assert check(STORES=disk) == []


def test_a_queue_in_a_store_that_is_not_there_is_an_error_that_names_the_nearest(disk: dict[str, Any]) -> None:
    queue("work", store="defualt")(handle)
    [message] = check(STORES=disk)
    assert ids([message]) == ["E008"]
    assert "(did you mean 'default'?)" in message.msg


def test_a_store_with_a_fault_is_not_also_called_missing() -> None:
    queue("work")(handle)
    assert ids(check(STORES={"default": {"BACKEND": "leveldb"}})) == ["E001"]


def test_settings_for_a_queue_that_no_code_declares_are_a_warning_that_names_the_nearest(disk: dict[str, Any]) -> None:
    queue("thumbnails")(handle)
    [message] = check(STORES=disk, QUEUES={"thumbnail": {"PRIORITY": 1}, "thumbnails": {"PRIORITY": 1}})
    assert ids([message]) == ["W001"]
    assert "names 'thumbnail', which no app's queues.py declares (did you mean 'thumbnails'?)" in message.msg
    assert message.hint == "Declared are: thumbnails."


def test_a_queue_in_a_memory_store_is_a_warning_because_runqueues_can_not_see_it(memory: dict[str, Any]) -> None:
    queue("work")(handle)
    [message] = check(STORES=memory)
    assert ids([message]) == ["W002"]
    assert "runqueues can not see it" in message.msg


def test_an_immediate_queue_needs_no_store_that_runqueues_can_see(memory: dict[str, Any]) -> None:
    queue("work", immediate=True)(handle)
    assert check(STORES=memory) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_length": 5, "rerun": False}, "sets its whole batch aside"),
        ({"batch_wait": 2}, "batch_wait has no effect"),
        ({"batch_length": 50, "length": 20}, "a batch never fills"),
        ({"backoff": 60, "backoff_max": 10}, "the first wait is longer than the longest"),
        ({"key": lambda payload: "x"}, "is not unique"),
    ],
)
def test_options_that_contradict_each_other_are_a_warning(disk: dict[str, Any], options: Any, words: str) -> None:
    queue("work", **options)(handle)
    [message] = check(STORES=disk)
    assert ids([message]) == ["W005"]
    assert words in message.msg
    assert message.hint


@pytest.mark.parametrize(
    "options",
    [
        {"rerun": False},
        {"batch_length": 5, "batch_wait": 2},
        {"batch_length": 20, "length": 20},
        {"backoff": 10, "backoff_max": 10},
        {"unique": "finished", "key": lambda payload: "x"},
    ],
)
def test_options_that_go_together_are_fine(disk: dict[str, Any], options: Any) -> None:
    queue("work", **options)(handle)
    assert check(STORES=disk) == []


def test_a_contradiction_that_the_settings_make_is_found_too(disk: dict[str, Any]) -> None:
    queue("work", rerun=False)(handle)
    assert ids(check(STORES=disk, QUEUES={"work": {"BATCH_LENGTH": 5}})) == ["W005"]


# deployment


@pytest.mark.parametrize(
    ("hammer", "kill", "expected"), [(25, 5, []), (25, 5.5, ["W007"]), (60, 5, ["W007"]), (8, 1, [])]
)
def test_a_shutdown_longer_than_platforms_wait_is_a_warning_for_deployments(
    disk: dict[str, Any], place: Any, hammer: float, kill: float, expected: list[str]
) -> None:
    place()
    graceful = {"STORES": disk, "HAMMER_AFTER": hammer, "KILL_AFTER": kill}
    assert ids(check(deploy=True, **graceful)) == expected
    assert check(**graceful) == []


def test_an_immediate_queue_is_a_warning_for_deployments(disk: dict[str, Any]) -> None:
    queue("work", immediate=True)(handle)
    [message] = check(deploy=True, STORES=disk)
    assert ids([message]) == ["W008"]
    assert check(STORES=disk) == []
