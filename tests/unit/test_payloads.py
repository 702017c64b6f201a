from __future__ import annotations

import json
import uuid
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_graceful import payloads
from django_graceful.exceptions import PayloadError, PayloadTooLarge
from django_graceful.payloads import MAX_DEPTH, MAX_KEY, encode_payload, key_text, payload_key

ROOM = 1 << 20

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refused(payload: Any) -> str:
    with pytest.raises(PayloadError) as caught:
        encode_payload(payload, ROOM)
    return str(caught.value)


@given(json_values)
def test_what_json_holds_comes_back_as_it_was(payload: Any) -> None:
    assert json.loads(encode_payload(payload, ROOM)) == payload


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("payload", "arrives"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (Point(1, 2), [1, 2]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Level.HIGH, 3),
        ({"word": Word.YES}, {"word": "yes"}),
        ({Word.YES: 1}, {"yes": 1}),
        ([mark_safe("<b>")], ["<b>"]),
        ("grün 🌳 \0", "grün 🌳 \0"),
    ],
    ids=repr,
)
def test_kinds_of_lists_dicts_and_text_arrive_as_the_plain_ones(payload: Any, arrives: Any) -> None:
    assert json.loads(encode_payload(payload, ROOM)) == arrives


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (datetime(2030, 1, 1, tzinfo=UTC), "payload['when'] is a datetime; JSON has no such type: use .isoformat()"),
        (date(2030, 1, 1), "payload['when'] is a date; JSON has no such type: use .isoformat()"),
        (time(12), "payload['when'] is a time; JSON has no such type: use .isoformat()"),
        (timedelta(1), "payload['when'] is a timedelta; JSON has no such type: use .total_seconds()"),
        (b"x", "payload['when'] is a bytes; JSON has no such type: use .decode() or base64"),
        (bytearray(b"x"), "payload['when'] is a bytearray; JSON has no such type: use .decode() or base64"),
        ({1}, "payload['when'] is a set; JSON has no such type: use list()"),
        (iter([1]), "payload['when'] is a list_iterator; JSON has no such type: use list()"),
        (range(3), "payload['when'] is a range; JSON has no such type: use list()"),
        (MappingProxyType({}), "payload['when'] is a mappingproxy; JSON has no such type: use dict()"),
        (Colour.RED, "payload['when'] is a Colour; JSON has no such type: use .value"),
        (gettext_lazy("yes"), "payload['when'] is lazy text; JSON has no such type: use str()"),
        (User(pk=5), "payload['when'] is a User; JSON has no such type: use .pk, and fetch it again in the handler"),
        (
            Decimal("1.5"),
            "payload['when'] is a Decimal; JSON has no such type: use str(), or the parts of it that JSON can hold",
        ),
        (1j, "payload['when'] is a complex; JSON has no such type: use str(), or the parts of it that JSON can hold"),
        (float("nan"), "payload['when'] is nan; JSON has no such number: use None"),
        (float("-inf"), "payload['when'] is -inf; JSON has no such number: use None"),
        ("ab\ud800", "payload['when'] has a lone surrogate at character 2: that is no text UTF-8 can hold"),
        ({"\udfff": 1}, "a key of payload['when'] has a lone surrogate at character 0: that is no text UTF-8 can hold"),
        ({1: 2}, "payload['when'] has the key 1; JSON has only text as keys: use str()"),
        ({None: 2}, "payload['when'] has the key None; JSON has only text as keys: use str()"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_can_not_hold_is_named_with_its_place_and_what_to_write_instead(value: Any, message: str) -> None:
    assert refused({"fine": [1, "a", None, 2.5, {"x": True}], "when": value}) == message


def test_a_query_set_is_not_run_but_named() -> None:
    assert "'users'] is a QuerySet; JSON has no such type: use list(….values_list(" in refused(
        {"users": User.objects.all()}
    )


@pytest.mark.parametrize("value", [uuid.UUID(int=5), Path("/x"), object(), len])
def test_other_objects_are_refused_by_their_type(value: Any) -> None:
    assert refused(value).startswith(f"payload is a {type(value).__name__}; ")


def test_the_path_leads_through_lists_and_dicts() -> None:
    assert refused({"a": [0, ({"b c": {2}},)]}).startswith("payload['a'][1][0]['b c'] is a set")


def test_keys_that_json_would_turn_into_text_are_refused_because_the_handler_would_not_find_them() -> None:
    assert "has the key 7" in refused({7: "a", "7": "b"})
    assert "has the key True" in refused([{True: 1}])
    assert "has the key (1, 2)" in refused({(1, 2): 1})


def nested(levels: int) -> Any:
    found: Any = 0
    for _ in range(levels):
        found = [found]
    return found


def test_payloads_may_be_nested_to_the_limit_and_no_deeper() -> None:
    assert json.loads(encode_payload(nested(MAX_DEPTH), ROOM)) == nested(MAX_DEPTH)
    assert "nested more than 100 levels" in refused(nested(MAX_DEPTH + 1))
    assert "nested more than 100 levels" in refused(nested(100_000))


def test_a_payload_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {"x": 1}
    loop["self"] = [loop]
    assert "contains itself" in refused(loop)


def test_a_number_with_more_digits_than_python_writes_is_refused() -> None:
    assert "payload['n'] is too long a number" in refused({"n": 10**5000})


def test_the_limit_counts_bytes_of_json_exactly() -> None:
    assert len(encode_payload("ä" * 499, 1000)) == 1000
    with pytest.raises(PayloadTooLarge, match=r"has 1001 bytes of JSON, MAX_PAYLOAD allows 1000"):
        encode_payload("ä" * 499 + "a", 1000)


def test_without_the_c_encoder_the_same_text_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads.json.encoder, "c_make_encoder", None)
    slow = payloads._encoder(sort_keys=True)
    for value in ({"b": [1, 2.5, None], "a": "ü"}, "x", 5, [], True):
        assert slow(value) == payloads._to_sorted_json(value)


