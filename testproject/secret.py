"""Secrets that are made on first use and kept in a file that only this user can read."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path


def kept_secret(path: Path, length: int) -> str:
    """The secret in the file ``path``; a new one of ``length`` characters when there is none yet.

    Processes that start together get the same one: the file appears whole, and the first one that places it wins.
    """
    if not path.exists():
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(length)[:length])
        try:
            os.link(name, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(name)
    return path.read_text().strip()
