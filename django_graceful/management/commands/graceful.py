"""``manage.py graceful``: look at the stores and give orders, with a running runner or without one."""

from __future__ import annotations

import argparse
import json
import shutil
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.core.management.color import no_style

from django_graceful.console import (
    cancelling,
    items,
    metrics,
    moving,
    orders,
    overview,
    processes,
    restarting,
    schedules,
    upkeep,
)
from django_graceful.console.desks import Desks
from django_graceful.console.report import Look, Subcommand
from django_graceful.exceptions import GracefulError

SUBCOMMANDS: dict[str, Subcommand] = {
    "status": overview.STATUS,
    "queues": overview.QUEUES,
    "processes": processes.PROCESSES,
    "schedules": schedules.SCHEDULES,
    "run-now": schedules.RUN_NOW,
    "items": items.ITEMS,
    "metrics": metrics.METRICS,
    "cancel": cancelling.CANCEL,
    "pause": orders.PAUSE,
    "resume": orders.RESUME,
    "retry": orders.RETRY,
    "discard": orders.DISCARD,
    "flush": upkeep.FLUSH,
    "check": upkeep.CHECK,
    "repair": upkeep.REPAIR,
    "move": moving.MOVE,
    "shutdown": upkeep.SHUTDOWN,
    "restart": restarting.RESTART,
}


class Command(BaseCommand):
    help = "See and steer background work. Asks the running runner, or opens the stores when none runs."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        for name, subcommand in SUBCOMMANDS.items():
            sub = subparsers.add_parser(
                name,
                help=subcommand.help,
                description=subcommand.help,
                epilog=f"With --json, one object:\n{subcommand.keys}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            subcommand.arguments(sub)
            sub.add_argument("--store", metavar="ALIAS", help="only this store (default: all)")
            sub.add_argument("--json", action="store_true", help="for programs: one JSON object")
            _accept_base_options(sub)

    def handle(self, *args: Any, **options: Any) -> None:
        subcommand = SUBCOMMANDS[options["subcommand"]]
        try:
            with Desks(options["store"]) as desks:
                for note in desks.notes:
                    self.stderr.write(note, self.style.NOTICE)
                report = subcommand.run(desks, options, self._look(self.stderr if options["json"] else self.stdout))
        except GracefulError as error:
            raise CommandError(str(error)) from error
        text = json.dumps(report.data, indent=2) if options["json"] else report.text
        if text:
            self.stdout.write(text)
        if report.failure:
            raise CommandError(report.failure)

    def _look(self, out: OutputWrapper) -> Look:
        def say(line: str) -> None:
            out.write(line, lambda text: text)
            out.flush()

        if self.stdout.isatty():
            return Look(shutil.get_terminal_size().columns, self.style, say)
        return Look(None, no_style(), say)


def _accept_base_options(parser: CommandParser) -> None:
    """Take Django's own options after the sub-command too, as people write them; the values given before it stay."""
    hidden: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    for name in ("--settings", "--pythonpath"):
        parser.add_argument(name, **hidden)
    for name in ("--traceback", "--no-color", "--force-color"):
        parser.add_argument(name, action="store_true", **hidden)
    parser.add_argument("-v", "--verbosity", type=int, choices=range(4), **hidden)
