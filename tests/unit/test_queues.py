from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_graceful import all_queues, get_queue, queue
from django_graceful.conf import read
from django_graceful.exceptions import UnknownQueue
from django_graceful.options import Options
from django_graceful.queues import MAX_NAME, Queue

STORES = {"default": {"BACKEND": "memory"}}


def resize(payload: Any) -> Any:
    """Make it smaller."""
    return ("resized", payload)


# declaring


def test_a_queue_is_named_after_its_function_unless_it_has_a_name() -> None:
    assert queue(resize).name == "resize"
    assert queue()(resize).name == "resize"
    assert queue("thumbnails")(resize).name == "thumbnails"


def test_a_declared_queue_is_found_by_its_name() -> None:
    found = queue("thumbnails")(resize)
    assert get_queue("thumbnails") is found
    assert all_queues() == {"thumbnails": found}


def test_the_list_of_queues_is_a_copy() -> None:
    queue(resize)
    all_queues().clear()
    assert list(all_queues()) == ["resize"]


def test_calling_the_queue_calls_its_handler_here_and_now() -> None:
    assert queue(resize)(7) == ("resized", 7)


def test_the_queue_looks_like_its_function() -> None:
    found = queue("thumbnails")(resize)
    assert (found.__name__, found.__doc__, found.__module__) == ("resize", "Make it smaller.", __name__)
    assert repr(found) == "<Queue thumbnails>"


def test_attributes_of_the_function_do_not_become_those_of_the_queue() -> None:
    def handler(payload: Any) -> None: ...

    handler.name = "something else"  # type: ignore[attr-defined]
    handler.push = None  # type: ignore[attr-defined]
    found = queue("right")(handler)
    assert found.name == "right"
    assert callable(found.push)


def test_an_unknown_queue_is_an_error_that_names_the_nearest() -> None:
    queue("thumbnails")(resize)
    with pytest.raises(
        UnknownQueue, match=r"no app's queues.py declares a queue named 'thumbnail' \(did you mean 'thu"
    ):
        get_queue("thumbnail")


def test_an_unknown_queue_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match="'mail'"):
        get_queue("mail")


@pytest.mark.parametrize("name", ["", "a\nb", "\0", "x" * (MAX_NAME + 1), 5, b"mail", "\ud800"])
def test_a_name_is_a_few_printable_characters(name: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="a queue's name is 1 to 100 printable characters"):
        queue(name)(resize)
    assert all_queues() == {}


def test_a_name_may_be_as_long_as_it_may_be_and_in_any_language() -> None:
    assert queue("ü" * MAX_NAME)(resize).name == "ü" * MAX_NAME
    assert queue("q")(resize).name == "q"


def test_an_unknown_option_names_the_nearest_valid_one() -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"queue 'resize': unknown option 'max_worker' \(did you mean 'max_workers"
    ):
        queue(max_worker=3)(resize)


def test_a_wrong_value_names_queue_and_option() -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"queue 'resize': timeout must be a number of seconds .* not 'soon'"
    ):
        queue(timeout="soon")(resize)
    assert all_queues() == {}


# two declarations of one name


def load(path: Path, name: str) -> dict[str, Any]:
    """What importing the file as module ``name`` defines."""
    scope: dict[str, Any] = {"__name__": name}
    exec(compile(path.read_text(), path, "exec"), scope)
    return scope


def test_two_functions_can_not_have_one_name_even_if_they_are_called_the_same(tmp_path: Path) -> None:
    file = tmp_path / "queues.py"
    file.write_text("from django_graceful import queue\n@queue\ndef work(payload): ...\n")
    load(file, "shop.queues")
    with pytest.raises(
        ImproperlyConfigured, match=r"two queues are named 'work': shop.queues.work and blog.queues.work"
    ):
        load(file, "blog.queues")


def test_the_first_of_two_declarations_stays(tmp_path: Path) -> None:
    first = queue("work")(resize)
    with pytest.raises(ImproperlyConfigured):
        queue("work")(lambda payload: None)
    assert get_queue("work") is first


def test_declaring_a_module_again_replaces_its_queues(tmp_path: Path) -> None:
    file = tmp_path / "queues.py"
    file.write_text("from django_graceful import queue\n@queue\ndef work(payload): return 1\n")
    load(file, "shop.queues")
    file.write_text("from django_graceful import queue\n\n\n@queue(priority=5)\ndef work(payload): return 2\n")
    again = load(file, "shop.queues")["work"]
    assert get_queue("work") is again
    assert get_queue("work")(None) == 2
    assert get_queue("work").options.priority == 5


