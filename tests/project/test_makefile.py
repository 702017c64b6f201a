"""The Makefile, with a stand-in for Python that only notes what it is asked to do, below a path with a space in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.process

#: What `make test` calls.
TESTS = "-m pytest --numprocesses=3 --reruns=1 -r aR"

STAND_IN = """#!/bin/sh
case "$1 $2" in
"-c "*) exit "${TOO_OLD:-0}" ;;
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
echo "$* PORT=$PORT" >>calls
"""


class Checkout:
    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, path)
        self.python = path / "a python"
        self.python.write_text(STAND_IN)
        self.python.chmod(0o755)

    def make(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run make as in a fresh shell."""
        clean = {name: value for name, value in os.environ.items() if name not in ("PORT", "PYTHON", "MAKEFLAGS")}
        command = ["make", *arguments]
        return subprocess.run(command, cwd=self.path, env={**clean, **env}, capture_output=True, text=True, check=False)

    def calls(self) -> list[str]:
        """What Python was asked since the last call."""
        path = self.path / "calls"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [call.removesuffix(" PORT=8000") for call in found if not call.startswith("-c")]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a check out")


def test_make_alone_says_what_there_is() -> None:
    text = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "soak", "lint", "types", "tox", "bench", "bench-peers", "clean", "help"):
        assert f"make {target} " in text


def test_the_first_make_test_makes_the_environment_and_the_second_only_tests(checkout: Checkout) -> None:
    assert checkout.make("test", f"PYTHON={checkout.python}").returncode == 0
    assert checkout.calls() == [
        "-m venv .venv",
        "-m pip install --quiet --upgrade pip>=25.1",
        "-m pip install --quiet --editable . --group test",
        TESTS,
    ]
    assert checkout.make("test").returncode == 0
    assert checkout.calls() == [TESTS]


def test_it_installs_again_when_pyproject_has_changed(checkout: Checkout) -> None:
    checkout.make("test", f"PYTHON={checkout.python}")
    stamp = (checkout.path / ".venv/has-test").stat().st_mtime
    os.utime(checkout.path / "pyproject.toml", (stamp + 10, stamp + 10))
    checkout.calls()
    checkout.make("test")
    assert "-m pip install --quiet --editable . --group test" in checkout.calls()


def test_a_failed_installation_is_repeated(checkout: Checkout) -> None:
    checkout.python.write_text(STAND_IN + 'test ! -e broken || case "$*" in *--group*) exit 1 ;; esac\n')
    (checkout.path / "broken").touch()
    assert checkout.make("test", f"PYTHON={checkout.python}").returncode != 0
    assert TESTS not in checkout.calls()
    (checkout.path / "broken").unlink()
    assert checkout.make("test").returncode == 0
    assert checkout.calls()[-2:] == ["-m pip install --quiet --editable . --group test", TESTS]


def test_the_demo_gets_the_port_that_was_named(checkout: Checkout) -> None:
    checkout.make("demo", f"PYTHON={checkout.python}")
    assert checkout.calls()[-1] == "-m testproject.demo"
    checkout.make("demo", "PORT=8123")
    assert checkout.calls() == ["-m testproject.demo PORT=8123"]
    checkout.make("demo", PORT="8124")
    assert checkout.calls() == ["-m testproject.demo PORT=8124"]


def test_the_peers_get_environments_of_their_own_and_arq_another_one(checkout: Checkout) -> None:
    found = checkout.make("bench-peers", f"PYTHON={checkout.python}", "PEERS_OPTIONS=--rounds 1")
    assert found.returncode == 0, found.stderr
    calls = checkout.calls()
    assert "-m venv .venv-peers" in calls
    assert "-m pip install --quiet --editable . --group peers" in calls
    assert "-m venv .venv-peers/arq" in calls
    assert "-m pip install --quiet --group peers-arq" in calls
    assert calls[-1] == "-m benchmarks.peers --rounds 1"
    assert not (checkout.path / ".venv").exists()


def test_a_python_that_is_too_old_is_refused_before_anything_is_made(checkout: Checkout) -> None:
    found = checkout.make("test", f"PYTHON={checkout.python}", TOO_OLD="1")
    assert found.returncode != 0
    assert "Python 3.11 or newer is needed; name one: make PYTHON=python3.12" in found.stderr
    assert not (checkout.path / ".venv").exists()


def test_clean_removes_what_was_made_and_nothing_else(checkout: Checkout) -> None:
    before = sorted(path.name for path in checkout.path.iterdir())
    checkout.make("test", f"PYTHON={checkout.python}")
    checkout.make("bench-peers", f"PYTHON={checkout.python}")
    checkout.calls()
    for made in ("var/graceful", "pkg/__pycache__"):
        (checkout.path / made).mkdir(parents=True)
    assert checkout.make("clean").returncode == 0
    assert sorted(path.name for path in checkout.path.iterdir()) == sorted([*before, "pkg"])
    assert not (checkout.path / "pkg/__pycache__").exists()
