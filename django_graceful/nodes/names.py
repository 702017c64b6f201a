"""Names: of this OS process among all that take part, and of what runs in one.

The node's is made at import, and anew in the child of every fork. A process is called ``<node>.<n>``, and the run of
an item ``<store>.x<execution in hex>``, because it is the same run for the master, its worker and the store.
"""

from __future__ import annotations

import os
import time
from typing import Final

#: What the name of a stand-in has behind that of the node for which it stands.
_STAND_IN: Final = "~"
#: 8 hex digits; see :func:`node_name`. Read it here where a function call is too much.
current = ""
#: When it was made, in seconds since the epoch: when this OS process began, more or less.
since = 0.0


def node_name() -> str:
    """The name of this OS process: 8 hex digits, the same for its whole life, another in every other OS process."""
    return current


def stand_in(node: str) -> str:
    """The name of the node that answers in the place of ``node`` when that can not: the supervisor of a command."""
    return node + _STAND_IN


def stands_for(node: str) -> str:
    """The node for which this one stands; empty for one that stands for itself."""
    return node.removesuffix(_STAND_IN) if node.endswith(_STAND_IN) else ""


def execution_id(alias: str, execution: int) -> str:
    """The id of the process that runs ``execution`` of the store ``alias``."""
    return f"{alias}.x{execution:x}"


def execution_of(process_id: str) -> tuple[str, int] | None:
    """The store and the execution that an id names; None when it is not that of an execution."""
    alias, dot, number = process_id.rpartition(".x")
    try:
        return (alias, int(number, 16)) if dot else None
    except ValueError:
        return None


def _rename() -> None:
    global current, since
    current, since = os.urandom(4).hex(), time.time()


_rename()
os.register_at_fork(after_in_child=_rename)
