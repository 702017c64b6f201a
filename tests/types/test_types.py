"""The types that a site's own mypy sees."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

# Once is enough, on one Python and Django: the answer does not depend on them.
pytestmark = pytest.mark.process

DECLARED = Path(__file__).with_name("declared.py")


def test_push_takes_what_the_handler_takes_and_mypy_refuses_everything_else() -> None:
    lines = DECLARED.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("  # error")}
    found = subprocess.run(
        [sys.executable, "-m", "mypy", str(DECLARED)],
        cwd=DECLARED.parents[2],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    errors = re.findall(r"^(\S+?):(\d+): error", found.stdout, re.MULTILINE)
    assert {Path(file).name for file, _ in errors} == {DECLARED.name}, found.stdout + found.stderr
    assert {int(number) for _, number in errors} == wrong, found.stdout
    assert len(wrong) > 10
