"""The gunicorn configuration: what it sets, and how it joins a site's own."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from django_graceful import gunicorn
from django_graceful.gunicorn import install

HOOKS = {
    "on_starting": 1,
    "when_ready": 1,
    "on_reload": 1,
    "post_fork": 2,
    "post_worker_init": 1,
    "worker_int": 1,
    "worker_abort": 1,
    "worker_exit": 2,
    "child_exit": 2,
    "on_exit": 1,
}
SERVER = SimpleNamespace(WORKERS={}, cfg=SimpleNamespace(settings={}))
WORKER = SimpleNamespace(pid=os.getpid(), age=1, reloader=None, tmp=None)
called: list[str] = []


def hook_by_path(server: Any, worker: Any) -> None:
    called.append("by path")


@pytest.fixture(autouse=True)
def stores(monkeypatch: pytest.MonkeyPatch) -> None:
    called.clear()
    monkeypatch.setattr("django_graceful.gunicorn.worker.close_stores", lambda: called.append("stores"))


def accepted(namespace: dict[str, Any]) -> Config:
    """The namespace as gunicorn takes it; raises what gunicorn would."""
    config = Config()
    for name, value in namespace.items():
        if name in config.settings:
            config.set(name, value)
    return config


def test_the_module_itself_is_a_configuration() -> None:
    config = accepted(vars(gunicorn))
    assert (config.worker_class_str, config.threads, config.graceful_timeout) == ("gthread", 4, 30)
    assert config.control_socket_disable is True
    config.worker_exit(SERVER, WORKER)
    assert called == ["stores"]


def test_no_name_of_the_package_is_a_setting_by_accident() -> None:
    ours = {"worker_class", "threads", "graceful_timeout", "control_socket_disable", *HOOKS}
    assert {name for name in vars(gunicorn) if name in Config().settings} == ours


def test_values_of_the_site_stay() -> None:
    namespace: dict[str, Any] = {"threads": 9, "graceful_timeout": 77, "bind": "unix:x"}
    install(namespace)
    config = accepted(namespace)
    assert (config.threads, config.graceful_timeout, config.worker_class_str) == (9, 77, "gthread")
    assert config.bind == ["unix:x"]


def test_a_worker_class_of_the_site_gets_no_threads_from_us() -> None:
    namespace: dict[str, Any] = {"worker_class": "sync"}
    install(namespace)
    assert accepted(namespace).worker_class_str == "sync"  # with threads, gunicorn would make it gthread


def test_a_hook_of_the_site_runs_before_ours() -> None:
    def worker_exit(server: Any, worker: Any) -> None:
        called.append(f"{worker.age}")

    namespace: dict[str, Any] = {"worker_exit": worker_exit}
    install(namespace)
    accepted(namespace).worker_exit(SERVER, WORKER)
    assert called == ["1", "stores"]


def test_a_hook_named_by_its_path_is_chained_too() -> None:
    namespace: dict[str, Any] = {"worker_exit": f"{__name__}.hook_by_path"}
    install(namespace)
    accepted(namespace).worker_exit(SERVER, WORKER)
    assert called == ["by path", "stores"]


def test_a_hook_that_raises_is_logged_and_ours_runs_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    def worker_exit(server: Any, worker: Any) -> None:
        raise RuntimeError("theirs")

    namespace: dict[str, Any] = {"worker_exit": worker_exit}
    install(namespace)
    with caplog.at_level(logging.ERROR, "django_graceful.gunicorn"):
        accepted(namespace).worker_exit(SERVER, WORKER)
    assert called == ["stores"]
    assert "the site's worker_exit hook failed" in caplog.text


def test_a_hook_of_the_start_that_raises_prevents_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_starting(server: Any) -> None:
        raise RuntimeError("not today")

    monkeypatch.setattr("django_graceful.gunicorn.arbiter.descendants.adopt", lambda: called.append("ours"))
    namespace: dict[str, Any] = {"on_starting": on_starting}
    install(namespace)
    with pytest.raises(RuntimeError, match="not today"):
        accepted(namespace).on_starting(SERVER)
    assert called == []


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_takes_what_gunicorn_gives_it_also_with_one_of_the_site_before_it(name: str) -> None:
    two, one = (lambda server, worker: None), (lambda server: None)
    namespace: dict[str, Any] = {name: two if HOOKS[name] == 2 else one}
    install(namespace)
    accepted(namespace)  # it counts their parameters
    assert namespace[name] is not vars(gunicorn)[name]


@pytest.mark.parametrize("before", [{}, {"worker_exit": hook_by_path}])
def test_installing_twice_does_not_run_a_hook_twice(before: dict[str, Any]) -> None:
    namespace = {**vars(gunicorn), **before}
    install(namespace)
    install(namespace)
    accepted(namespace).worker_exit(SERVER, WORKER)
    assert called == ["by path", "stores"] if before else ["stores"]


def test_a_hook_that_can_not_be_called_is_refused() -> None:
    with pytest.raises(TypeError):
        install({"worker_exit": 5})


def test_signals_that_come_before_there_is_a_guard_change_nothing() -> None:
    gunicorn.worker_int(WORKER)
    gunicorn.worker_abort(WORKER)
