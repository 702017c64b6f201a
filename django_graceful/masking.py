"""Command lines and their output without the credentials in them, for errors, logs and pages. Pure.

Masked are the user part of URLs, the values of options, variables, parameters and headers whose name says that they
are secret (``--password``, ``PGPASSWORD=``, ``?token=``, ``Authorization:``), and each of those values wherever else
it stands. A secret under an innocent name can not be known: give it in ``env`` or ``input``, which are never shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_HIDDEN = "***"
#: Shorter values are not searched for elsewhere: they would stand in half of all words.
_SHORTEST = 4
_SECRET = re.compile(
    r"passw(?:or)?d|passphrase|\bpass\b|pwd|token|secret|credential|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|auth\b|authorization|cookie",
    re.IGNORECASE,
)
_URL_USER = re.compile(r"(?<=://)[^/\s@]+(?=@)")
# A name is matched from its beginning only: otherwise a long word takes quadratic time.
_ASSIGNED = re.compile(r"(?<![\w.-])([\w.-]+)(\s*=\s*)([^&\s]+)")
_HEADER = re.compile(r"(?<![\w.-])([\w.-]+)(\s*:\s*)(.+)")


def secrets_of(argv: Sequence[str]) -> set[str]:
    """The values in a command line that are nobody's business."""
    found = set()
    for before, word in zip(["", *argv], argv, strict=False):
        if _is_value(before, word):
            found.add(word)
        found.update(_URL_USER.findall(word))
        for pattern in _patterns(word):
            found.update(match[3] for match in pattern.finditer(word) if _SECRET.search(match[1]))
    return found


def mask_command(argv: Sequence[str]) -> list[str]:
    """The command line for people."""
    pairs = zip(["", *argv], argv, strict=False)
    return [_HIDDEN if _is_value(before, word) else _mask(word) for before, word in pairs]


def mask_text(text: str, secrets: Iterable[str]) -> str:
    """Output for people: without the users of URLs and without these values."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, _HIDDEN)
    return _URL_USER.sub(_HIDDEN, text)


def _mask(word: str) -> str:
    word = _URL_USER.sub(_HIDDEN, word)
    for pattern in _patterns(word):
        word = pattern.sub(
            lambda match: f"{match[1]}{match[2]}{_HIDDEN}" if _SECRET.search(match[1]) else match[0], word
        )
    return word


def _is_value(before: str, word: str) -> bool:
    """Whether ``word`` is the value of the option before it, and that is secret."""
    return before.startswith("-") and "=" not in before and bool(_SECRET.search(before)) and not word.startswith("-")


def _patterns(word: str) -> tuple[re.Pattern[str], ...]:
    """In a URL a colon begins a port, not the value of a header."""
    return (_ASSIGNED,) if "://" in word else (_HEADER, _ASSIGNED)
