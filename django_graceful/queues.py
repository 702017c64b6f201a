"""Queues as a site declares them, and pushing.

A queue is declared in an app's ``queues.py``, which is found by itself, like ``admin.py``::

    @queue("thumbnails", max_workers=4, max_attempts=5, timeout=60, unique="queued", key=lambda p: p["photo"])
    def make_thumbnail(payload): ...

    make_thumbnail.push({"photo": 7}, delay=30, on_commit=True)

The decorated name is a :class:`Queue`; calling it calls the handler, here and now. Pushing works in any process and any
thread, needs no runner, and when it has returned the item survives the death of every process (promise P1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial, update_wrapper
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack, overload

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured

from django_graceful import tracing
from django_graceful.cancelling import Cancellable
from django_graceful.conf import Conf, get_conf
from django_graceful.declaring import Declare, DeclareBatch
from django_graceful.exceptions import PayloadError, UnknownQueue
from django_graceful.options import Options, coerce, nearest
from django_graceful.payloads import key_text, payload_key
from django_graceful.pushing import Plan, Terms, announce, defer, encode, make_plan, push_patiently

Payload_contra = TypeVar("Payload_contra", contravariant=True)
P = TypeVar("P")

#: The longest name of a queue, in characters.
MAX_NAME = 100

_registry: dict[str, Queue[Any]] = {}
#: Each knows a kind of names, and gives the queue of such a name, made when it is first asked for; None: not its kind.
_families: list[Callable[[str], Queue[Any] | None]] = []


class PushOptions(TypedDict, total=False):
    """The keyword arguments of :meth:`Queue.push`, described there."""

    delay: float | timedelta | None
    priority: int | None
    key: str | int | None
    timeout: float | timedelta | None
    on_commit: bool | str
    outbox: bool | str | None


class Queue(Cancellable, Generic[Payload_contra]):
    """A named kind of work: one handler and its options. Made by :func:`queue`. Pickles and copies as its name.

    For type checkers it is a queue of what its handler takes, or of what is in the list that a batch handler takes.
    """

    def __init__(
        self, name: str, handler: Callable[..., Any], declared: Options, key: Callable[[Any], Any] | None
    ) -> None:
        update_wrapper(self, handler, updated=())
        self.name = name
        self.handler = handler
        self.is_async = iscoroutinefunction(handler)
        self.key = key
        self._declared = declared
        self._cached: Plan | None = None

    def __repr__(self) -> str:
        return f"<Queue {self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the handler here and now, without any queue."""
        return self.handler(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return get_queue, (self.name,)

    @property
    def options(self) -> Options:
        """What the code declares, with ``GRACEFUL["QUEUES"][name]`` laid over it."""
        return self._plan().options

    def options_under(self, conf: Conf) -> Options:
        """:attr:`options` under other settings than those of now. Raises ``ImproperlyConfigured`` where settings and
        code do not go together.
        """
        try:
            return replace(self._declared, **conf.queues.get(self.name, {}))
        except ValueError as error:
            raise ImproperlyConfigured(f"queue {self.name!r}, as GRACEFUL['QUEUES'] changes it: {error}") from None

    @overload
    def push(self: Queue[None], payload: None = None, **options: Unpack[PushOptions]) -> str: ...
    @overload
    def push(self, payload: Payload_contra, **options: Unpack[PushOptions]) -> str: ...
    def push(
        self,
        payload: Any = None,
        *,
        delay: float | timedelta | None = None,
        priority: int | None = None,
        key: str | int | None = None,
        timeout: float | timedelta | None = None,
        on_commit: bool | str = False,
        outbox: bool | str | None = None,
    ) -> str:
        """Queue one piece of work and return its item's id.

        ``payload`` is anything JSON can hold: dicts with text as keys, lists, text, finite numbers, True, False, None.
        Tuples arrive as lists. ``delay`` is seconds (or a ``timedelta``) to wait. ``priority`` from -100 to 100,
        higher runs first. ``key`` overrides the queue's key function. When the queue is unique and the key is taken,
        nothing is added and the id is that of the item which has the key, where the store knows it. ``timeout`` is the
        longest that one run of it may take, in seconds, instead of the queue's ``timeout`` (None); a batch may take as
        long as the most patient of its items.

        ``on_commit=True`` (or a database alias) checks the payload and makes the id now, pushes when the current
        transaction commits, and not at all when it rolls back; outside a transaction it pushes now. An error of that
        late push is raised by the ``atomic`` block, after the commit.

        ``outbox=True`` (or a database alias; None: as the queue says) writes the item into the transaction instead: it
        is queued exactly when that commits, whoever is killed when, by a runner if need be, and nothing is raised after
        the commit. Outside a transaction it pushes now. See :mod:`django_graceful.outbox`.

        Raises :class:`~django_graceful.exceptions.PayloadError`, :class:`~django_graceful.exceptions.PayloadTooLarge`,
        :class:`~django_graceful.exceptions.QueueFull` (after ``PUSH_TIMEOUT`` seconds at most),
        :class:`~django_graceful.exceptions.StoreUnavailable`,
        :class:`~django_graceful.exceptions.OutboxUnavailable`, and ``TypeError`` or ``ValueError`` for the other
        arguments; nothing was pushed then. Works during shutdown as at any other time.
        """
        return self._push((payload,), Terms(delay, priority, key, timeout), on_commit, outbox)[0]

    def push_many(
        self,
        payloads: Iterable[Payload_contra],
        *,
        delay: float | timedelta | None = None,
        priority: int | None = None,
        key: str | int | None = None,
        timeout: float | timedelta | None = None,
        on_commit: bool | str = False,
        outbox: bool | str | None = None,
    ) -> list[str]:
        """Queue many pieces of work in one write, all or none; their ids in order.

        ``payloads`` may be a generator; it is read before anything is pushed. Arguments and errors as for
        :meth:`push`, and :class:`~django_graceful.exceptions.QueueFull` at once for more than the queue can hold.
        """
        if isinstance(payloads, str | bytes | dict):
            raise TypeError(f"push_many takes a list of payloads, not one {type(payloads).__name__}: use push")
        return self._push(payloads, Terms(delay, priority, key, timeout), on_commit, outbox)

    @overload
    async def apush(self: Queue[None], payload: None = None, **options: Unpack[PushOptions]) -> str: ...
    @overload
    async def apush(self, payload: Payload_contra, **options: Unpack[PushOptions]) -> str: ...
    async def apush(self, payload: Any = None, **options: Unpack[PushOptions]) -> str:
        """:meth:`push` for async code; a full queue makes it wait without blocking the event loop."""
        return await sync_to_async(self.push)(payload, **options)

    async def apush_many(self, payloads: Iterable[Payload_contra], **options: Unpack[PushOptions]) -> list[str]:
        """:meth:`push_many` for async code."""
        return await sync_to_async(self.push_many)(payloads, **options)

    def _plan(self) -> Plan:
        conf, plan = get_conf(), self._cached
        if plan is None or plan.conf is not conf:
            plan = self._cached = make_plan(conf, self.options_under(conf))
        return plan

    def _push(
        self, payloads: Iterable[Any], terms: Terms, on_commit: bool | str, outbox: bool | str | None
    ) -> list[str]:
        tracer = tracing.tracer()
        if tracer is None:
            return self._put(payloads, terms, on_commit, outbox)
        from django_graceful.tracing.pushes import pushed

        def put(trace: dict[str, str]) -> list[str]:
            return self._put(payloads, terms._replace(trace=trace), on_commit, outbox)

        return pushed(tracer, self.name, put)

    def _put(
        self, payloads: Iterable[Any], terms: Terms, on_commit: bool | str, outbox: bool | str | None
    ) -> list[str]:
        plan = self._plan()
        records = encode(payloads, plan, terms, self._key_of)
        if not records:
            return []
        step = partial(self._run_now if plan.options.immediate else self._store, records, plan)
        if outbox if outbox is not None else plan.options.outbox:
            named = plan.options.outbox if outbox in (None, True) else False
            ids = self._push_out(records, plan, step, on_commit, named or outbox or False)
        else:
            ids = defer(on_commit, records, step) if on_commit else step()
        return [i.hex() for i in ids]

    def _push_out(
        self,
        records: list[bytes],
        plan: Plan,
        step: Callable[[], list[bytes]],
        on_commit: bool | str,
        outbox: bool | str,
    ) -> list[bytes]:
        from django_graceful.outbox import writing

        using, options = writing.database(outbox, on_commit), plan.options
        if options.immediate or not writing.wanted(using, plan.conf, options.store):
            return defer(using, records, step)
        home = plan.conf.store(options.store).home
        told = partial(announce, self)
        return writing.write(self.name, records, store=home, limit=plan.limit, using=using, told=told)

    def _key_of(self, payload: Any, given: str | int | None, unique: bool) -> str:
        if given is None and self.key is None:
            return payload_key(payload) if unique else ""
        try:
            return key_text(given if self.key is None or given is not None else self.key(payload))
        except PayloadError as error:
            raise PayloadError(f"queue {self.name!r}: {error}") from None
        except Exception as error:
            raise PayloadError(f"queue {self.name!r}: its key function raised {error!r}") from error

    def _store(self, records: list[bytes], plan: Plan) -> list[bytes]:
        ids = push_patiently(self.name, records, plan)
        announce(self, ids)
        return ids

    def _run_now(self, records: list[bytes], plan: Plan) -> list[bytes]:
        from django_graceful.immediate import run_now

        return run_now(self, records)


@overload
def queue(name: Callable[[P], Any], /) -> Queue[P]: ...
@overload
def queue(
    name: str | None = None,
    /,
    *,
    batch_length: Literal[1] = 1,
    key: Callable[[Any], Any] | None = None,
    **options: Any,
) -> Declare: ...
@overload
def queue(
    name: str | None = None, /, *, batch_length: int, key: Callable[[Any], Any] | None = None, **options: Any
) -> DeclareBatch: ...
def queue(name: Any = None, /, *, key: Callable[[Any], Any] | None = None, **options: Any) -> Any:
    """Declare a queue; the decorated function (or method, or coroutine function) is its handler.

    ``name`` defaults to the function's. The options are those of :class:`~django_graceful.options.Options`;
    ``GRACEFUL["QUEUES"][name]`` overrides them by their upper-case names. ``key`` is a function from payload to key:
    text, a number, or anything else that JSON can hold. Declaring the same function again (a reload) replaces the
    queue. Raises ``ImproperlyConfigured`` for an unknown option, a wrong value, a name that another function has
    already, and a handler that is a class, a ``partial`` or another object.
    """
    if callable(name):
        return queue()(name)

    def declare(handler: Any) -> Queue[Any]:
        function = handler.handler if isinstance(handler, Queue) else handler
        label = _check_label(name, function)
        other = _registry.get(label)
        if other is not None and _origin(other.handler) != _origin(function):
            both = f"{_origin(other.handler)} and {_origin(function)}"
            raise ImproperlyConfigured(f"two queues are named {label!r}: {both}")
        found: Queue[Any] = Queue(label, function, _read_options(label, options), key)
        _registry[label] = found
        return found

    return declare


def _check_label(name: Any, handler: Any) -> str:
    origin = getattr(handler, "__qualname__", None)
    if not callable(handler) or isinstance(handler, type) or origin is None:
        raise ImproperlyConfigured(f"queue {name!r}: its handler is a function or a method, not {handler!r}: use def")
    label = origin.rpartition(".")[2] if name is None else name
    if label == "<lambda>":
        raise ImproperlyConfigured("a queue whose handler is a lambda needs a name")
    if not isinstance(label, str) or not 0 < len(label) <= MAX_NAME or not label.isprintable():
        raise ImproperlyConfigured(f"a queue's name is 1 to {MAX_NAME} printable characters, not {label!r}")
    return label


def _origin(handler: Callable[..., Any]) -> str:
    line = f":{handler.__code__.co_firstlineno}" if handler.__name__ == "<lambda>" else ""
    return f"{handler.__module__}.{handler.__qualname__}{line}"


def _read_options(label: str, options: dict[str, Any]) -> Options:
    checked = {}
    for option, value in options.items():
        if option not in Options.__dataclass_fields__:
            near = nearest(option, Options.__dataclass_fields__)
            raise ImproperlyConfigured(f"queue {label!r}: unknown option {option!r}{near}")
        try:
            checked[option] = coerce(option, value)
        except ValueError as error:
            raise ImproperlyConfigured(f"queue {label!r}: {option} {error}") from None
    try:
        return Options(**checked)
    except ValueError as error:
        raise ImproperlyConfigured(f"queue {label!r}: {error}") from None


def add_family(family: Callable[[str], Queue[Any] | None]) -> None:
    """From now on also ask ``family`` for queues that no code declares. What it gives counts as declared."""
    if family not in _families:
        _families.append(family)


def forget_queues(wanted: Callable[[Queue[Any]], bool]) -> None:
    """Declared no more: the queues of a family whose settings have changed."""
    for name in [name for name, found in _registry.items() if wanted(found)]:
        del _registry[name]


def find_queue(name: str) -> Queue[Any] | None:
    """The queue of that name, declared or of a family; None when there is none."""
    found = _registry.get(name)
    if found is None:
        found = next(filter(None, (family(name) for family in _families)), None)
        if found is not None:
            _registry[name] = found
    return found


def all_queues() -> dict[str, Queue[Any]]:
    """Every declared queue, by name; of families those that have been asked for."""
    return dict(_registry)


def get_queue(name: str) -> Queue[Any]:
    """The queue of that name. Raises :class:`~django_graceful.exceptions.UnknownQueue`, naming the nearest one."""
    found = find_queue(name)
    if found is None:
        raise UnknownQueue(f"no app's queues.py declares a queue named {name!r}{nearest(name, _registry)}")
    return found
