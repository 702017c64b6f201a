"""Receivers that run in a queue."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import Signal
from django.test import override_settings

from django_graceful import get_queue, queue, receivers
from django_graceful.exceptions import PayloadError
from django_graceful.items import Outcome
from django_graceful.receivers import QueuedReceiver, queued_receiver
from django_graceful.test import QueueBox

opened = Signal()
got: list[dict[str, Any]] = []


def note(**kwargs: Any) -> None:
    got.append(kwargs)


def note_too(sender: Any, **kwargs: Any) -> None:
    got.append({"too": sender, **kwargs})


async def note_async(**kwargs: Any) -> None:
    got.append(kwargs)


def fail(**kwargs: Any) -> None:
    raise ValueError("the receiver's own")


class Sender:
    class Inner:
        pass


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    got.clear()
    signals = (opened, post_save, pre_save, m2m_changed, user_logged_in)
    before = [(signal, list(signal.receivers)) for signal in signals]
    yield
    for signal, kept in before:
        signal.receivers[:] = kept
        signal.sender_receivers_cache.clear()
    receivers._registry.clear()


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Callable[[], Any]:
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.mark.django_db
def test_the_receiver_runs_in_the_queue_after_the_commit(graceful_queues: QueueBox, commit: Any) -> None:
    tell = queued_receiver(post_save, sender=Group)(note)
    with commit():
        group = Group.objects.create(name="Readers")
        graceful_queues.assert_not_pushed("notify")
    graceful_queues.assert_pushed("notify", count=1)
    Group.objects.filter(pk=group.pk).update(name="Writers")
    assert got == []
    graceful_queues.run_queued()
    [call] = got
    assert call["sender"] is Group
    assert call["signal"] is post_save
    assert call["instance"].name == "Writers"  # fetched afresh
    assert {name: call[name] for name in ("created", "raw", "using", "update_fields")} == {
        "created": True,
        "raw": False,
        "using": "default",
        "update_fields": None,
    }
    assert tell.name == "tests.testing.test_receivers.note"


@pytest.mark.django_db
def test_what_is_rolled_back_tells_nobody(graceful_queues: QueueBox, commit: Any) -> None:
    tell = queued_receiver(post_save, sender=Group)(note)
    with commit(), transaction.atomic():
        Group.objects.create(name="Readers")
        transaction.set_rollback(True)
    graceful_queues.assert_not_pushed("notify")
    assert tell.signals == [post_save]


@pytest.mark.django_db
def test_several_receivers_of_one_event_are_items_of_their_own(graceful_queues: QueueBox, commit: Any) -> None:
    kept = [queued_receiver(post_save, sender=Group)(one) for one in (note, fail, note_too)]
    with commit():
        Group.objects.create(name="Readers")
    ran = graceful_queues.run_queued(keep_errors=True)
    assert [one.outcome for one in ran] == [Outcome.DONE, Outcome.RETRY, Outcome.DONE]
    assert [one.payload["receiver"] for one in ran] == [one.name for one in kept]
    assert "too" in got[1]


@pytest.mark.django_db
def test_only_its_sender_is_heard_and_none_is_everybody(graceful_queues: QueueBox, commit: Any) -> None:
    kept = queued_receiver(post_save, sender="auth.User")(note), queued_receiver(post_save)(note_too)
    with commit():
        Group.objects.create(name="Readers")
        User.objects.create(username="ada")
    graceful_queues.run_queued()
    assert [(call.get("too"), call["instance"].__class__) for call in got] == [
        (Group, Group),
        (None, User),
        (User, User),
    ]
    assert len(kept) == 2


@pytest.mark.django_db
def test_model_classes_and_sets_travel(graceful_queues: QueueBox, commit: Any) -> None:
    tell = queued_receiver(m2m_changed, sender=Group.permissions.through)(note)
    group, permission = Group.objects.create(name="Readers"), Permission.objects.all()[0]
    with commit():
        group.permissions.add(permission)
    graceful_queues.run_queued()
    assert got[0]["sender"] is Group.permissions.through
    assert (got[0]["model"], got[0]["pk_set"], got[0]["instance"]) == (Permission, {permission.pk}, group)
    with commit():
        queued_receiver(post_save, sender=Group)(tell)
        group.save(update_fields=["name"])
    graceful_queues.run_queued()
    assert got[-1]["update_fields"] == {"name"}
    assert got[-1]["signal"] is post_save


def test_a_signal_without_instance_travels_with_its_sender(graceful_queues: QueueBox) -> None:
    tell = queued_receiver(opened)(note)
    for sender in (None, Sender, Sender.Inner, note_too, "the door", 7):
        opened.send(sender=sender, at={"door": [1, None]})
    graceful_queues.run_queued()
    assert [call["sender"] for call in got] == [None, Sender, Sender.Inner, note_too, "the door", 7]
    assert all(call["at"] == {"door": [1, None]} and call["signal"] is opened for call in got)
    assert isinstance(tell, QueuedReceiver)


def test_an_argument_that_can_not_travel_is_an_error_of_send_that_names_it(graceful_queues: QueueBox) -> None:
    tell = queued_receiver(opened)(note)
    with pytest.raises(PayloadError, match=r"test_receivers\.note: the argument 'at' can not travel: payload is a dat"):
        opened.send(sender=None, at=datetime.now(UTC))
    with pytest.raises(PayloadError, match=r"leave_out=\[…\] of queued_receiver keeps an argument back"):
        opened.send(sender=None, at={1, None, object()})
    with pytest.raises(PayloadError, match=r"the sender can not travel"):
        opened.send(sender=object())
    local = type("Local", (), {})
    with pytest.raises(PayloadError, match="it can not be imported by its name"):
        opened.send(sender=local)
    graceful_queues.assert_not_pushed("notify")
    assert tell.queue_name == "notify"


@pytest.mark.django_db
def test_what_is_left_out_does_not_travel(graceful_queues: QueueBox, commit: Any, rf: Any) -> None:
    tell = queued_receiver(user_logged_in, leave_out=["request"])(note)
    user = User.objects.create(username="ada")
    with commit():
        user_logged_in.send(sender=User, request=rf.get("/"), user=user)
    graceful_queues.run_queued()
    assert got[0]["user"] == user
    assert "request" not in got[0]
    assert tell.leave_out == {"request"}


@pytest.mark.django_db
def test_an_instance_without_a_key_can_not_travel(graceful_queues: QueueBox) -> None:
    tell = queued_receiver(pre_save, sender=Group)(note)
    with pytest.raises(PayloadError, match=r"'instance' can not travel: this auth\.Group has no primary key yet"):
        Group.objects.create(name="Readers")
    assert tell


@pytest.mark.django_db
def test_an_instance_that_is_gone_makes_the_item_dead_and_says_so(graceful_queues: QueueBox, commit: Any) -> None:
    tell = queued_receiver(post_save, sender=Group)(note)
    with commit():
        group = Group.objects.create(name="Readers")
    pk = group.pk
    group.delete()
    [ran] = graceful_queues.run_queued()
    assert (ran.outcome, ran.reason) == (
        Outcome.DEAD,
        f"auth.Group {pk} is gone from the database 'default': deleted after the signal was sent",
    )
    assert got == []
    assert tell


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"receiver": "tests.testing.test_receivers.noted"},
            r"named 'tests.*noted' \(did you mean 'tests.*note'\?\): it",
        ),
        ({"receiver": "old.place", "module": "tests.gone.place"}, r"no queued receiver is named 'old\.place'"),
        ({"signal": 1}, "not connected to the signal of this item any more"),
        ({"sender": {"model": "auth.Club"}}, r"no model auth\.Club any more"),
        ({"sender": {"path": ["tests.testing.test_receivers", "Gone"]}}, r"test_receivers\.Gone is not there any more"),
        ({"models": {"model": "gone.Model"}}, r"no model gone\.Model any more"),
        ({"instances": {"instance": ["auth.Group", "1", "other"]}}, "the database 'other', which DATABASES does not"),
        ({"instances": {"instance": ["auth.Group", "x-1", "default"]}}, r"auth\.Group x-1 is gone"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_deploy_has_taken_away_makes_the_item_dead_with_advice(
    graceful_queues: QueueBox, commit: Any, change: dict[str, Any], reason: str
) -> None:
    tell = queued_receiver(opened)(note)
    with commit():
        opened.send(sender=None)
    [sent] = graceful_queues.pushed("notify")
    graceful_queues.run_item(sent.id)
    get_queue("notify").push(sent.payload | change)
    [ran] = graceful_queues.run_queued()
    assert ran.outcome is Outcome.DEAD
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(ran.reason)
    assert tell


def test_a_receiver_is_found_by_its_name_wherever_it_has_moved(graceful_queues: QueueBox) -> None:
    old = queued_receiver(opened, name="opened")(note)
    opened.send(sender=None)
    opened.disconnect(old)
    del old
    gc.collect()
    new = queued_receiver(opened, name="opened")(note_too)
    graceful_queues.run_queued()
    assert got[0]["too"] is None
    assert new


def test_a_module_that_nobody_has_imported_yet_is_imported(graceful_queues: QueueBox, monkeypatch: Any) -> None:
    imported: list[str] = []

    def bring(module: str) -> None:
        imported.append(module)
        kept.append(queued_receiver(Signal())(note))

    kept = [queued_receiver(opened)(note)]
    opened.send(sender=None)
    kept.clear()
    gc.collect()
    monkeypatch.setattr(receivers, "import_module", bring)
    graceful_queues.run_queued()
    assert imported == ["tests.testing.test_receivers"]
    assert len(got) == 1


def test_an_error_of_that_import_is_a_failure_that_is_tried_again(graceful_queues: QueueBox, monkeypatch: Any) -> None:
    def broken(module: str) -> None:
        raise ModuleNotFoundError("No module named 'requests'", name="requests")

    kept = [queued_receiver(opened)(note)]
    opened.send(sender=None)
    kept.clear()
    gc.collect()
    monkeypatch.setattr(receivers, "import_module", broken)
    [ran] = graceful_queues.run_queued(keep_errors=True)
    assert ran.outcome is Outcome.RETRY


def test_it_is_disconnected_by_itself_or_by_its_uid(graceful_queues: QueueBox) -> None:
    one, two = queued_receiver(opened, sender=Sender)(note), queued_receiver(opened, dispatch_uid="two")(note_too)
    assert queued_receiver(opened, dispatch_uid="two")(fail)
    opened.send(sender=Sender)
    assert len(graceful_queues.pushed("notify")) == 2
    assert opened.disconnect(one, sender=Sender)
    assert opened.disconnect(dispatch_uid="two")
    opened.send(sender=Sender)
    assert len(graceful_queues.pushed("notify")) == 2
    assert two


def test_it_lives_as_long_as_somebody_holds_it_unless_it_is_strong(graceful_queues: QueueBox) -> None:
    queued_receiver(opened)(note)
    queued_receiver(opened, weak=False)(note_too)
    gc.collect()
    opened.send(sender=None)
    assert [one.payload["receiver"].rpartition(".")[2] for one in graceful_queues.pushed()] == ["note_too"]


def test_one_function_may_receive_several_signals(graceful_queues: QueueBox) -> None:
    closed = Signal()
    tell = queued_receiver([opened, closed])(note)
    closed.send(sender=None)
    graceful_queues.run_queued()
    assert got[0]["signal"] is closed
    with pytest.raises(ImproperlyConfigured, match="the same queue and options"):
        queued_receiver(opened, queue="other")(tell)


def test_an_async_receiver_is_awaited_by_the_worker_and_asend_works(graceful_queues: QueueBox) -> None:
    import asyncio

    tell = queued_receiver(opened)(note_async)

    async def inside() -> None:
        await opened.asend(sender=None, n=1)

    asyncio.run(inside())
    graceful_queues.run_queued()
    assert got[0]["n"] == 1
    assert tell


def test_called_by_hand_it_runs_here_and_now(graceful_queues: QueueBox) -> None:
    queued_receiver(opened)(note)(sender=None, n=1)
    assert got == [{"sender": None, "n": 1}]
    assert graceful_queues.pushed() == []


@override_settings(DEBUG=True)
def test_django_takes_it_for_a_receiver_when_it_looks_closely(graceful_queues: QueueBox) -> None:
    tell = queued_receiver(opened)(note_too)
    opened.send(sender="x")
    assert json.dumps(graceful_queues.pushed("notify")[0].payload)
    assert tell.__doc__ is note_too.__doc__


def test_the_notify_queue_has_ten_workers_and_others_are_declared_as_they_are_named() -> None:
    kept = queued_receiver(opened)(note), queued_receiver(opened, queue="photos")(note_too)
    assert get_queue("notify").options.max_workers == 10
    assert get_queue("photos").options.max_workers == 0
    with override_settings(
        GRACEFUL={"STORES": {"default": {"BACKEND": "memory"}}, "QUEUES": {"notify": {"MAX_WORKERS": 3}}}
    ):
        assert get_queue("notify").options.max_workers == 3
    assert len(kept) == 2


def test_what_can_not_work_is_refused_when_it_is_declared() -> None:
    def local(**kwargs: Any) -> None: ...

    class Other:
        def method(self, **kwargs: Any) -> None: ...

    def bare(sender: Any) -> None: ...

    bare.__qualname__ = "bare"
    for function in (local, Other.method, lambda **kwargs: None, print, Sender()):
        with pytest.raises(ImproperlyConfigured, match=r"a function at the top of a module|must accept keyword"):
            queued_receiver(opened)(function)
    with pytest.raises(ImproperlyConfigured, match=r"'bare' must accept keyword arguments \(\*\*kwargs\)"):
        queued_receiver(opened)(bare)
    with pytest.raises(ImproperlyConfigured, match="what is deleted can not be fetched"):
        queued_receiver(post_delete)(note)
    with pytest.raises(ImproperlyConfigured, match="'post_save' is no signal"):
        queued_receiver(["post_save"])(note)  # type: ignore[list-item]
    kept = queued_receiver(opened, name="tell")(note)
    with pytest.raises(ImproperlyConfigured, match="two queued receivers are named 'tell'"):
        queued_receiver(opened, name="tell")(note_too)
    queue("taken")(note_async)
    with pytest.raises(ImproperlyConfigured, match="two queues are named 'taken'"):
        queued_receiver(opened, queue="taken")(note_too)
    assert kept
