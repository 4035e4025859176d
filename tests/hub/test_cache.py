"""The shared cache is read as it is, and nothing is deleted through what leads out of it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from loopback import COMMIT, PATH, REPOSITORY, Loopback
from upkeeping import (
    OTHER_COMMIT,
    fetched_by_their_library,
    folder_of,
    pulled,
    put,
    sha256,
)

from ondevice.hub.cache import HubCache

CONTENT = b"a model" * 1000


@pytest.fixture
def store(cache: Path) -> HubCache:
    return HubCache(cache)


LINK = """
import os, sys
from pathlib import Path
from ondevice.domain.download import RemoteFile
from ondevice.hub.cache import HubCache
os.setuid(65534)
try:
    HubCache(Path(sys.argv[1])).point(RemoteFile(*sys.argv[2:5], int(sys.argv[5]), sys.argv[6]))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="takes another user's place")
def test_why_a_name_cannot_be_a_link_is_told() -> None:
    # A folder of its own, as other users may not enter that of the tests. Whose file it is not
    # may not give it a second name either, which is another reason than the first one.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = HubCache(folder / "hub")
        put(store, CONTENT).unlink()
        for each in [folder, *folder.rglob("*")]:
            each.chmod(0o755 if each.is_dir() else 0o644)
        file = (REPOSITORY, PATH, COMMIT, str(len(CONTENT)), sha256(CONTENT))
        command = [sys.executable, "-c", LINK, str(store.root), *file]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "Permission denied\n"


class TestSnapshots:
    def test_of_a_cache_that_is_not_there_are_none(self, store: HubCache) -> None:
        assert store.folders() == []
        found = store.snapshots(folder_of(store))
        assert (found.pointers, found.complete) == ((), True)

    @pytest.mark.parametrize("who", ["by hand", "pull", "their library"])
    def test_lead_to_the_content_whoever_made_them(
        self, who: str, loopback: Loopback, store: HubCache
    ) -> None:
        file = loopback.offer(CONTENT)
        if who == "by hand":
            put(store, CONTENT)
        elif who == "pull":
            pulled(loopback, store, file)
        else:
            fetched_by_their_library(loopback, store)
        (pointer,) = store.snapshots(folder_of(store)).pointers
        assert (pointer.commit, pointer.path) == (COMMIT, PATH)
        assert pointer.blob == folder_of(store) / "blobs" / sha256(CONTENT)
        assert store.folders() == [folder_of(store)]

    def test_that_are_the_file_itself_lead_to_the_same_file_among_the_blobs(
        self, store: HubCache
    ) -> None:
        name = put(store, CONTENT)
        blob = name.resolve()
        name.unlink()
        os.link(blob, name)
        (pointer,) = store.snapshots(folder_of(store)).pointers
        assert pointer.blob == folder_of(store) / "blobs" / blob.name

    def test_of_a_cache_behind_a_link_are_found(self, store: HubCache, tmp_path: Path) -> None:
        put(store, CONTENT)
        (tmp_path / "link").symlink_to(store.root)
        linked = HubCache(tmp_path / "link")
        (pointer,) = linked.snapshots(folder_of(linked)).pointers
        assert pointer.blob == folder_of(linked) / "blobs" / sha256(CONTENT)

    def test_through_an_absolute_link_lead_to_the_content(self, store: HubCache) -> None:
        name = put(store, CONTENT)
        blob = name.resolve()
        name.unlink()
        name.symlink_to(blob)
        (pointer,) = store.snapshots(folder_of(store)).pointers
        assert pointer.blob is not None
        assert pointer.blob.name == blob.name

    @pytest.mark.parametrize("what", ["snapshots", "a revision", "a folder in a revision"])
    def test_behind_a_link_to_a_folder_are_not_entered_and_that_is_known(
        self, what: str, store: HubCache, tmp_path: Path
    ) -> None:
        name = put(store, CONTENT)
        folder = folder_of(store) / "snapshots"
        if what == "snapshots":
            folder.rename(tmp_path / "elsewhere")
            folder.symlink_to(tmp_path / "elsewhere")
        elif what == "a revision":
            (folder / OTHER_COMMIT).symlink_to(name.parent)
        else:
            (name.parent / "onnx").symlink_to(tmp_path)
        found = store.snapshots(folder_of(store))
        assert not found.complete
        assert len(found.pointers) == (0 if what == "snapshots" else 1)


class TestDeleting:
    def test_a_link_leaves_what_it_leads_to(self, store: HubCache, tmp_path: Path) -> None:
        (tmp_path / "precious").write_bytes(CONTENT)
        name = put(store, b"x").with_name("link.gguf")
        name.symlink_to(tmp_path / "precious")
        assert store.delete(name) == 0
        assert (tmp_path / "precious").read_bytes() == CONTENT
        assert not name.is_symlink()

    def test_says_what_it_frees(self, store: HubCache) -> None:
        name = put(store, CONTENT)
        blob = name.resolve()
        os.link(blob, blob.with_name("twin"))
        assert store.delete(blob) == 0
        assert store.delete(blob.with_name("twin")) == len(CONTENT)

    @pytest.mark.parametrize("how", ["another folder", "climbing", "through a link"])
    def test_outside_the_cache_is_refused(self, how: str, store: HubCache, tmp_path: Path) -> None:
        put(store, CONTENT)
        (tmp_path / "outside").mkdir()
        precious = tmp_path / "outside" / "precious"
        precious.write_bytes(CONTENT)
        path = precious
        if how == "climbing":
            path = store.root / ".." / ".." / "outside" / "precious"
            assert path.exists()
        elif how == "through a link":
            (store.root / "link").symlink_to(precious.parent)
            path = store.root / "link" / "precious"
        with pytest.raises(OSError, match="not inside the cache"):
            store.delete(path)
        with pytest.raises(OSError, match="not inside the cache"):
            store.move(path, "moved")
        (tmp_path / "outside" / "empty").mkdir()
        assert not store.drop_folder(path.with_name("empty"))
        assert sorted(each.name for each in precious.parent.iterdir()) == ["empty", "precious"]

    def test_in_a_cache_behind_a_link_works(self, store: HubCache, tmp_path: Path) -> None:
        name = put(store, CONTENT)
        (tmp_path / "link").symlink_to(store.root)
        HubCache(tmp_path / "link").delete(tmp_path / "link" / name.relative_to(store.root))
        assert not name.is_symlink()

    def test_never_moves_over_another_file(self, store: HubCache) -> None:
        blob = put(store, CONTENT).resolve()
        blob.with_name("there").write_bytes(b"kept")
        with pytest.raises(FileExistsError):
            store.move(blob, "there")
        assert blob.with_name("there").read_bytes() == b"kept"


def test_a_name_is_made_where_its_folder_was_deleted_meanwhile(
    loopback: Loopback, store: HubCache
) -> None:
    file = loopback.offer(CONTENT)
    path = pulled(loopback, store, file)
    path.unlink()
    path.parent.rmdir()
    assert store.point(file).read_bytes() == CONTENT
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert file.repository == REPOSITORY