def test_two_lambdas_of_one_module_are_two_functions() -> None:
    queue("work")(lambda payload: 1)
    with pytest.raises(ImproperlyConfigured, match="two queues are named 'work'"):
        queue("work")(lambda payload: 2)


# kinds of handlers


class Shop:
    def sell(self, payload: Any) -> Any:
        return (self, payload)

    @staticmethod
    def count(payload: Any) -> Any:
        return payload

    def __call__(self, payload: Any) -> None: ...


def test_a_bound_method_may_be_a_handler() -> None:
    shop = Shop()
    assert queue(shop.sell).name == "sell"
    assert get_queue("sell")(5) == (shop, 5)


def test_a_static_method_may_be_a_handler() -> None:
    assert queue(Shop.count)(5) == 5


def test_a_lambda_may_be_a_handler_when_it_has_a_name() -> None:
    assert queue("double")(lambda payload: payload * 2)(4) == 8
    with pytest.raises(ImproperlyConfigured, match="a queue whose handler is a lambda needs a name"):
        queue()(lambda payload: None)


def test_a_function_with_a_cache_may_be_a_handler() -> None:
    assert queue(lru_cache(resize)).name == "resize"


def test_the_handler_of_another_queue_may_be_a_handler() -> None:
    first = queue("first")(resize)
    second = queue("second")(first)
    assert second.handler is resize


@pytest.mark.parametrize(
    "handler", [partial(resize), Shop, Shop(), 5, None], ids=["partial", "class", "object", "number", "none"]
)
def test_what_is_no_function_is_refused_with_a_word_on_what_to_do(handler: Any) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"queue 'work': its handler is a function or a method, not .*: use def"
    ):
        queue("work")(handler)


def test_a_coroutine_function_is_known_as_one() -> None:
    async def fetch(payload: Any) -> Any:
        return payload

    found = queue(fetch)
    assert found.is_async
    assert asyncio.run(found(5)) == 5
    assert not queue(resize).is_async


def test_an_async_handler_of_another_queue_stays_async() -> None:
    async def fetch(payload: Any) -> None: ...

    assert queue("second")(queue("first")(fetch)).is_async


# options and settings


def test_the_options_are_those_of_the_code() -> None:
    assert queue(max_workers=3, unique="queued")(resize).options == Options(max_workers=3, unique="queued")


def test_the_settings_override_the_code_and_leave_the_rest() -> None:
    found = queue(max_workers=3, priority=5)(resize)
    with override_settings(GRACEFUL={"STORES": STORES, "QUEUES": {"resize": {"MAX_WORKERS": 7}}}):
        assert found.options == Options(max_workers=7, priority=5)
    assert found.options == Options(max_workers=3, priority=5)


def test_the_settings_of_another_queue_change_nothing() -> None:
    with override_settings(GRACEFUL={"STORES": STORES, "QUEUES": {"other": {"MAX_WORKERS": 7}}}):
        assert queue(resize).options == Options()


def test_options_are_worked_out_once_for_each_settings() -> None:
    found = queue(resize)
    assert found.options is found.options


def test_options_under_other_settings_can_be_asked_for() -> None:
    conf, _ = read({"STORES": STORES, "QUEUES": {"resize": {"PRIORITY": 9}}})
    found = queue(resize)
    assert found.options_under(conf).priority == 9
    assert found.options.priority == 0


def test_settings_that_are_wrong_are_an_error_at_the_push() -> None:
    found = queue(resize)
    with override_settings(GRACEFUL={"LENGHT": 5}), pytest.raises(ImproperlyConfigured, match="did you mean 'LENGTH'"):
        found.push()


# copies


def test_a_queue_pickles_and_copies_as_itself() -> None:
    found = queue("thumbnails")(resize)
    assert pickle.loads(pickle.dumps(found)) is found
    assert copy.deepcopy({"queue": found})["queue"] is found


def test_a_pickled_queue_that_is_no_longer_declared_is_unknown(registry: dict[str, Queue[Any]]) -> None:
    data = pickle.dumps(queue("thumbnails")(resize))
    registry.clear()
    with pytest.raises(UnknownQueue):
        pickle.loads(data)


_STARTING = """
import os, threading
before = set(os.listdir("/proc/self/fd"))
import django
django.setup()
from django_graceful.stores import _stores
print(threading.active_count(), len(_stores), sorted(set(os.listdir("/proc/self/fd")) - before))
"""


@pytest.mark.process
def test_setting_django_up_starts_no_thread_and_opens_no_store() -> None:
    """``AppConfig.ready`` runs in servers that fork later."""
    found = subprocess.run(
        [sys.executable, "-c", _STARTING],
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout.split() == ["1", "0", "[]"]
