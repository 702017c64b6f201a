"""Payloads and keys as JSON: what a producer pushes is what the handler gets, or the push says why it can not be.

JSON holds text, numbers, true, false, None, lists, and dicts with text keys; tuples become lists. Everything else is
refused with the path to the value and what to write instead, also what Python's encoder would change in silence
(``{1: "a"}`` would come back as ``{"1": "a"}``) or what other readers refuse (NaN, lone surrogates).
"""

from __future__ import annotations

import json.encoder
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time, timedelta
from enum import Enum
from hashlib import sha256
from typing import Any, Final

from django.utils.functional import Promise

from django_graceful.exceptions import PayloadError, PayloadTooLarge

#: How deep dicts and lists may be nested; every reader can follow that far.
MAX_DEPTH: Final = 100
#: The longest key, in bytes.
MAX_KEY: Final = 512

_LEAVES = frozenset({str, int, float, bool, type(None)})
_HINTS: tuple[tuple[Any, str], ...] = (
    ((date, time), "use .isoformat()"),
    (timedelta, "use .total_seconds()"),
    ((bytes, bytearray, memoryview), "use .decode() or base64"),
    (Enum, "use .value"),
    (Promise, "use str()"),
    (Mapping, "use dict()"),
    (Iterable, "use list()"),
)


def _encoder(*, sort_keys: bool) -> Callable[[Any], str]:
    """``JSONEncoder.encode``, which makes the C encoder anew at each call: longer than a small payload takes."""
    slow = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), sort_keys=sort_keys
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return slow.encode
    text = json.encoder.encode_basestring
    chunks = make(None, slow.default, text, None, ":", ",", sort_keys, False, False)
    return lambda value: "".join(chunks(value, 0))


to_json = _encoder(sort_keys=False)
_to_sorted_json = _encoder(sort_keys=True)


def encode_payload(payload: Any, limit: int) -> bytes:
    """The payload as JSON bytes.

    Raises :class:`PayloadError` that names what JSON can not hold, and :class:`PayloadTooLarge` beyond ``limit`` bytes.
    """
    try:
        if type(payload) not in _LEAVES:
            _check_shape(payload, MAX_DEPTH)
        data = to_json(payload).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(_fault(payload, "payload", MAX_DEPTH) or f"the payload is not JSON: {error}") from error
    if len(data) > limit:
        raise PayloadTooLarge(f"the payload has {len(data)} bytes of JSON, MAX_PAYLOAD allows {limit}")
    return data


def payload_key(payload: Any) -> str:
    """The key of a unique queue's item when none was given: equal payloads have equal keys, whatever their key order.

    ``payload`` is one that :func:`encode_payload` takes.
    """
    text = _to_sorted_json(payload)
    return text if len(text) <= MAX_KEY // 4 else sha256(text.encode()).hexdigest()


def key_text(value: Any) -> str:
    """What a site gives as a key, as text: text as it is, anything else (a number, a list) as JSON.

    Raises :class:`PayloadError` for None, the empty text, more than :data:`MAX_KEY` bytes, and what is not JSON.
    """
    if value is None or value == "":
        raise PayloadError(f"the key is {value!r}: items without a key of their own can not be told apart")
    fault = None if type(value) is int else _fault(value, "key", MAX_DEPTH)
    if fault:
        raise PayloadError(fault)
    text = value if isinstance(value, str) else _to_sorted_json(value)
    length = len(text.encode())
    if length > MAX_KEY:
        raise PayloadError(f"the key has {length} bytes, at most {MAX_KEY} are allowed: {text[:60]}…")
    return text


def _check_shape(value: Any, levels: int) -> None:
    """Raise ``ValueError`` for keys that are not text and for more than ``levels`` levels; leaves are not looked at."""
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise ValueError("a key is not text")
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    if levels == 0:
        raise ValueError("nested too deeply")
    for child in value:
        if type(child) not in _LEAVES:
            _check_shape(child, levels - 1)


def _fault(value: Any, path: str, levels: int) -> str | None:
    """The first thing in ``value`` that JSON can not hold, in words; slow, for messages only."""
    if not isinstance(value, dict | list | tuple):
        return _leaf_fault(value, path)
    if levels == 0:
        return f"{path[:40]}… is nested more than {MAX_DEPTH} levels deep, or contains itself"
    for name, child in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict) and not isinstance(name, str):
            return f"{path} has the key {name!r}; JSON has only text as keys: use str()"
        found = _leaf_fault(name, f"a key of {path}") or _fault(child, f"{path}[{name!r}]", levels - 1)
        if found:
            return found
    return None


def _leaf_fault(value: Any, path: str) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} is {value}; JSON has no such number: use None"
    try:
        if isinstance(value, int | str):
            str(value).encode()
            return None
    except UnicodeEncodeError as error:
        return f"{path} has a lone surrogate at character {error.start}: that is no text UTF-8 can hold"
    except ValueError as error:
        return f"{path} is too long a number: {error}"
    name = "lazy text" if isinstance(value, Promise) else f"a {type(value).__name__}"
    return f"{path} is {name}; JSON has no such type: {_hint(value)}"


def _hint(value: Any) -> str:
    from django.db.models import Model, QuerySet

    orm = (
        (Model, "use .pk, and fetch it again in the handler"),
        (QuerySet, "use list(….values_list('pk', flat=True))"),
    )
    for kind, hint in (*orm, *_HINTS):
        if isinstance(value, kind):
            return hint
    return "use str(), or the parts of it that JSON can hold"
