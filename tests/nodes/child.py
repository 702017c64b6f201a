"""An OS process that takes part: ``python -m tests.nodes.child COMMAND…`` runs that command in a process, as a node.

Says the id of the process, and how it came out of it. Without a command it waits, until it is cancelled.
"""

from __future__ import annotations

import sys

import django


def main(argv: list[str]) -> None:
    django.setup()
    from django_graceful import process

    with process("the child's work") as work:
        print(work.id, flush=True)
        try:
            if argv:
                work.run(argv)
            else:
                work.wait(600)
        except BaseException as error:
            print(type(error).__name__, work.stop and work.stop.by, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
