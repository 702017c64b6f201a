"""``manage.py runqueues``: run the queues until told to stop."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_graceful.conf import get_conf
from django_graceful.exceptions import StoreError, UnknownQueue
from django_graceful.queues import get_queue
from django_graceful.runner import reload
from django_graceful.runner.console import show_log
from django_graceful.runner.master import run
from django_graceful.runner.orders import Orders
from django_graceful.runner.waiting import wait_for_stores


class Command(BaseCommand):
    help = (
        "Run the queues: one master process, worker processes on demand. TERM or Ctrl-C drains, a second one hastens."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("queues", nargs="*", metavar="QUEUE", help="serve only these queues (default: all)")
        parser.add_argument("--exclude", action="append", default=[], metavar="QUEUE", help="serve all but this queue")
        parser.add_argument("--drain", action="store_true", help="handle what is there and exit")
        parser.add_argument("--wait", action="store_true", help="while another runner has the store, wait for its end")
        parser.add_argument("--reload", action="store_true", help="start anew when code changes (for development)")
        parser.add_argument("--max-processes", type=int, metavar="N", help="the most worker processes over all queues")
        parser.add_argument(
            "--strict-exit", action="store_true", help="exit with 3 when something was interrupted, 4 when killed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for name in (*options["queues"], *options["exclude"]):
            try:
                get_queue(name)
            except UnknownQueue as error:
                raise CommandError(str(error)) from None
        most = options["max_processes"]
        if most is not None and most < 1:
            raise CommandError("--max-processes must be 1 or more")
        if options["reload"] and options["drain"]:
            raise CommandError("--reload and --drain do not go together")
        show_log(options["verbosity"])
        if options["reload"] and not reload.is_child():
            sys.exit(reload.supervise())
        if options["wait"]:
            self._wait()
        orders = Orders(options["queues"], options["exclude"], options["drain"], most, options["strict_exit"])
        code = run(orders, watch=reload.watch if options["reload"] else None)
        if code:
            sys.exit(code)

    def _wait(self) -> None:
        try:
            wait_for_stores(get_conf().stores.values())
        except StoreError as error:
            raise CommandError(str(error)) from None
