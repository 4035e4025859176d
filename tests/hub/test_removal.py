"""One form of a model goes, with all that only it needs, and nothing of any other."""

from __future__ import annotations

import os
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import filelock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import COMMIT, PATH, REPOSITORY, Loopback
from upkeeping import (
    FILE,
    OTHER_COMMIT,
    everything,
    fetched_by_their_library,
    folder_of,
    found,
    held_by_another_process,
    pinned,
    pulled,
    put,
    put_ref,
    sha256,
    states,
    warnings_of_their_library,
)

from ondevice.domain.download import RemoteFile
from ondevice.domain.model import FileSpec
from ondevice.errors import BeingFetched, NotChanged
from ondevice.hub import local, upkeep
from ondevice.hub.cache import HubCache

CONTENT = random.Random(1).randbytes(100_000)
OTHER = random.Random(2).randbytes(50_000)
ONNX = FileSpec("onnx", "int4", REPOSITORY, "cpu")


@pytest.fixture
def store(cache: Path) -> HubCache:
    return HubCache(cache)


class TestRemove:
    @pytest.mark.parametrize("who", ["pull", "their library"])
    def test_leaves_nothing_of_the_only_model(
        self, who: str, loopback: Loopback, store: HubCache
    ) -> None:
        file = loopback.offer(CONTENT)
        if who == "pull":
            pulled(loopback, store, file)
            put_ref(store, COMMIT)
        else:
            fetched_by_their_library(loopback, store)
        assert upkeep.removal(store, FILE).freed_bytes == len(CONTENT)
        assert upkeep.remove(store, FILE).freed_bytes == len(CONTENT)
        left = set(everything(store.root))
        assert left <= {".locks", "CACHEDIR.TAG"}
        assert warnings_of_their_library(store) == []
        assert upkeep.remove(store, FILE).is_empty

    def test_leaves_the_other_files_of_its_repository(
        self, loopback: Loopback, store: HubCache
    ) -> None:
        loopback.offer(CONTENT)
        loopback.offer(OTHER, "other.gguf")
        for path in (PATH, "other.gguf"):
            fetched_by_their_library(loopback, store, path)
        upkeep.remove(store, FILE)
        assert local.find_file(FILE) is None
        other = local.find_file(replace(FILE, path="other.gguf"))
        assert other is not None
        assert other.read_bytes() == OTHER
        assert (folder_of(store) / "refs" / "main").read_text() == COMMIT
        assert warnings_of_their_library(store) == []

    def test_takes_it_out_of_every_revision(self, store: HubCache) -> None:
        put(store, CONTENT)
        put(store, OTHER, commit=OTHER_COMMIT)
        put(store, b"kept", path="kept.gguf", commit=OTHER_COMMIT)
        put_ref(store, COMMIT, "old")
        put_ref(store, OTHER_COMMIT)
        assert upkeep.remove(store, FILE).freed_bytes == len(CONTENT) + len(OTHER)
        assert sorted(each.name for each in (folder_of(store) / "refs").iterdir()) == ["main"]
        assert [each.path for each in store.snapshots(folder_of(store)).pointers] == ["kept.gguf"]
        assert warnings_of_their_library(store) == []

    def test_takes_its_partial_and_its_lock(self, store: HubCache) -> None:
        file = RemoteFile(REPOSITORY, PATH, COMMIT, len(CONTENT), sha256(CONTENT))
        store.make_folders(file)
        store.part(file).write_bytes(CONTENT[:999])
        store.lock(file).touch()
        due = upkeep.removal(store, pinned(CONTENT))
        assert (due.freed_bytes, len(due.parts)) == (999, 1)
        upkeep.remove(store, pinned(CONTENT))
        assert set(everything(store.root)) <= {".locks"}

    def test_finishes_what_a_crash_left_undone(self, store: HubCache) -> None:
        put(store, CONTENT).unlink()
        assert found(store) == {sha256(CONTENT): "blob"}
        assert upkeep.remove(store, pinned(CONTENT)).freed_bytes == len(CONTENT)
        assert found(store) == {}

    def test_keeps_content_that_another_name_leads_to(self, store: HubCache) -> None:
        put(store, CONTENT)
        put(store, CONTENT, path="twin.gguf")
        done = upkeep.remove(store, FILE)
        assert (done.freed_bytes, len(done.kept)) == (0, 1)
        assert states(store, replace(FILE, path="twin.gguf")) == ["sound"]

    def test_keeps_content_that_another_repository_leads_to(self, store: HubCache) -> None:
        blob = put(store, CONTENT).resolve()
        name = put(store, OTHER, repository="someone/else")
        name.unlink()
        name.symlink_to(blob)
        upkeep.remove(store, FILE)
        assert name.read_bytes() == CONTENT

    def test_keeps_content_when_some_names_cannot_be_seen(
        self, store: HubCache, tmp_path: Path
    ) -> None:
        name = put(store, CONTENT)
        (name.parent / "elsewhere").symlink_to(tmp_path)
        blob = name.resolve()
        assert upkeep.remove(store, FILE).freed_bytes == 0
        assert blob.read_bytes() == CONTENT
        assert not name.is_symlink()
        assert found(store) == {}

    def test_takes_a_file_that_is_no_link(self, store: HubCache) -> None:
        name = put(store, CONTENT)
        blob = name.resolve()
        name.unlink()
        os.link(blob, name)
        assert upkeep.removal(store, FILE).freed_bytes == len(CONTENT)
        assert upkeep.remove(store, FILE).freed_bytes == len(CONTENT)
        assert not blob.exists()
        name = put(store, CONTENT)
        name.resolve().unlink()
        name.unlink()
        name.write_bytes(CONTENT)
        assert upkeep.remove(store, FILE).freed_bytes == len(CONTENT)

    @pytest.mark.parametrize("whole", [True, False], ids=["here", "a partial"])
    def test_refuses_while_somebody_fetches_it(self, whole: bool, store: HubCache) -> None:
        file = RemoteFile(REPOSITORY, PATH, COMMIT, len(CONTENT), sha256(CONTENT))
        if whole:
            put(store, CONTENT)
        else:
            store.make_folders(file)
            store.part(file).write_bytes(b"begun")
        with held_by_another_process(store, sha256(CONTENT)):
            before = everything(store.root)
            with pytest.raises(BeingFetched, match=REPOSITORY):
                upkeep.remove(store, pinned(CONTENT))
            assert everything(store.root) == before
        assert not upkeep.remove(store, pinned(CONTENT)).is_empty

    def test_leaves_the_folders_that_another_download_needs(self, store: HubCache) -> None:
        put(store, CONTENT)
        with held_by_another_process(store, "f" * 64):
            upkeep.remove(store, FILE)
            assert (folder_of(store) / "snapshots" / COMMIT).is_dir()
            assert (folder_of(store) / "blobs").is_dir()

    def test_takes_an_onnx_folder_and_nothing_beside_it(self, store: HubCache) -> None:
        for path in ("cpu/genai_config.json", "cpu/model.onnx", "cpu/sub/a.json"):
            put(store, path.encode(), path)
        kept = [put(store, path.encode(), path) for path in ("cpu2/model.onnx", "cpu/m.gguf")]
        shared = put(store, b"cpu/model.onnx", "gpu/model.onnx")
        done = upkeep.remove(store, ONNX)
        assert len(done.pointers) == 3
        assert done.freed_bytes == len("cpu/genai_config.json") + len("cpu/sub/a.json")
        assert all(each.exists() for each in (*kept, shared))
        assert warnings_of_their_library(store) == []

    def test_takes_all_parts_of_a_split_model(self, store: HubCache) -> None:
        parts = [f"big-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
        for path in parts:
            put(store, path.encode(), path)
        assert len(upkeep.remove(store, replace(FILE, path=parts[0])).blobs) == 3

    def test_a_model_that_is_open_stays_readable(self, store: HubCache) -> None:
        with put(store, CONTENT).open("rb") as loaded:
            upkeep.remove(store, FILE)
            assert loaded.read() == CONTENT

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may delete everything")
    def test_where_nothing_may_be_deleted_says_so(self, store: HubCache) -> None:
        name = put(store, CONTENT)
        name.parent.chmod(0o500)
        try:
            with pytest.raises(NotChanged, match="cannot be changed: Permission denied"):
                upkeep.remove(store, FILE)
        finally:
            name.parent.chmod(0o700)
        assert name.read_bytes() == CONTENT


class Dying(HubCache):
    """A process that is killed before it deletes its `last`-th entry."""

    last = 0

    def delete(self, path: Path) -> int:
        self.last -= 1
        if self.last < 0:
            raise KeyboardInterrupt
        return super().delete(path)


@pytest.mark.parametrize("last", range(4))
def test_a_removal_that_is_killed_leaves_nothing_that_is_not_found(
    last: int, store: HubCache
) -> None:
    put(store, CONTENT)
    put(store, CONTENT, commit=OTHER_COMMIT)
    blob = folder_of(store) / "blobs" / sha256(CONTENT)
    blob.with_name(f"{blob.name}.part").write_bytes(b"begun")
    kept = put(store, OTHER, "kept.gguf")
    dying = Dying(store.root)
    dying.last = last
    with pytest.raises(KeyboardInterrupt):
        upkeep.remove(dying, FILE)
    assert states(store, FILE) == ["sound"] if last < 2 else ["missing"]
    assert warnings_of_their_library(store) == []
    list(upkeep.prune(store, upkeep.leftovers(store)))
    assert blob.exists() == (last < 2)
    upkeep.remove(store, FILE)
    assert not blob.exists()
    assert found(store) == {}
    assert kept.read_bytes() == OTHER


PATHS = ("a.gguf", "b.gguf", "cpu/a.onnx", "cpu/b.json")
NAMES = st.tuples(
    st.sampled_from(["x/one", "x/two"]),
    st.sampled_from([COMMIT, OTHER_COMMIT]),
    st.sampled_from(PATHS),
    st.sampled_from([b"1", b"22", b"333"]),
)


@settings(max_examples=80, deadline=None)
@given(
    laid=st.lists(NAMES, max_size=10, unique_by=lambda each: each[:3]),
    path=st.sampled_from(["a.gguf", "cpu"]),
)
def test_no_removal_takes_what_another_name_leads_to(
    laid: list[tuple[str, str, str, bytes]], path: str
) -> None:
    file = FileSpec("onnx" if path == "cpu" else "llama.cpp", "", "x/one", path)
    with tempfile.TemporaryDirectory() as folder:
        store = HubCache(Path(folder))
        for repository, commit, each, content in laid:
            put(store, content, each, commit, repository)
        mine = [each for each in laid if each[0] == "x/one" and each[2].startswith(path)]
        others = [each for each in laid if each not in mine]
        upkeep.remove(store, file)
        for repository, commit, each, content in others:
            name = store.folder(repository) / "snapshots" / commit / each
            assert name.read_bytes() == content
        blobs = {each.name for each in store.root.glob("models--x--one/blobs/*")}
        assert blobs == {sha256(each[3]) for each in others if each[0] == "x/one"}
        assert upkeep.leftovers(store) == []
        assert warnings_of_their_library(store) == []


def test_a_download_of_the_same_process_is_respected_as_well(store: HubCache) -> None:
    put(store, CONTENT)
    lock = store.locks(folder_of(store)) / f"{sha256(CONTENT)}.lock"
    lock.parent.mkdir(parents=True)
    with filelock.FileLock(lock, thread_local=False):
        with pytest.raises(BeingFetched):
            upkeep.remove(store, FILE)
        assert found(store) == {}
    assert upkeep.remove(store, FILE).freed_bytes == len(CONTENT)
