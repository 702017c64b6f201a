"""What a test has pushed, and saying whether something like this is among it. Plain values and pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from django_graceful.items import decode_item

_SHOWN = 20


@dataclass(slots=True, frozen=True)
class Pushed:
    """One item as it was pushed. ``delay`` and ``timeout`` are seconds."""

    queue: str
    id: str
    payload: Any
    key: str = ""
    priority: int = 0
    delay: float = 0.0
    timeout: float | None = None

    @classmethod
    def of(cls, queue: str, record: bytes) -> Pushed:
        """The item in a record."""
        item = decode_item(queue, record)
        delay = item.not_before - item.pushed_at if item.not_before else 0.0
        return cls(queue, item.id, item.payload, item.key, item.priority, round(delay, 6), item.meta.get("timeout"))

    def __str__(self) -> str:
        said = [f"{field.name}={getattr(self, field.name)!r}" for field in fields(self)[3:] if self._says(field)]
        return ", ".join([repr(self.payload), *said])

    def _says(self, field: Any) -> bool:
        return bool(getattr(self, field.name) != field.default)


def matching(pushed: Sequence[Pushed], wanted: dict[str, Any]) -> list[Pushed]:
    """Those whose attributes equal the wanted ones."""
    return [one for one in pushed if all(value == getattr(one, name) for name, value in wanted.items())]


def describe(queue: str, pushed: Sequence[Pushed], *, immediate: bool, uncommitted: int) -> str:
    """What was pushed to ``queue``, and why it may be less than somebody has thought.

    ``uncommitted`` is how many functions wait for the commit of a transaction.
    """
    lines = [f"Pushed to {queue!r} in this test: {len(pushed) or 'nothing'}."]
    lines += [f"  {one}" for one in pushed[:_SHOWN]]
    if len(pushed) > _SHOWN:
        lines.append(f"  … and {len(pushed) - _SHOWN} more")
    if immediate:
        lines.append("The queue is immediate: push runs its handler and stores nothing.")
    if uncommitted:
        lines.append(
            f"{uncommitted} on_commit functions wait for a commit that a test's transaction never makes: push inside "
            "captureOnCommitCallbacks(execute=True), or django_capture_on_commit_callbacks with pytest."
        )
    return "\n".join(lines)