@given(st.dictionaries(st.text(), json_values, max_size=5), st.randoms())
def test_equal_payloads_have_equal_keys_whatever_their_order(payload: dict[str, Any], random: Any) -> None:
    shuffled = list(payload.items())
    random.shuffle(shuffled)
    assert payload_key(dict(shuffled)) == payload_key(payload)


@given(json_values, json_values)
def test_payloads_with_different_json_have_different_keys(one: Any, other: Any) -> None:
    same_text = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (payload_key(one) == payload_key(other)) == same_text


@given(json_values)
def test_a_payloads_key_always_fits(payload: Any) -> None:
    assert len(payload_key(payload).encode()) <= MAX_KEY


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "a b"),
        (7, "7"),
        ("7", "7"),
        (2.5, "2.5"),
        ([1, "x"], '[1,"x"]'),
        ((1, "x"), '[1,"x"]'),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        (0, "0"),
        (False, "false"),
    ],
)
def test_a_key_is_text_and_everything_else_its_json(value: Any, text: str) -> None:
    assert key_text(value) == text


@pytest.mark.parametrize("value", [None, ""])
def test_no_key_is_no_key(value: Any) -> None:
    with pytest.raises(PayloadError, match="can not be told apart"):
        key_text(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "key is a object"),
        ("\ud800", "key has a lone surrogate"),
        ([float("nan")], r"key\[0\] is nan"),
        ({1: 2}, "key has the key 1"),
        (nested(101), "nested more than"),
    ],
)
def test_a_key_that_is_no_json_is_refused(value: Any, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        key_text(value)


def test_a_key_may_have_so_many_bytes_and_no_more() -> None:
    assert key_text("ä" * (MAX_KEY // 2)) == "ä" * (MAX_KEY // 2)
    with pytest.raises(PayloadError, match=f"the key has {MAX_KEY + 1} bytes, at most {MAX_KEY} are allowed: xä"):
        key_text("x" + "ä" * (MAX_KEY // 2))
