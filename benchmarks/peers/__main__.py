"""Other systems and ours on one server, the rounds interleaved:
``python -m benchmarks.peers [--systems NAME …] [--number N] [--rounds N] [--kill-wait SECONDS] [--json]``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from benchmarks.peers.catalog import SYSTEMS
from benchmarks.peers.killing import kill
from benchmarks.peers.measures import Found, measure
from benchmarks.peers.places import versions
from benchmarks.peers.report import notes, table
from benchmarks.site import redis_server


def main() -> None:
    """Run what is asked for and print it."""
    options = _options()
    systems = [SYSTEMS[name] for name in options.systems]
    try:
        numbers = {system.name: versions(system) for system in systems}
    except RuntimeError as error:
        sys.exit(str(error))
    found = {system.name: Found() for system in systems}
    load = os.getloadavg()[0]
    with redis_server() as url:
        for _ in range(options.rounds):
            for system in systems:
                print(f"{system.name} …", file=sys.stderr, flush=True)
                measure(system, url, max(int(options.number * system.share), 100), found[system.name])
        after = kill(systems, url, options.kill_wait) if options.kill_wait else {}
    if options.json:
        figures = {name: asdict(values) for name, values in found.items()}
        kills = {name: asdict(values) for name, values in after.items()}
        print(json.dumps({"load": load, "versions": numbers, "figures": figures, "kill": kills}, indent=2))
        return
    print(*table(found, after), "", f"load average at the start: {load:.1f}", *notes(found, after, numbers), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME", help="default: all"
    )
    parser.add_argument("--number", type=_positive, default=10_000, help="items of a measurement (slow systems: fewer)")
    parser.add_argument("--rounds", type=_positive, default=3)
    parser.add_argument(
        "--kill-wait", type=float, default=75.0, help="seconds to wait for items of killed workers; 0: no kill test"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    main()
