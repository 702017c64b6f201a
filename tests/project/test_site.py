"""The demo site's own tests, with the site's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_tests_of_the_demo_site_pass(tmp_path: Path) -> None:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "testproject.settings", "LICHTWAND_VAR": str(tmp_path / "var")}
    command = [sys.executable, "-m", "pytest", "tests/project/site", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
