"""The demo site has settings of its own; its tests are collected in a pytest of their own (see test_site)."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("DJANGO_SETTINGS_MODULE") == "testproject.settings" else ["site"]
