"""What nobody needs is found by its kind, and what somebody is at work on is not."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from loopback import COMMIT, PATH, REPOSITORY
from upkeeping import (
    FILE,
    everything,
    folder_of,
    found,
    held_by_another_process,
    put,
    put_ref,
    sha256,
    states,
)

from ondevice.domain.download import RemoteFile
from ondevice.errors import BeingFetched, NotChanged
from ondevice.hub import upkeep
from ondevice.hub.cache import HubCache

CONTENT = random.Random(1).randbytes(100_000)
OTHER = random.Random(2).randbytes(50_000)
DAY_S = 24 * 3600


@pytest.fixture
def store(cache: Path) -> HubCache:
    return HubCache(cache)


class TestLeftovers:
    def laid(self, store: HubCache) -> dict[str, str]:
        """One of each kind; what is left of their names -> kind."""
        put(store, CONTENT)
        put(store, OTHER, "gone.gguf").resolve().unlink()
        blobs, names = folder_of(store) / "blobs", folder_of(store) / "snapshots" / COMMIT
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        (names / f"a.gguf.{ended.pid}.new").symlink_to(f"../../blobs/{sha256(CONTENT)}")
        (names / f"b.gguf.{os.getpid()}.new").symlink_to(f"../../blobs/{sha256(CONTENT)}")
        put_ref(store, COMMIT, f"main.{ended.pid}.new")
        old, young = blobs / f"{'c' * 64}.0a1b2c3d.incomplete", blobs / f"{'d' * 64}.incomplete"
        for path in (
            blobs / ("a" * 64),
            blobs / f"{'b' * 64}.part",
            blobs / f"{'b' * 64}.damaged",
            blobs / f"{'b' * 64}.2.damaged",
            old,
            young,
            blobs / "notes.txt",
        ):
            path.write_bytes(b"left")
        os.utime(old, (0, young.stat().st_mtime - DAY_S - 1))
        lock = store.locks(folder_of(store)) / f"{'e' * 64}.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        return {
            "a" * 64: "blob",
            f"{'b' * 64}.part": "part",
            f"{'b' * 64}.damaged": "damaged",
            f"{'b' * 64}.2.damaged": "damaged",
            old.name: "incomplete",
            f"a.gguf.{ended.pid}.new": "new",
            f"main.{ended.pid}.new": "new",
            "gone.gguf": "pointer",
            lock.name: "lock",
        }

    def test_are_found_by_their_kind_and_nothing_else_is(self, store: HubCache) -> None:
        laid = self.laid(store)
        assert found(store) == laid
        foreign = [each.path.name for each in upkeep.leftovers(store) if each.is_foreign]
        assert foreign == [name for name, kind in laid.items() if kind == "incomplete"]

    def test_are_deleted_and_the_models_stay(self, store: HubCache) -> None:
        laid = self.laid(store)
        done = list(upkeep.prune(store, upkeep.leftovers(store)))
        assert {each.leftover.path.name for each in done} == set(laid)
        assert [each.problem for each in done] == [None] * len(laid)
        assert sum(each.freed_bytes for each in done) == 5 * len(b"left") + len(COMMIT)
        assert found(store) == {}
        assert states(store, FILE) == ["sound"]
        assert (folder_of(store) / "blobs" / "notes.txt").exists()

    def test_of_an_interrupted_download_are_its_partial_and_lock(self, store: HubCache) -> None:
        file = RemoteFile(REPOSITORY, PATH, COMMIT, 9, "a" * 64)
        store.make_folders(file)
        store.part(file).write_bytes(b"begun")
        with filelock.FileLock(store.lock(file)):
            pass
        assert found(store) == {f"{'a' * 64}.part": "part", f"{'a' * 64}.lock": "lock"}
        list(upkeep.prune(store, upkeep.leftovers(store)))
        assert set(everything(store.root)) <= {".locks"}

    def test_are_none_where_a_live_process_is_at_work(self, store: HubCache) -> None:
        file = RemoteFile(REPOSITORY, PATH, COMMIT, 9, "a" * 64)
        store.make_folders(file)
        store.part(file).write_bytes(b"begun")
        put(store, CONTENT).unlink()  # a file that is here while another of its model comes
        known = upkeep.leftovers(store)
        with held_by_another_process(store, "a" * 64):
            assert found(store) == {}
            kept = {each.leftover.kind: each.problem for each in upkeep.prune(store, known)}
            assert isinstance(kept["part"], BeingFetched)
            assert store.part(file).exists()
        assert "part" in found(store).values()

    def test_that_got_a_name_meanwhile_stay(self, store: HubCache) -> None:
        name = put(store, CONTENT)
        goal = name.readlink()
        name.unlink()
        known = upkeep.leftovers(store)
        name.symlink_to(goal)
        (pruned,) = upkeep.prune(store, known)
        assert isinstance(pruned.problem, NotChanged)
        assert name.read_bytes() == CONTENT

    def test_that_lead_somewhere_again_stay(self, store: HubCache) -> None:
        name = put(store, CONTENT)
        blob = name.resolve()
        blob.unlink()
        known = upkeep.leftovers(store)
        assert [each.kind for each in known] == ["pointer"]
        blob.write_bytes(CONTENT)
        (pruned,) = upkeep.prune(store, known)
        assert isinstance(pruned.problem, NotChanged)
        assert name.read_bytes() == CONTENT

    def test_wait_for_a_set_of_which_a_part_is_being_fetched(self, store: HubCache) -> None:
        part = put(store, CONTENT)
        blob = part.resolve()
        part.unlink()
        known = upkeep.leftovers(store)
        with held_by_another_process(store, "a" * 64):
            (pruned,) = upkeep.prune(store, known)
        assert isinstance(pruned.problem, BeingFetched)
        assert blob.read_bytes() == CONTENT

    def test_of_a_repository_that_is_gone_are_its_locks(self, store: HubCache) -> None:
        lock = store.root / ".locks" / "models--a--b" / f"{'a' * 40}.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        assert found(store) == {lock.name: "lock"}
        list(upkeep.prune(store, upkeep.leftovers(store)))
        assert not lock.parent.exists()

    def test_are_looked_for_by_the_clock_that_is_given(self, store: HubCache) -> None:
        put(store, CONTENT)
        young = folder_of(store) / "blobs" / f"{'d' * 64}.incomplete"
        young.write_bytes(b"x")
        moment = young.stat().st_mtime
        assert found(store, now=moment + DAY_S - 1) == {}
        assert found(store, now=moment + DAY_S + 1) == {young.name: "incomplete"}
