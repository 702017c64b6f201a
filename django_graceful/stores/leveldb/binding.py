"""The LevelDB binding: ``plyvel``, or ``plyvel_next``, which is the same for newer Pythons. Imported on first use."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Any

from django_graceful.exceptions import StoreUnavailable

_MODULES = ("plyvel", "plyvel_next")


@cache
def binding() -> Any:
    """The module. Raises :class:`~django_graceful.exceptions.StoreUnavailable`, naming the package to install."""
    reasons = []
    for name in _MODULES:
        try:
            return import_module(name)
        except ImportError as error:
            reasons.append(str(error))
    package = "plyvel" if sys.version_info < (3, 13) else "plyvel-next"
    raise StoreUnavailable(f"LevelDB stores need a Python package: run 'pip install {package}' ({'; '.join(reasons)})")
