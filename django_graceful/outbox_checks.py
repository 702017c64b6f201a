"""System checks of the outbox: what asks for it needs a database with the table (E012, W014)."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError

from django_graceful.conf import Conf
from django_graceful.options import Options, nearest
from django_graceful.outbox import read_on_commit, rows


def _database(outbox: bool | str) -> str:
    """The database whose outbox is meant; empty when none is."""
    return DEFAULT_DB_ALIAS if outbox is True else outbox or ""


def check_queue(name: str, options: Options, number: str) -> Iterator[CheckMessage]:
    """E012: the database is not there, or takes no part. Asks no database."""
    using = _database(options.outbox)
    if not using:
        return
    if using not in settings.DATABASES:
        what = f"is the outbox of the database {using!r}{nearest(using, settings.DATABASES)}, which is not in DATABASES"
        hint = f"DATABASES has: {', '.join(settings.DATABASES)}."
    elif not rows.takes_part(using):
        what = f"is the outbox of the database {using!r}, where DATABASE_ROUTERS do not allow its table"
        hint = "Allow the model django_graceful.OutboxItem there, and migrate."
    else:
        return
    yield Error(f"Queue {name!r}: outbox={options.outbox!r} {what}.", hint=hint, id=number)


def check_tables(conf: Conf, declared: list[Options], number: str) -> Iterator[CheckMessage]:
    """W014: what the code or ``MAIL`` sends through an outbox finds no table. Asks the databases."""
    wanted = {_database(options.outbox) for options in declared} | {_database(read_on_commit(conf.mail.on_commit)[1])}
    for using in sorted(wanted & settings.DATABASES.keys()):
        if not rows.takes_part(using):
            continue
        try:
            if rows.has_table(using):
                continue
            what = "has no table for the outbox"
        except (DatabaseError, InterfaceError) as error:
            what = f"can not be asked whether it has the outbox's table: {error}"
        hint = f"Run manage.py migrate django_graceful --database={using}."
        yield Warning(f"The database {using!r} {what}.", hint=hint, id=number)
