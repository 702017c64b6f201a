"""System checks of queued mail: a mailer that could never deliver is found before the first message waits for it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_graceful.conf import get_conf
from django_graceful.contrib.mail.mailers import configured, is_queued, mailer_problem
from django_graceful.options import nearest
from django_graceful.outbox import read_on_commit

_OURS = "'django_graceful.contrib.mail.backend.EmailBackend'"


@register("mail")
def check_mail(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Every queued mailer has one that delivers, and waits for the commit of a database that exists."""
    try:
        conf = get_conf().mail
    except ImproperlyConfigured:
        return []  # the checks of the settings say more
    mailers = configured()
    if mailers is None:
        queued = is_queued(settings.EMAIL_BACKEND)
        return [*_check_path(conf.deliver_using), *_check_commit(conf.on_commit, "GRACEFUL['MAIL']")] if queued else []
    found: list[CheckMessage] = []
    for alias, entry in mailers.items():
        if is_queued(entry.get("BACKEND", "")):
            found += _check_mailer(alias, entry.get("OPTIONS", {}), mailers, conf.on_commit)
    return found


def _check_mailer(
    alias: str, options: dict[str, Any], mailers: dict[str, dict[str, Any]], on_commit: bool | str
) -> list[CheckMessage]:
    found = _check_commit(options.get("on_commit", on_commit), f"MAILERS[{alias!r}]")
    problem = mailer_problem(alias, options.get("deliver_using"), mailers)
    if problem is not None:
        number = f"graceful.mail.E00{problem.number}"
        found.append(Error(f"MAILERS[{alias!r}]: {problem.what}.", hint=problem.hint, id=number))
    return found


def _check_commit(on_commit: bool | str, where: str) -> list[CheckMessage]:
    named = [alias for alias in read_on_commit(on_commit) if isinstance(alias, str)]
    if not named or named[0] in settings.DATABASES:
        return []
    what = f"{where}: on_commit names {named[0]!r}{nearest(named[0], settings.DATABASES)}, no database."
    return [Error(what, hint="True stands for the default database.", id="graceful.mail.E004")]


def _check_path(path: str) -> list[CheckMessage]:
    where = "GRACEFUL['MAIL']['DELIVER_USING']"
    if is_queued(path):
        hint = "Name the backend that really delivers, for example Django's SMTP backend."
        return [
            Error(
                f"{where} names {path!r}, which queues, too, and would never deliver.",
                hint=hint,
                id="graceful.mail.E003",
            )
        ]
    try:
        import_string(path)
    except ImportError as error:
        hint = f"EMAIL_BACKEND is {_OURS}; this names the backend that really delivers."
        return [Error(f"{where} can not be imported: {error}", hint=hint, id="graceful.mail.E005")]
    return []
