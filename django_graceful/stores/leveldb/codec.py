"""What travels over the control socket, as JSON, and back: the type hints of :class:`StoreAdmin` are the protocol.

Nothing is listed twice: the calls are the abstract methods of :class:`~django_graceful.stores.base.StoreAdmin`, their
arguments and results are decoded by the hints that stand there. A value that does not fit its hint is a ``ValueError``
that says where, never an object of the wrong type. Two releases can talk to each other: a field that the reader does
not know is left out, one that the writer did not know takes its default. Bytes travel as text, and every byte string
comes back as it was (UTF-8 with ``surrogateescape``). Pure functions, any thread.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from django_graceful.stores.base import StoreAdmin

Decode = Callable[[Any], Any]
_AS_THEY_ARE = frozenset((str, int, float, bool, NoneType))


def to_json(value: Any) -> Any:
    """``value`` with dataclasses as objects and bytes as text: what ``json.dumps`` takes."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is bytes:
        return value.decode("utf-8", "surrogateescape")
    if is_dataclass(kind):
        return {name: to_json(getattr(value, name)) for name in _names(kind)}
    if isinstance(value, Mapping):
        return {key: to_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(entry) for entry in value]
    return value


def from_json(hint: Any, raw: Any) -> Any:
    """``raw`` (from ``json.loads``) as the type ``hint`` asks for. Raises ``ValueError`` where it does not fit."""
    return _decoder(hint)(raw)


@dataclass(slots=True, frozen=True)
class Call:
    """One method that may be called: its signature and the types of what goes in and comes out."""

    signature: inspect.Signature
    hints: dict[str, Any]

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, decoded. ``TypeError`` for a wrong number of them, ``ValueError`` for wrong ones."""
        bound = self.signature.bind(*args, **kwargs)
        return {name: from_json(self.hints[name], raw) for name, raw in bound.arguments.items()}

    def result(self, raw: Any) -> Any:
        """The result, decoded. Raises ``ValueError``."""
        return from_json(self.hints["return"], raw)


def _read_call(method: Callable[..., Any]) -> Call:
    signature = inspect.signature(method)
    without_self = [p for name, p in signature.parameters.items() if name != "self"]
    return Call(signature.replace(parameters=without_self), get_type_hints(method))


#: Everything that may be called from outside, by name.
CALLS: dict[str, Call] = {
    name: _read_call(getattr(StoreAdmin, name)) for name in sorted(StoreAdmin.__abstractmethods__)
}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@cache
def _decoder(hint: Any) -> Decode:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _optional(*(_decoder(arm) for arm in inner if arm is not NoneType))
    if origin in (list, Sequence):
        return _list_of(_decoder(inner[0]))
    if origin is dict:
        return _dict_of(_decoder(inner[1]))
    return _scalar(hint)


def _scalar(hint: Any) -> Decode:
    if hint is Any:
        return _as_it_is
    if is_dataclass(hint):
        return _dataclass(hint)
    if issubclass(hint, StrEnum):
        return cast(Decode, hint)
    return _bytes if hint is bytes else _plain(hint)


def _as_it_is(raw: Any) -> Any:
    return raw


def _optional(some: Decode) -> Decode:
    return lambda raw: None if raw is None else some(raw)


def _list_of(entry: Decode) -> Decode:
    return lambda raw: [entry(value) for value in _expect(list, raw)]


def _dict_of(entry: Decode) -> Decode:
    return lambda raw: {key: entry(value) for key, value in _expect(dict, raw).items()}


def _dataclass(cls: Any) -> Decode:
    hints = get_type_hints(cls)
    decoders = {field.name: _decoder(hints[field.name]) for field in fields(cls)}

    def decode(raw: Any) -> Any:
        known = {name: decoders[name](value) for name, value in _expect(dict, raw).items() if name in decoders}
        try:
            return cls(**known)
        except TypeError as error:
            raise ValueError(str(error)) from None

    return decode


def _bytes(raw: Any) -> bytes:
    found: str = _expect(str, raw)
    return found.encode("utf-8", "surrogateescape")


def _plain(kind: type) -> Decode:
    allowed = (float, int) if kind is float else (kind,)

    def decode(raw: Any) -> Any:
        if type(raw) not in allowed:
            raise _misfit(kind, raw)
        return raw

    return decode


def _expect(kind: type, raw: Any) -> Any:
    if not isinstance(raw, kind):
        raise _misfit(kind, raw)
    return raw


def _misfit(kind: type, raw: Any) -> ValueError:
    wanted = "null" if kind is NoneType else kind.__name__
    return ValueError(f"expected {wanted}, not {str(raw)[:60]!r}")
