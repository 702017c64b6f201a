from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_graceful.conf import Conf, Fault, StoreConf, get_conf, read

STORES = {"default": {"BACKEND": "leveldb", "PATH": "/srv/queues"}}


def faults(**settings: Any) -> list[Fault]:
    return read({"STORES": STORES} | settings)[1]


def fault(**settings: Any) -> Fault:
    [found] = faults(**settings)
    return found


def store_fault(**entry: Any) -> Fault:
    [found] = read({"STORES": {"default": {"BACKEND": "leveldb", "PATH": "/srv/queues"} | entry}})[1]
    return found


def test_without_any_setting_there_is_one_store_below_base_dir() -> None:
    conf, wrong = read({}, "/site")
    assert wrong == []
    assert conf == Conf(stores={"default": StoreConf("default", "leveldb", Path("/site/var/graceful"))})


def test_without_stores_and_without_base_dir_there_is_no_place_to_keep_items() -> None:
    [found] = read({})[1]
    assert found.where == "GRACEFUL['STORES']"
    assert "BASE_DIR" in found.what


@pytest.mark.parametrize("raw", [5, None, "x", [], [("STORES", {})], object()])
def test_a_setting_that_is_no_dict_is_one_fault(raw: Any) -> None:
    conf, [found] = read(raw)
    assert found.where == "GRACEFUL"
    assert f"not {type(raw).__name__}" in found.what
    assert conf == Conf()


def test_every_number_is_taken_under_its_lower_case_name() -> None:
    values = {
        "HAMMER_AFTER": 10.0,
        "KILL_AFTER": 1.5,
        "CANCEL_GRACE": 0.0,
        "PUSH_TIMEOUT": 0.5,
        "MAX_PAYLOAD": 1000,
        "MAX_PROCESSES": 3,
        "WORKER_IDLE": 1.0,
        "MAX_JOBS": 100,
        "MAX_RSS": 1 << 40,
        "MAX_CRASHES": 1,
        "LENGTH": 5,
    }
    conf, wrong = read({"STORES": STORES} | values)
    assert wrong == []
    assert {name: getattr(conf, name.lower()) for name in values} == values


def test_the_defaults_are_those_of_the_documentation() -> None:
    conf, _ = read({"STORES": STORES})
    assert (conf.hammer_after, conf.kill_after, conf.cancel_grace, conf.push_timeout) == (25, 5, 2, 5)
    assert (conf.max_payload, conf.length, conf.max_crashes, conf.worker_idle) == (1_048_576, 100_000, 3, 10)
    assert (conf.max_processes, conf.max_jobs, conf.max_rss) == (None, None, None)


@pytest.mark.parametrize(
    ("key", "least", "most"),
    [
        ("HAMMER_AFTER", 0, 366 * 86_400),
        ("KILL_AFTER", 0, 366 * 86_400),
        ("CANCEL_GRACE", 0, 366 * 86_400),
        ("PUSH_TIMEOUT", 0, 366 * 86_400),
        ("WORKER_IDLE", 0, 366 * 86_400),
        ("MAX_PAYLOAD", 1, 64 << 20),
        ("MAX_PROCESSES", 1, 10_000),
        ("MAX_JOBS", 1, 1 << 31),
        ("MAX_RSS", 1, 1 << 62),
        ("MAX_CRASHES", 1, 60_000),
        ("LENGTH", 1, 1 << 31),
    ],
)
def test_a_number_may_be_as_small_and_as_large_as_its_bounds(key: str, least: int, most: int) -> None:
    assert faults(**{key: least}) == faults(**{key: most}) == []
    assert fault(**{key: least - 1}).where == fault(**{key: most + 1}).where == f"GRACEFUL['{key}']"


@pytest.mark.parametrize("key", ["MAX_PROCESSES", "MAX_JOBS", "MAX_RSS"])
def test_none_means_no_limit(key: str) -> None:
    assert faults(**{key: None}) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("HAMMER_AFTER", -1),
        ("HAMMER_AFTER", "25"),
        ("HAMMER_AFTER", None),
        ("KILL_AFTER", float("nan")),
        ("CANCEL_GRACE", True),
        ("PUSH_TIMEOUT", float("inf")),
        ("WORKER_IDLE", 10**400),
        ("MAX_PAYLOAD", 0),
        ("MAX_PAYLOAD", (64 << 20) + 1),
        ("MAX_PROCESSES", 0),
        ("MAX_JOBS", 1.5),
        ("MAX_RSS", "1G"),
        ("MAX_CRASHES", 0),
        ("MAX_CRASHES", None),
        ("LENGTH", 0),
    ],
)
def test_a_wrong_number_names_the_key_and_leaves_the_default(key: str, value: Any) -> None:
    conf, [found] = read({"STORES": STORES, key: value})
    assert found.where == f"GRACEFUL['{key}']"
    assert found.what.startswith("must be ")
    assert "default" in found.hint
    assert getattr(conf, key.lower()) == getattr(Conf(), key.lower())


