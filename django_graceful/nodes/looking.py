"""Looking at all nodes, and cancelling what runs in any of them; from every process that can reach the stores."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from django_graceful.conf import get_conf
from django_graceful.exceptions import StoreUnavailable
from django_graceful.nodes.names import execution_of, stand_in
from django_graceful.nodes.view import merge
from django_graceful.stores import get_store
from django_graceful.stores.exchange import Exchange


class Reply(StrEnum):
    """What an order to cancel met."""

    #: It was there, and has been asked to stop.
    ASKED = "asked"
    #: Nothing of that id runs (any more).
    UNKNOWN = "unknown"
    #: It is one of those that can not be cancelled from outside.
    SYSTEM = "system"


def running(alias: str | None = None) -> list[dict[str, Any]]:
    """Every living node and what runs in it now (:mod:`~django_graceful.nodes.table` has the form), on all stores or on
    that one: runners first, then the oldest. The rows of a node come with parents before their children.

    A node that lives and does not answer within half a second is ``{"node", "pid", "silent": True}``. Raises
    :class:`~django_graceful.exceptions.StoreUnavailable` when a store can not be looked at.
    """
    return merge(node for exchange in _exchanges(alias) for node in exchange.nodes())


def cancel(process_id: str, by: str = "", reason: str = "") -> Reply:
    """Cancel the process of that id, wherever it runs; ``by`` and ``reason`` are who and why, kept and shown.

    Returns when it has been asked; how far it is, its row shows. A job is cancelled as its item is, in this execution
    and no other. Raises :class:`~django_graceful.exceptions.StoreUnavailable` when its node does not answer.
    """
    wish = {"cancel": process_id, "by": by, "note": reason}
    job = execution_of(process_id)
    if job is not None:
        return _cancel_job(job[0], process_id, wish)
    return order(process_id.partition(".")[0], wish)


def order(node: str, what: dict[str, Any]) -> Reply:
    """Give the node of that name an order (:func:`~django_graceful.nodes.table.obey`), on whichever store it is. Raises
    :class:`~django_graceful.exceptions.StoreUnavailable` when it does not answer, and nobody in its place.
    """
    for exchange in _exchanges():
        reply = _order(exchange, node, what)
        if reply is not Reply.UNKNOWN:
            return reply
    return Reply.UNKNOWN


def _order(exchange: Exchange, node: str, what: dict[str, Any]) -> Reply:
    try:
        return _reply(exchange.order(node, what))
    except StoreUnavailable:
        reply = _reply(exchange.order(stand_in(node), what))
        if reply is Reply.UNKNOWN:
            raise
        return reply


def _cancel_job(alias: str, process_id: str, wish: dict[str, Any]) -> Reply:
    if alias not in get_conf().stores:
        return Reply.UNKNOWN
    exchange = get_store(alias).exchange()
    runners = [node for node in exchange.nodes() if node.get("kind") == "runner"]
    for runner in runners:
        if any(row.get("id") == process_id for row in runner.get("processes", ())):
            return _reply(exchange.order(runner["node"], wish))
    for runner in runners:
        if runner.get("silent"):
            raise StoreUnavailable(
                f"the runner (pid {runner['pid']}) of store {alias} does not answer; nothing was done"
            )
    return Reply.UNKNOWN


def _exchanges(alias: str | None = None) -> Iterable[Exchange]:
    aliases = get_conf().stores if alias is None else [alias]
    return [get_store(name).exchange() for name in aliases]


def _reply(said: dict[str, Any] | None) -> Reply:
    try:
        return Reply((said or {}).get("reply", Reply.UNKNOWN))
    except ValueError:
        return Reply.UNKNOWN
