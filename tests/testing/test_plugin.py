"""The pytest plugin, as pytest loads it in an environment where the package is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]
NO_DJANGO = """
import sys

def test_nothing_of_it_is_imported():
    assert "pytest_django_graceful" in sys.modules
    assert "django_graceful" not in sys.modules
    assert "django" not in sys.modules
"""
WITH_DJANGO = """
from tests.site.queues import noop

def test_the_fixture(graceful_queues, django_capture_on_commit_callbacks, db):
    with django_capture_on_commit_callbacks(execute=True):
        noop.push({"n": 1}, on_commit=True)
    graceful_queues.assert_pushed("noop", {"n": 1}, count=1)
    assert [ran.outcome for ran in graceful_queues.run_queued()] == ["done"]
"""


def run_pytest(where: Path, test: str, *arguments: str, settings: str | None = None) -> str:
    (where / "test_it.py").write_text(test)
    (where / "pytest.ini").write_text("[pytest]\n")
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    env |= {"PYTHONPATH": str(ROOT)} | ({"DJANGO_SETTINGS_MODULE": settings} if settings else {})
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "pytest_django_graceful", *arguments]
    found = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_unused_it_imports_nothing(tmp_path: Path) -> None:
    others = [argument for plugin in ("django", "randomly", "xdist") for argument in ("-p", f"no:{plugin}")]
    assert "1 passed" in run_pytest(tmp_path, NO_DJANGO, *others)


def test_its_fixture_works_beside_pytest_django(tmp_path: Path) -> None:
    assert "1 passed" in run_pytest(tmp_path, WITH_DJANGO, settings="tests.settings")


def test_the_package_names_it_as_a_plugin_by_the_name_of_its_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [(name, value)] = project["project"]["entry-points"]["pytest11"].items()
    assert name == value  # so that naming it in pytest_plugins as well is no second plugin
    assert hasattr(EntryPoint(name, value, "pytest11").load(), "graceful_queues")
    assert value in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert value in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
