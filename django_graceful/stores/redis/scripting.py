"""The Lua scripts: one file each in ``scripts``, read once by a process. Those of queues begin with ``common.lua``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files

#: Scripts that do without the common part.
_ALONE = frozenset({"push_one", "register"})

#: Scripts that call others, as functions without arguments.
_BEHIND = {"tick": ("push",)}


@dataclass(slots=True, frozen=True)
class Script:
    """Source and the name under which the server keeps it."""

    source: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script in ``scripts/<name>.lua``."""
    folder = files(__package__) / "scripts"
    source = (folder / f"{name}.lua").read_text()
    for function in _BEHIND.get(name, ()):
        source = f"local function {function}()\n{(folder / f'{function}.lua').read_text()}\nend\n{source}"
    if name not in _ALONE:
        source = (folder / "common.lua").read_text() + source
    return Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest())
