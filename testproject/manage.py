"""Django's command line for this site: ``python testproject/manage.py …`` or ``python -m testproject.manage …``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line


def main() -> None:
    """Run the command that the arguments name."""
    here = Path(__file__).resolve().parent
    # called as a file, Python looks for modules in this directory instead of beside it
    sys.path[:] = [str(here.parent), *(p for p in sys.path if p != str(here))]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
