"""Where a store would live: what the system says about a directory, whether it exists or not. Looking changes nothing.

For the system checks; :func:`look` never raises, whatever the path is.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

#: File systems of other machines: ``flock`` and shared mappings do not reach, or not reliably, from host to host.
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "beegfs", "glusterfs", "davfs"}
    | {f"fuse.{kind}" for kind in ("sshfs", "ceph", "ceph-fuse", "glusterfs", "rclone", "s3fs", "gcsfuse", "davfs2")}
)
#: File systems that are gone after a reboot.
_VOLATILE = frozenset({"tmpfs", "ramfs"})


@dataclass(slots=True, frozen=True)
class Place:
    """A directory and what stands on the way to it."""

    #: Symbolic links resolved.
    path: Path
    filesystem: str = ""
    #: What keeps the directory from being made or used, in words; empty when nothing does.
    obstacle: str = ""
    #: The permission bits of the directory; None when there is none yet.
    mode: int | None = None

    @property
    def is_remote(self) -> bool:
        """Whether it is on a network file system."""
        return self.filesystem in _NETWORK

    @property
    def is_package(self) -> bool:
        """Whether it is among the files of a Python package, which the next installation may replace."""
        installed = {"site-packages", "dist-packages"} & set(self.path.parts)
        return bool(installed) or any((parent / "__init__.py").is_file() for parent in self.path.parents)

    @property
    def is_volatile(self) -> bool:
        """Whether it is lost at a reboot."""
        return self.filesystem in _VOLATILE


def look(path: Path) -> Place:
    """What there is to know about ``path``."""
    real = Path(os.path.realpath(path))
    kind = filesystem(real, _mountinfo())
    for found in (real, *real.parents):
        try:
            status = found.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return Place(real, kind, f"{found} can not be looked at: {error.strerror}")
        mode = stat.S_IMODE(status.st_mode) if found == real else None
        return Place(real, kind, _obstacle(found, status.st_mode), mode)
    return Place(real, kind, "there is no root directory")


def filesystem(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds ``path``, by the text of ``/proc/self/mountinfo``; empty: not known."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        fields = head.split(" ")
        if len(fields) < 5 or not tail:
            continue
        mount = Path(_unescape(fields[4]))
        depth = len(mount.parts)
        if depth >= best and path.is_relative_to(mount):
            best, kind = depth, tail.split(" ")[0]
    return kind


def _obstacle(found: Path, mode: int) -> str:
    if not stat.S_ISDIR(mode):
        return f"{found} is not a directory"
    if not os.access(found, os.W_OK | os.X_OK, effective_ids=True):
        return f"{found} is not writable for user {os.geteuid()}"
    return ""


def _mountinfo() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return ""


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
