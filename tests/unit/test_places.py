from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from django_graceful import places
from django_graceful.places import Place, filesystem, look

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / /proc rw shared:2 - proc proc rw
30 22 0:30 / /srv rw - nfs4 server:/export rw,vers=4.2
31 30 8:2 / /srv/local rw master:3 propagate_from:1 - xfs /dev/sdb1 rw
32 22 0:33 / /mnt/with\\040space rw - cifs //nas/share rw
33 22 0:34 / /mnt/twice rw - ext4 /dev/sdc1 rw
34 33 0:35 / /mnt/twice rw - tmpfs tmpfs rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/x", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/queues", "nfs4"),
        ("/srvother", "ext4"),
        ("/srv/local/a/b", "xfs"),
        ("/mnt/with space/q", "cifs"),
        ("/mnt/twice/q", "tmpfs"),
    ],
)
def test_the_deepest_and_latest_mount_above_a_path_is_its_file_system(path: str, kind: str) -> None:
    assert filesystem(Path(path), MOUNTS) == kind


def test_without_mounts_the_file_system_is_not_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert filesystem(Path("/srv"), "") == ""
    assert not Place(Path("/srv"), "").is_remote


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs"])
def test_network_file_systems_are_known(kind: str) -> None:
    assert Place(Path("/srv"), kind).is_remote


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuse.fuse-overlayfs", "virtiofs"])
def test_local_file_systems_are_not_called_remote(kind: str) -> None:
    assert not Place(Path("/srv"), kind).is_remote


def test_file_systems_in_memory_are_known() -> None:
    assert Place(Path("/srv"), "tmpfs").is_volatile
    assert not Place(Path("/srv"), "ext4").is_volatile


def test_the_kernel_is_asked_for_the_mounts() -> None:
    assert look(Path("/proc/self")).filesystem == "proc"


def test_a_directory_that_can_be_made_has_no_obstacle_and_is_not_made(tmp_path: Path) -> None:
    found = look(tmp_path / "a" / "b" / "c")
    assert (found.obstacle, found.mode) == ("", None)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_there_has_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    assert look(tmp_path).mode == 0o750


def test_a_file_in_the_way_is_an_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert look(file).obstacle == f"{file} is not a directory"
    assert look(file / "store").obstacle == f"{file} is not a directory"


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert look(tmp_path / "link" / "store").path == tmp_path.resolve() / "real" / "store"


def test_a_link_to_itself_and_a_name_too_long_are_obstacles_and_raise_nothing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "can not be looked at" in look(tmp_path / "loop").obstacle
    assert "can not be looked at" in look(tmp_path / ("x" * 300)).obstacle


def test_a_directory_of_somebody_else_is_an_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, int]] = []

    def access(path: Path, mode: int, *, effective_ids: bool) -> bool:
        assert effective_ids
        asked.append((path, mode))
        return False

    monkeypatch.setattr(places.os, "access", access)
    found = look(tmp_path / "a" / "store")
    assert found.obstacle == f"{tmp_path.resolve()} is not writable for user {os.geteuid()}"
    assert asked == [(tmp_path.resolve(), os.W_OK | os.X_OK)]


def test_a_directory_that_this_user_can_not_write_is_an_obstacle() -> None:
    """For real. Root may write everywhere, so it becomes nobody for a moment."""
    root, nobody = os.geteuid() == 0, 65534
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o555)
        if root:
            os.seteuid(nobody)
        try:
            found = look(Path(name) / "store")
            user = os.geteuid()
        finally:
            if root:
                os.seteuid(0)
    assert found.obstacle == f"{name} is not writable for user {user}"


def test_a_path_in_a_package_is_known(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    assert look(package / "var" / "graceful").is_package
    assert not look(tmp_path / "var" / "graceful").is_package
    assert Place(Path("/venv/lib/python3.13/site-packages/var")).is_package