def test_an_unknown_key_names_the_nearest_valid_one() -> None:
    found = fault(HAMER_AFTER=3)
    assert found.where == "GRACEFUL"
    assert found.what == "unknown key 'HAMER_AFTER' (did you mean 'HAMMER_AFTER'?)"
    assert "KILL_AFTER" in found.hint


def test_a_lower_case_key_names_the_upper_case_one() -> None:
    assert "(did you mean 'LENGTH'?)" in fault(length=3).what


@pytest.mark.parametrize("raw", [{}, [], "leveldb", 5])
def test_stores_must_be_a_dict_with_something_in_it(raw: Any) -> None:
    assert fault(STORES=raw).where == "GRACEFUL['STORES']"


@pytest.mark.parametrize("entry", [5, "leveldb", None, []])
def test_a_store_must_be_a_dict(entry: Any) -> None:
    assert fault(STORES={"default": entry}).where == "GRACEFUL['STORES']['default']"


def test_a_store_must_have_text_as_its_name() -> None:
    assert fault(STORES={5: {"BACKEND": "memory"}}).where == "GRACEFUL['STORES'][5]"


def test_an_unknown_backend_names_the_nearest_valid_one() -> None:
    found = store_fault(BACKEND="leveldbb")
    assert found.where == "GRACEFUL['STORES']['default']['BACKEND']"
    assert "(did you mean 'leveldb'?)" in found.what


@pytest.mark.parametrize("backend", [None, 5, ["leveldb"], ""])
def test_a_backend_that_is_no_name_is_a_fault(backend: Any) -> None:
    assert store_fault(BACKEND=backend).where.endswith("['BACKEND']")


@pytest.mark.parametrize("path", [None, "", 5, b"/srv/queues", "/srv/\0", ["/srv"]])
def test_a_path_that_is_no_directory_name_is_a_fault(path: Any) -> None:
    assert store_fault(PATH=path).where == "GRACEFUL['STORES']['default']['PATH']"


