"""What ``manage.py check`` says of the outbox, and that the migration fits the model."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from django_graceful.models import OutboxItem
from tests.outbox.test_pushing import Reserved
from tests.outbox.world import World


def said(settings: Any, outbox: bool | str, *, deploy: bool = False, **more: Any) -> list[str]:
    """The texts of this part's checks."""
    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"out": {"OUTBOX": outbox}}, **more}
    found = run_checks(tags=["django_graceful"], include_deployment_checks=deploy)
    return [f"{message.id}: {message.msg}" for message in found if message.id[-4:] in ("E012", "W014")]


def test_nothing_is_said_when_all_is_well(world: World, settings: Any) -> None:
    world.database("other")
    for outbox in (False, True, "other"):
        assert said(settings, outbox, deploy=True) == []


def test_an_unknown_database_is_named_with_the_nearest(world: World, settings: Any) -> None:
    (text,) = said(settings, "defualt")
    assert "E012: Queue 'out': outbox='defualt'" in text
    assert "did you mean 'default'" in text


def test_a_database_that_takes_no_part_is_named(world: World, settings: Any) -> None:
    world.database("other")
    with override_settings(DATABASE_ROUTERS=[Reserved()]):
        (text,) = said(settings, "other", deploy=True)
    assert "E012" in text
    assert "DATABASE_ROUTERS do not allow" in text


def test_a_missing_table_is_said_by_check_deploy_only(world: World, settings: Any) -> None:
    world.database("bare", table=False)
    assert said(settings, "bare") == []
    (text,) = said(settings, "bare", deploy=True)
    assert text == "django_graceful.W014: The database 'bare' has no table for the outbox."


def test_mail_that_goes_through_the_outbox_needs_the_table_too(world: World, settings: Any) -> None:
    world.database("bare", table=False)
    assert said(settings, False, deploy=True, MAIL={"ON_COMMIT": "bare"}) == []
    (text,) = said(settings, False, deploy=True, MAIL={"ON_COMMIT": "outbox:bare"})
    assert "W014: The database 'bare'" in text


def test_a_database_that_can_not_be_asked_is_said(world: World, settings: Any) -> None:
    world.database("broken")
    connections["broken"].close()
    connections["broken"].settings_dict = {**connections["broken"].settings_dict, "NAME": str(world.folder)}
    (text,) = said(settings, "broken", deploy=True)
    assert "W014: The database 'broken' can not be asked" in text


def test_a_wrong_option_is_refused(settings: Any, world: World) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"out": {"OUTBOX": 3}}}
    (message,) = [m for m in run_checks(tags=["django_graceful"]) if m.id.endswith("E001")]
    assert "must be True, False or the alias of a database, not 3" in message.msg


@pytest.mark.django_db
def test_the_migration_makes_what_the_model_says() -> None:
    call_command("makemigrations", "django_graceful", "--check", "--dry-run", verbosity=0)
    assert OutboxItem.objects.count() == 0
