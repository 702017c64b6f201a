"""Receivers of Django's signals that run in a queue, after the commit.

::

    @queued_receiver(post_save, sender=Photo)
    def tell_subscribers(sender, instance, created, **kwargs): ...

When the signal is sent, one item for this receiver is pushed as soon as the transaction of the instance's database has
committed, and not at all when it rolls back. A worker fetches the instance afresh and calls the function. Promises P1
and P2 hold for the item: the receiver runs at least once, and is tried again when it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model
from django.db.models.signals import post_delete, pre_delete
from django.dispatch import Signal
from django.utils.inspect import func_accepts_kwargs

from django_graceful.carrying import pack, pack_sender, unpack, unpack_sender
from django_graceful.exceptions import Discard, PayloadError
from django_graceful.options import nearest
from django_graceful.queues import Queue, all_queues
from django_graceful.queues import queue as declare

#: The queue of receivers that name none, and how many of its items run at the same time.
NOTIFY = "notify"
_WORKERS = 10

#: Weak, so that a receiver lives as long as with Django's own ``connect``.
_registry: WeakValueDictionary[str, QueuedReceiver] = WeakValueDictionary()


class QueuedReceiver:
    """A function that is called by the queue when its signal is sent. Made by :func:`queued_receiver`.

    It is what is connected: disconnect it by its name, like any receiver. Calling it yourself, without ``signal``,
    calls the function here and now.
    """

    def __init__(self, function: Callable[..., Any], name: str, queue_name: str, leave_out: frozenset[str]) -> None:
        update_wrapper(self, function, updated=())
        self.function = function
        self.name = name
        self.queue_name = queue_name
        self.leave_out = leave_out
        #: The signals it was connected to, in this order.
        self.signals: list[Signal] = []

    def __repr__(self) -> str:
        return f"<QueuedReceiver {self.name}>"

    def __call__(self, *args: Any, signal: Signal | None = None, **named: Any) -> Any:
        if signal is None:
            return self.function(*args, **named)
        return self._send(signal, **named)

    def _send(self, signal: Signal, sender: Any = None, **named: Any) -> None:
        arguments = {name: value for name, value in named.items() if name not in self.leave_out}
        try:
            payload = {
                "receiver": self.name,
                "module": self.function.__module__,
                "signal": self.signals.index(signal),
                "sender": pack_sender(sender),
                **pack(arguments),
            }
        except PayloadError as error:
            hint = "leave_out=[…] of queued_receiver keeps an argument back"
            raise PayloadError(f"queued receiver {self.name}: {error} ({hint})") from None
        _queue(self.queue_name).push(payload, on_commit=_commit(named))


def queued_receiver(
    signal: Signal | Sequence[Signal],
    *,
    sender: Any = None,
    queue: str = NOTIFY,
    name: str | None = None,
    leave_out: Sequence[str] = (),
    dispatch_uid: Any = None,
    weak: bool = True,
) -> Callable[[Callable[..., Any]], QueuedReceiver]:
    """Connect a function of a module to ``signal``, or to each of several, like Django's ``receiver``; it is called in
    a worker, with the same arguments, after the commit.

    Model instances are fetched again by primary key, from the database that the signal names; one that is gone by then
    makes the item dead, which says so. JSON values, model classes and sets of JSON values travel too, and a sender
    that is a class or function of a module, or a JSON value. Anything else raises
    :class:`~django_graceful.exceptions.PayloadError` from ``send``, naming the argument, unless ``leave_out`` has it.

    Each receiver is an item of its own, in ``queue``: :data:`NOTIFY` (10 workers), or another name, which is declared
    with the usual options; ``GRACEFUL["QUEUES"]`` changes them. ``name`` stands for the function in what is stored
    (default: its import path): keep it when you rename or move the function. Items of a name that is no more are dead.
    ``sender``, ``dispatch_uid`` and ``weak`` are those of ``Signal.connect``.

    Put it where each process imports it: an app's ``queues.py``, or a module that its ``AppConfig.ready`` imports.

    Raises ``ImproperlyConfigured`` for a function that no worker could find or call, for a name that another receiver
    has, and for ``pre_delete`` and ``post_delete``, whose instance no worker could fetch.
    """
    signals = [signal] if isinstance(signal, Signal) else list(signal)

    def connect(function: Callable[..., Any]) -> QueuedReceiver:
        found = _receiver(function, name, queue, frozenset(leave_out))
        for one in signals:
            _check_signal(one, found)
        _queue(queue)
        for one in signals:
            found.signals.append(one)
            one.connect(found, sender=sender, weak=weak, dispatch_uid=dispatch_uid)
        return found

    return connect


def _receiver(function: Any, name: str | None, queue_name: str, leave_out: frozenset[str]) -> QueuedReceiver:
    if isinstance(function, QueuedReceiver):  # of a decorator below this one
        if (function.queue_name, function.leave_out, name or function.name) != (queue_name, leave_out, function.name):
            raise ImproperlyConfigured(f"{function!r}: all its queued_receiver lines need the same queue and options")
        return function
    origin = getattr(function, "__qualname__", "")
    if not origin.isidentifier():
        raise ImproperlyConfigured(f"a queued receiver is a function at the top of a module, not {function!r}")
    if not func_accepts_kwargs(function):
        raise ImproperlyConfigured(f"the queued receiver {origin!r} must accept keyword arguments (**kwargs)")
    label = name or f"{function.__module__}.{origin}"
    other = _registry.get(label)
    if other is not None and (other.function.__module__, other.function.__qualname__) != (function.__module__, origin):
        raise ImproperlyConfigured(f"two queued receivers are named {label!r}: {other.function!r} and {function!r}")
    _registry[label] = found = QueuedReceiver(function, label, queue_name, leave_out)
    return found


def _check_signal(signal: Any, found: QueuedReceiver) -> None:
    if not isinstance(signal, Signal):
        raise ImproperlyConfigured(f"queued receiver {found.name}: {signal!r} is no signal")
    if signal in (pre_delete, post_delete):
        raise ImproperlyConfigured(
            f"queued receiver {found.name}: what is deleted can not be fetched after the commit. Write a plain "
            "receiver that pushes what is needed of the instance, with on_commit=True."
        )


def _queue(name: str) -> Queue[dict[str, Any]]:
    found = all_queues().get(name)
    if found is not None and found.handler is call_receiver:
        return found
    options: dict[str, Any] = {"max_workers": _WORKERS} if name == NOTIFY else {}
    made: Queue[dict[str, Any]] = declare(name, **options)(call_receiver)
    return made


def _commit(named: dict[str, Any]) -> str | bool:
    """The database whose commit is to be waited for; False: it has no transaction open. Opens no connection."""
    using, instance = named.get("using"), named.get("instance")
    if not isinstance(using, str) or using not in connections:
        using = (instance._state.db if isinstance(instance, Model) else None) or DEFAULT_DB_ALIAS
    connection = connections[using]
    by_hand = connection.connection is not None and not connection.autocommit
    return using if connection.in_atomic_block or by_hand else False


def call_receiver(payload: dict[str, Any]) -> None:
    """The handler of these queues: call the receiver that an item is for."""
    found = _find(payload["receiver"], payload["module"])
    try:
        signal = found.signals[payload["signal"]]
    except IndexError:
        raise Discard(f"the receiver {found.name} is not connected to the signal of this item any more") from None
    function = async_to_sync(found.function) if iscoroutinefunction(found.function) else found.function
    function(signal=signal, sender=unpack_sender(payload["sender"]), **unpack(payload))


def _find(name: str, module: str) -> QueuedReceiver:
    found = _registry.get(name)
    if found is None:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
        found = _registry.get(name)
    if found is None:
        raise Discard(
            f"no queued receiver is named {name!r}{nearest(name, list(_registry))}: it was renamed, moved or removed "
            f"after the signal was sent. Give the function name={name!r} and retry the item, or discard it."
        )
    return found
