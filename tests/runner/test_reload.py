"""``runqueues --reload``: new code is served without a restart by hand, and nothing is lost on the way."""

from __future__ import annotations

import signal
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.harness import Runner, Site, until

pytestmark = pytest.mark.process


@pytest.fixture
def code(site: Site, tmp_path: Path) -> Path:
    """An app of its own whose code can be changed: its queue says which version handles an item."""
    app = tmp_path / "changing"
    app.mkdir()
    (app / "__init__.py").touch()
    site.env["PYTHONPATH"] += f":{tmp_path}"
    site.env["GRACEFUL_TEST_APP"] = "changing"
    write(app / "queues.py", 1)
    return app / "queues.py"


def write(path: Path, version: int) -> None:
    path.write_text(
        textwrap.dedent(f"""
        from django_graceful import queue
        from tests.site.queues import say

        @queue("changing")
        def changing(payload):
            say("version", {version}, payload)
        """)
    )


def push(site: Site, payload: int) -> None:
    code = f"from django_graceful import get_queue; get_queue('changing').push({payload})"
    found = site.manage("shell", "-c", code)
    assert found.returncode == 0, found.stderr


def reloads(runner: Runner) -> int:
    return sum(" serves " in line for line in runner.log)


def test_changed_code_is_served_and_a_mistake_in_it_waits_for_the_next_change(site: Site, code: Path) -> None:
    runner = site.runner("--reload").serving()
    push(site, 1)
    site.said("version 1 1")
    write(code, 2)
    until(lambda: reloads(runner) == 2, "a reload")
    push(site, 2)
    site.said("version 2 2")
    code.write_text("this is not Python")
    runner.says("waiting for a change of the code")
    write(code, 3)
    until(lambda: reloads(runner) == 3, "a reload after the mistake")
    push(site, 3)
    site.said("version 3 3")
    assert runner.stop() == 0


def test_a_signal_to_the_reloader_drains_the_runner_and_leaves_no_process(site: Site, code: Path) -> None:
    runner = site.runner("--reload").serving()
    family = runner.family()
    assert len(family) > 2
    assert runner.stop(signal.SIGINT) == 0
    assert not psutil.wait_procs(family, timeout=5)[1]
    runner.says("stopped after")


def test_the_reloaders_parent_has_no_store_open(site: Site, code: Path) -> None:
    runner = site.runner("--reload").serving()
    files = [file.path for file in psutil.Process(runner.pid).open_files()]
    assert not [path for path in files if str(site.store) in path]
    assert runner.stop() == 0
