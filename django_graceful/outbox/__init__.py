"""The outbox: what is pushed inside a database transaction lives or dies with it (promise P12).

``push(…, outbox=True)`` writes the item's record into our table in that transaction (:mod:`.writing`). When it has
committed, the pushing process *hands over* (:mod:`.batches`): it pushes the records to their store, then deletes the
rows. Rows that are still there after :data:`AGE` seconds are handed over by the *sweeper* of a runner
(:mod:`.sweeper`), in the same two steps. Both may do it, at the same time, any number of times, because the store
takes each item in once: its record says that it comes from an outbox, and in the same atomic write as the item the
store notes its id (``stores/engine/handovers.py``, ``push.lua``). The note outlives the item.

Killed between any two lines:

=======================================  ==============================================================================
before the commit                        the database rolls back: no row, no item
after the commit, before the push        the row is there: the sweeper hands it over
after the push, before the row is gone   the sweeper pushes again; the store has the note, and changes nothing, also
                                         when the item is finished by now; the row goes
after the row is gone                    nobody can push it again; the note is all that is left
=======================================  ==============================================================================

A note is forgotten when no row can be there and nobody can be on the way with one: the sweeper saw every database, no
row was left that is as old as the note, and nobody has handed the item over for :data:`KEEP` seconds. Whoever has not
looked at a row for :data:`FRESH` seconds looks again before the push. So there is one way to run an item twice: a
process that is stopped for an hour exactly between that look and its push, while somebody else hands over.

A row may be handed over while its database says "locked" or its store "full" or "unavailable": it just stays.
"""

from __future__ import annotations

from typing import Final

#: Seconds after which a row is somebody else's to hand over, and between two looks of a sweeper.
AGE: Final = 5.0
EVERY: Final = 5.0
#: Seconds after which what was read of a row is looked up again before it is pushed.
FRESH: Final = 60.0
#: Seconds for which a store knows an item at least that was handed over, and by which clocks may differ.
KEEP: Final = 3600.0
SKEW: Final = 60.0
#: What is said for "wait for the commit" to have the outbox: ``"outbox"`` or ``"outbox:<database>"``.
WORD: Final = "outbox"


def read_on_commit(value: bool | str) -> tuple[bool | str, bool | str]:
    """The arguments ``on_commit`` and ``outbox`` of a push, from one setting that may name either.

    ``"outbox"`` is the outbox of the default database, ``"outbox:other"`` that of ``other``; all else (True, False, a
    database alias) is ``on_commit``. For every setting of that kind: ``MAIL["ON_COMMIT"]``, ``ENQUEUE_ON_COMMIT``.
    """
    if not isinstance(value, str) or value.partition(":")[0] != WORD:
        return value, False
    return False, value.partition(":")[2] or True