class BytesPath(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"/srv"


def test_a_path_object_of_bytes_is_a_fault() -> None:
    assert store_fault(PATH=BytesPath()).where.endswith("['PATH']")


def test_a_relative_path_is_below_base_dir_wherever_the_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    conf, wrong = read({"STORES": {"default": {"BACKEND": "leveldb", "PATH": "var/../queues"}}}, "/site")
    assert wrong == []
    assert conf.store("default").path == Path("/site/queues")


def test_a_relative_path_without_base_dir_is_a_fault_because_it_would_depend_on_the_current_directory() -> None:
    assert store_fault(PATH="var/queues").where.endswith("['PATH']")


@pytest.mark.parametrize("base_dir", [5, None, "", b"/site", "relative", object()])
def test_a_base_dir_that_is_no_absolute_path_is_none(base_dir: Any) -> None:
    assert read({"STORES": STORES}, base_dir)[1] == []
    assert len(read({}, base_dir)[1]) == 1


@pytest.mark.parametrize("path", ["/srv/queues", Path("/srv/queues"), PurePosixPath("/srv/queues")])
def test_a_path_may_be_text_or_a_path_object(path: Any) -> None:
    conf, wrong = read({"STORES": {"default": {"BACKEND": "leveldb", "PATH": path}}})
    assert wrong == []
    assert conf.store("default").path == Path("/srv/queues")


@pytest.mark.parametrize("durability", ["disk", "", None, 1, ["os"]])
def test_a_wrong_durability_is_a_fault(durability: Any) -> None:
    assert store_fault(DURABILITY=durability).where.endswith("['DURABILITY']")


def test_fsync_is_what_durability_says() -> None:
    for durability in ("os", "fsync"):
        entry = {"BACKEND": "leveldb", "PATH": "/q", "DURABILITY": durability}
        assert read({"STORES": {"d": entry}})[0].store("d").fsync is (durability == "fsync")


@pytest.mark.parametrize("mode", [660, 0o640, 0o666, 0o700, 0, "660", None, 384.0, True])
def test_a_wrong_mode_is_a_fault_that_reminds_of_the_octal_prefix(mode: Any) -> None:
    found = store_fault(MODE=mode)
    assert found.where.endswith("['MODE']")
    assert "0o" in found.hint


def test_every_fault_of_one_store_is_named_at_once() -> None:
    wrong = read({"STORES": {"d": {"BACKEND": "leveldb", "PATH": 5, "MODE": 5, "DURABILITY": 5, "X": 5}}})[1]
    assert len(wrong) == 4


def test_a_store_with_a_fault_is_left_out() -> None:
    conf, _ = read({"STORES": {"good": {"BACKEND": "memory"}, "bad": {"BACKEND": "leveldb"}}})
    assert list(conf.stores) == ["good"]


def test_a_memory_store_takes_no_path() -> None:
    assert "unknown key 'PATH'" in fault(STORES={"default": {"BACKEND": "memory", "PATH": "/x"}}).what


def test_an_unknown_alias_names_the_nearest_and_all_there_are() -> None:
    conf, _ = read({"STORES": {"default": {"BACKEND": "memory"}, "other": {"BACKEND": "memory"}}})
    with pytest.raises(ImproperlyConfigured, match=r"no 'othr' \(did you mean 'other'\?\); it has: default, other"):
        conf.store("othr")
    with pytest.raises(ImproperlyConfigured, match="it has: none"):
        Conf().store("default")


def test_queue_overrides_are_given_in_their_final_form() -> None:
    conf, wrong = read({"STORES": STORES, "QUEUES": {"mail": {"MAX_WORKERS": 2, "TIMEOUT": 60, "STORE": "default"}}})
    assert wrong == []
    assert conf.queues == {"mail": {"max_workers": 2, "timeout": 60.0, "store": "default"}}


@pytest.mark.parametrize("raw", [5, [], "mail", None])
def test_queues_must_be_a_dict(raw: Any) -> None:
    assert fault(QUEUES=raw).where == "GRACEFUL['QUEUES']"


def test_a_queue_must_be_a_dict_under_a_name() -> None:
    assert fault(QUEUES={"mail": 2}).where == "GRACEFUL['QUEUES']['mail']"
    assert fault(QUEUES={7: {}}).where == "GRACEFUL['QUEUES'][7]"


def test_an_unknown_override_names_the_nearest_valid_one_and_the_good_ones_are_kept() -> None:
    conf, [found] = read({"STORES": STORES, "QUEUES": {"mail": {"MAX_WORKER": 2, "PRIORITY": 5}}})
    assert found.where == "GRACEFUL['QUEUES']['mail']"
    assert found.what == "unknown key 'MAX_WORKER' (did you mean 'MAX_WORKERS'?)"
    assert conf.queues == {"mail": {"priority": 5}}


def test_a_wrong_override_names_queue_and_key() -> None:
    found = fault(QUEUES={"mail": {"MAX_WORKERS": "two"}})
    assert found.where == "GRACEFUL['QUEUES']['mail']['MAX_WORKERS']"
    assert found.what == "must be a whole number from 1 to 1000, not 'two'"


def test_an_override_with_an_unknown_store_names_the_nearest_and_is_left_out() -> None:
    conf, [found] = read({"STORES": STORES, "QUEUES": {"mail": {"STORE": "defalt"}}})
    assert found.where == "GRACEFUL['QUEUES']['mail']['STORE']"
    assert "(did you mean 'default'?)" in found.what
    assert conf.queues == {"mail": {}}


def test_a_store_with_a_fault_is_not_also_called_missing() -> None:
    raw = {"STORES": {"default": {"BACKEND": "leveldb"}}, "QUEUES": {"mail": {"STORE": "default"}}}
    assert [found.where for found in read(raw)[1]] == ["GRACEFUL['STORES']['default']['PATH']"]


_garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner),
    max_leaves=10,
)
_keys = st.sampled_from(["STORES", "QUEUES", "MAIL", "HAMMER_AFTER", "MAX_RSS", "LENGTH"]) | st.text()
_stores = st.dictionaries(
    st.sampled_from(["default", 5, None]),
    st.dictionaries(st.sampled_from(["BACKEND", "PATH", "MODE", "DURABILITY", 7]), st.just("leveldb") | _garbage),
)


@given(st.dictionaries(_keys, _stores | _garbage) | _garbage, _garbage)
def test_reading_garbage_never_raises_and_every_fault_has_a_hint(raw: Any, base_dir: Any) -> None:
    conf, wrong = read(raw, base_dir)
    assert isinstance(conf, Conf)
    assert all(found.where and found.what and found.hint for found in wrong)


def test_get_conf_gives_the_same_object_until_the_settings_change() -> None:
    first = get_conf()
    assert get_conf() is first
    with override_settings(GRACEFUL={"STORES": STORES, "LENGTH": 7}):
        assert get_conf().length == 7
    assert get_conf().length == first.length


def test_get_conf_raises_every_fault_at_once() -> None:
    with (
        override_settings(GRACEFUL={"STORES": STORES, "LENGTH": 0, "HAMER_AFTER": 1}),
        pytest.raises(ImproperlyConfigured, match=r"HAMER_AFTER.*GRACEFUL\['LENGTH'\] must be"),
    ):
        get_conf()


def test_a_fault_that_is_mended_is_forgotten() -> None:
    with override_settings(GRACEFUL=5), pytest.raises(ImproperlyConfigured):
        get_conf()
    with override_settings(GRACEFUL={"STORES": STORES}):
        assert get_conf().store("default").path == Path("/srv/queues")


def test_another_base_dir_places_the_default_store_elsewhere() -> None:
    with override_settings(GRACEFUL={}, BASE_DIR="/elsewhere"):
        assert get_conf().store("default").path == Path("/elsewhere/var/graceful")
