"""The arguments of a command that was called by code, as a person would have typed them. Pure."""

from __future__ import annotations

from argparse import Action, ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import DjangoHelpFormatter


def typed(parser: ArgumentParser, options: Mapping[str, Any]) -> list[str]:
    """What makes ``options`` differ from the defaults of ``parser``, in the order of its help; without what every
    command of Django takes.
    """
    common = DjangoHelpFormatter.show_last
    own = (action for action in parser._actions if not common.intersection(action.option_strings))
    return [word for action in own for word in _words(action, options.get(action.dest))]


def _words(action: Action, value: Any) -> Iterator[str]:
    if value is None or value == action.default:
        return
    if action.option_strings:
        yield max(action.option_strings, key=len)
    if action.nargs != 0:
        yield from map(str, value if isinstance(value, list | tuple) else [value])
