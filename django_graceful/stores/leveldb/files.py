"""Directories, permissions and error messages of the files that several processes share.

Every file of a store has the permissions that ``MODE`` says, whatever the umask of the process that happened to make
it. With ``MODE`` 0o660 it gets the group of the store's directory, and what root makes (``sudo manage.py …``) belongs
to the directory's user, so that the runner and the web processes can go on using it.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from django_graceful.exceptions import StoreFull, StoreUnavailable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def settle(target: int | str | Path, mode: int, home: Path) -> None:
    """Give a file of the store in ``home`` (a descriptor or a path) the permissions ``mode``, and ``home``'s group.

    The group is left as it is when this user is no member of it. Raises ``OSError`` when the mode can not be set.
    """
    there = os.stat(home)
    here = os.stat(target)
    user = there.st_uid if os.geteuid() == 0 else here.st_uid
    group = there.st_gid if user != here.st_uid or mode & 0o060 else here.st_gid
    if (user, group) != (here.st_uid, here.st_gid):
        with suppress(PermissionError):
            os.chown(target, user, group)
    os.chmod(target, mode)


def make_directory(store: Path, name: str, mode: int, *, fsync: bool = False) -> Path:
    """The directory ``name`` of a store, made when it is missing (and the store's own, and its parents); its path.

    ``mode`` is that of the files. With ``fsync`` the new directories survive power loss. Raises ``OSError``.
    """
    path = store / name
    if not path.is_dir():
        _make(store, mode, store.parent, fsync=fsync)
        _make(path, mode, store, fsync=fsync)
    return path


def _make(path: Path, mode: int, home: Path, *, fsync: bool) -> None:
    home.mkdir(parents=True, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    # whoever may read or write the files may enter; a set-group-id bit that came from the parent stays
    inherited = os.stat(path).st_mode & stat.S_ISGID
    settle(path, mode | (mode & 0o440) >> 2 | inherited, home)
    if fsync:
        for folder in (home, *home.parents):
            with suppress(PermissionError):
                sync_directory(folder)


def sync_directory(path: Path) -> None:
    """Write the names in a directory to the disk. Raises ``OSError``."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def explain(error: OSError, path: Path, wanted: str) -> StoreUnavailable:
    """What to tell the caller when ``wanted`` ("push", "take the inbox in") failed at ``path``."""
    if error.errno in _FULL:
        return StoreFull(
            f"{path}: no room to {wanted} ({_reason(error)}). Free space on this disk, or raise the quota or the limit"
            " of file sizes (ulimit -f)."
        )
    if error.errno in _FORBIDDEN:
        return StoreUnavailable(
            f"{path}: user {_user()} may not {wanted} ({_reason(error)}). It needs read and write permission for the"
            " files and the directories of the store. When the web processes and the runner are different users,"
            ' give them a common group and set "MODE": 0o660.'
        )
    return StoreUnavailable(f"{path}: can not {wanted}: {_reason(error)}")


def _reason(error: OSError) -> str:
    found = error.strerror or str(error) or type(error).__name__
    return f"{found}: {error.filename}" if error.filename else found


def _user() -> str:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"with the number {uid}"
