"""What goes over the control socket comes out as it went in, or as an error that says what is wrong with it."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_graceful.items import Item, Outcome, State
from django_graceful.stores.base import (
    CancelCount,
    CancelOutcome,
    CancelReply,
    Counts,
    Found,
    Page,
    Problem,
    StoreAdmin,
    Wish,
)
from django_graceful.stores.leveldb.codec import CALLS, from_json, to_json
from tests.control.serving import FOUND

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
items = st.builds(
    Item,
    id=st.text(),
    queue=st.text(),
    key=st.text(),
    priority=st.integers(),
    attempt=st.integers(),
    pushed_at=st.floats(allow_nan=False),
    meta=st.dictionaries(st.text(), json_values, max_size=3),
    payload_json=st.binary(),
)
founds = st.builds(Found, items, st.sampled_from(State), st.dictionaries(st.text(), json_values, max_size=3))


def there_and_back(hint: Any, value: Any) -> Any:
    return from_json(hint, json.loads(json.dumps(to_json(value))))


@given(founds)
def test_any_item_in_any_state_comes_back_equal(found: Found) -> None:
    assert there_and_back(Found, found) == found


@given(st.binary())
def test_any_bytes_come_back_equal(data: bytes) -> None:
    assert there_and_back(bytes, data) == data


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (dict[str, Counts], {"mail": Counts(1, 2, 3, 4, 5, 6, 7.5, True, 8, 9, 10, 11, 12, 13, 14), "x": Counts()}),
        (Page, Page([FOUND, FOUND], "after")),
        (Page, Page([], None)),
        (Found | None, None),
        (Found | None, FOUND),
        (CancelReply, CancelReply.UNKNOWN),
        (CancelCount, CancelCount(1, 2, 3)),
        (CancelOutcome | None, CancelOutcome(Outcome.DEAD, Wish(1 << 60, "a", "b", 1.5, 2.5, None), 3.5)),
        (list[Problem], [Problem("here", "broken", False)]),
        (dict[str, Any] | None, {"result": "1", "finished_at": 2.5}),
        (float, 3),
        (int, 1 << 70),
        (type(None), None),
    ],
)
def test_every_type_of_the_contract_comes_back_equal_and_of_its_type(hint: Any, value: Any) -> None:
    back = there_and_back(hint, value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("hint", "raw"),
    [
        (int, "1"),
        (int, True),
        (int, 1.0),
        (float, False),
        (str, None),
        (bool, 1),
        (bytes, 5),
        (bytes, "\ud800"),
        (list[str], "abc"),
        (list[str], ["a", 1]),
        (dict[str, Counts], []),
        (Counts, {"waiting": "3"}),
        (Counts, 7),
        (Problem, {"where": "only"}),
        (State, "sleeping"),
        (State, []),
        (CancelReply, None),
        (type(None), 0),
        (Found | None, {"item": 1}),
    ],
)
def test_a_value_of_the_wrong_type_is_a_value_error(hint: Any, raw: Any) -> None:
    with pytest.raises(ValueError):
        from_json(hint, raw)


def test_a_field_that_another_release_added_is_left_out_and_one_it_lacks_takes_its_default() -> None:
    assert from_json(Counts, {"waiting": 2, "invented_later": [1]}) == Counts(waiting=2)


def test_the_calls_are_the_public_methods_of_the_contract_and_no_others() -> None:
    assert CALLS.keys() == {name for name in StoreAdmin.__abstractmethods__ if not name.startswith("_")}


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_and_result_of_a_call_has_a_type_that_can_be_decoded(name: str) -> None:
    call = CALLS[name]
    assert call.hints.keys() == {*inspect.signature(getattr(StoreAdmin, name)).parameters, "return"} - {"self"}
    for hint in call.hints.values():
        with pytest.raises(ValueError):
            from_json(hint, object())


def test_arguments_are_decoded_by_position_and_by_name() -> None:
    given_ = CALLS["page"].arguments(["mail", "dead"], {"limit": 5})
    assert given_ == {"queue": "mail", "state": State.DEAD, "limit": 5}
    assert type(given_["state"]) is State


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), (("a", "b", "c"), {}), (("mail",), {"wrong": 1})])
def test_a_wrong_number_of_arguments_is_a_type_error(args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError):
        CALLS["pause"].arguments(args, kwargs)
