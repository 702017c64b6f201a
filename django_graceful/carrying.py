"""What a signal is sent with, as JSON and back, so that a receiver can have it in another process.

JSON values travel as they are; a model instance as its model, primary key and database; a model class as its label; a
set as a list. Packing runs where the signal is sent and says what can not travel; unpacking runs where the receiver
does, and fetches each instance afresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from importlib import import_module
from types import FunctionType
from typing import Any

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model

from django_graceful.exceptions import Discard, PayloadError
from django_graceful.payloads import encode_payload

_ENDLESS = 1 << 62


def pack(arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The arguments by kind: ``values``, ``instances``, ``models``, ``sets``.

    Raises :class:`~django_graceful.exceptions.PayloadError` that names the argument which can not travel.
    """
    packed: dict[str, dict[str, Any]] = {}
    using = arguments.get("using")
    for name, value in arguments.items():
        kind, form = _pack_one(f"the argument {name!r}", value, using if isinstance(using, str) else "")
        packed.setdefault(kind, {})[name] = form
    return packed


def _pack_one(what: str, value: Any, using: str) -> tuple[str, Any]:
    if isinstance(value, Model):
        return "instances", _pack_instance(what, value, using)
    if isinstance(value, type) and issubclass(value, Model):
        return "models", value._meta.label
    kind, form = ("sets", sorted(value, key=repr)) if isinstance(value, set | frozenset) else ("values", value)
    try:
        encode_payload(form, _ENDLESS)
    except PayloadError as error:
        raise PayloadError(f"{what} can not travel: {error}") from None
    return kind, form


def _pack_instance(what: str, instance: Model, using: str) -> list[str]:
    label = instance._meta.label
    if instance.pk is None:
        raise PayloadError(f"{what} can not travel: this {label} has no primary key yet, it is not saved")
    assert instance._meta.pk is not None
    return [label, instance._meta.pk.value_to_string(instance), using or instance._state.db or DEFAULT_DB_ALIAS]


def unpack(packed: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The arguments again. Raises :class:`~django_graceful.exceptions.Discard` for what is not there any more."""
    found = dict(packed.get("values", {}))
    found |= {name: set(form) for name, form in packed.get("sets", {}).items()}
    found |= {name: _model(form) for name, form in packed.get("models", {}).items()}
    found |= {name: _fetch(*form) for name, form in packed.get("instances", {}).items()}
    return found


def _model(label: str) -> type[Model]:
    try:
        return apps.get_model(label)
    except LookupError:
        raise Discard(f"there is no model {label} any more: put it back and retry the item, or discard it") from None


def _fetch(label: str, pk: str, using: str) -> Model:
    model = _model(label)
    if using not in connections:
        raise Discard(f"{label} {pk} is in the database {using!r}, which DATABASES does not have any more")
    assert model._meta.pk is not None
    try:
        return model._base_manager.using(using).get(pk=model._meta.pk.to_python(pk))
    except (ObjectDoesNotExist, ValidationError):
        raise Discard(f"{label} {pk} is gone from the database {using!r}: deleted after the signal was sent") from None


def pack_sender(sender: Any) -> dict[str, Any] | None:
    """Who has sent it: a model, another class or function by its import path, or a JSON value.

    Raises :class:`~django_graceful.exceptions.PayloadError` for anything else.
    """
    if sender is None:
        return None
    if not isinstance(sender, type | FunctionType):
        return {"value": _pack_one("the sender", sender, "")[1]}
    if isinstance(sender, type) and issubclass(sender, Model):
        return {"model": sender._meta.label}
    path = [sender.__module__, sender.__qualname__]
    if _find(path) is not sender:
        raise PayloadError(f"the sender {sender!r} can not travel: it can not be imported by its name")
    return {"path": path}


def unpack_sender(packed: Mapping[str, Any] | None) -> Any:
    """The sender again. Raises :class:`~django_graceful.exceptions.Discard` for one that is not there any more."""
    if packed is None:
        return None
    if "model" in packed:
        return _model(packed["model"])
    if "path" not in packed:
        return packed["value"]
    found = _find(packed["path"])
    if found is None:
        raise Discard(f"its sender {'.'.join(packed['path'])} is not there any more: put it back, or discard the item")
    return found


def _find(path: list[str]) -> Any:
    try:
        return reduce(getattr, path[1].split("."), import_module(path[0]))
    except (ImportError, AttributeError):
        return None
