"""``python -m testproject.demo.tied PID PROGRAM …``: become that program, tied to the process PID that started us.

When that process ends, however it ends, the kernel sends the program a TERM (parent-death signal), and it stops as
gracefully as it can. This is a program and not a ``preexec_fn`` because LevelDB may have started threads in the demo.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, argv: list[str]) -> None:
    """Replace this process by the program ``argv``. Ends with exit code 1 when ``parent`` is gone already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(1)
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
