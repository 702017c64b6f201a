"""Tests that take many minutes run only when they are asked for: ``make soak``, or ``pytest -m soak``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cancel.conftest import box

__all__ = ["box"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "soak" in config.option.markexpr:
        return
    left = [item for item in items if item.path.parent == Path(__file__).parent]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
