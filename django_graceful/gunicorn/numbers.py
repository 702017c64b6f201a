"""Numbers of a gunicorn configuration that do not fit; pure, but for reading the file.

``check --deploy`` looks at what is written down: ``gunicorn.conf.py``, of which only plain values are read (nothing is
executed: such files patch modules), and ``GUNICORN_CMD_ARGS``. The arbiter looks at what really holds when it starts.
"""

from __future__ import annotations

import argparse
import ast
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

#: What most platforms give between TERM and KILL, in seconds.
PLATFORM_PATIENCE = 30
#: Below it, half of the time is all that requests have.
LEAST = 5

_NAMES = ("graceful_timeout", "reuse_port")


def written(directories: list[Path], environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings that are known without running anything. Of files, the first that is there counts."""
    found: dict[str, Any] = {}
    for directory in directories:
        with suppress(OSError, SyntaxError, ValueError):
            found = dict(_literals((directory / "gunicorn.conf.py").read_text()))
            break
    return {**found, **_arguments(environ.get("GUNICORN_CMD_ARGS", ""))}


def misfits(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What does not fit, and what to do."""
    graceful = settings.get("graceful_timeout")
    if isinstance(graceful, int) and graceful < LEAST:
        text = f"gunicorn's graceful_timeout is {graceful} s: running requests have half of that when a worker stops"
        yield text, "Set it to the seconds of your slowest request and 3 more."
    if isinstance(graceful, int) and graceful > PLATFORM_PATIENCE:
        text = f"gunicorn's graceful_timeout is {graceful} s: many platforms kill {PLATFORM_PATIENCE} s after TERM"
        yield text, "Raise TimeoutStopSec or terminationGracePeriodSeconds above twice that, or lower it."
    if settings.get("reuse_port") is True:
        text = "gunicorn's reuse_port is on: requests that wait for a worker are lost when it stops"
        yield text, "Leave it out; workers share one socket then, and a reload loses nothing."


def _literals(source: str) -> Iterator[tuple[str, Any]]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id in _NAMES:
                    yield target.id, node.value.value


def _arguments(text: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--graceful-timeout", type=int)
    parser.add_argument("--reuse-port", action="store_true")
    with suppress(ValueError, argparse.ArgumentError):
        return vars(parser.parse_known_args(shlex.split(text))[0])
    return {}
