"""Run the measurements: ``python -m benchmarks [--rounds N] [--json] [NAME …]``. Prints median and min-max of each
figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections import defaultdict

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"

import django

django.setup()

from benchmarks.measures import MEASURES  # noqa: E402


def main() -> None:
    """Run what is asked for, interleaved over the rounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MEASURES, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        for name in options.names or MEASURES:
            for figure, value in MEASURES[name]().items():
                found[figure].append(value)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{platform.platform()}, {len(os.sched_getaffinity(0))} processors, Python {platform.python_version()}")
    print(f"Django {django.get_version()}, {options.rounds} rounds; median (min-max)")
    for figure, values in found.items():
        spread = f"({min(values):,.4g} to {max(values):,.4g})"
        print(f"{figure:50} {statistics.median(values):>12,.4g} {spread}")


if __name__ == "__main__":
    main()
