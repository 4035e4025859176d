"""Damage at rest is found whatever it is, and set aside without a byte being lost."""

from __future__ import annotations

import os
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import COMMIT, PATH, REPOSITORY, Loopback, git_hash
from upkeeping import (
    FILE,
    OTHER_COMMIT,
    fetched_by_their_library,
    findings,
    flip,
    found,
    held_by_another_process,
    pinned,
    pulled,
    put,
    sha256,
    states,
    warnings_of_their_library,
)

from ondevice import catalog
from ondevice.domain.download import DownloadProgress, RemoteFile
from ondevice.errors import BeingFetched
from ondevice.hub import local, upkeep
from ondevice.hub.cache import HubCache
from ondevice.hub.records import Records

CONTENT = random.Random(1).randbytes(100_000)
OTHER = random.Random(2).randbytes(50_000)


@pytest.fixture
def store(cache: Path) -> HubCache:
    return HubCache(cache)


class TestVerify:
    @pytest.mark.parametrize("who", ["pull", "their library"])
    def test_finds_what_came_sound(self, who: str, loopback: Loopback, store: HubCache) -> None:
        large = loopback.offer(CONTENT)
        small = loopback.offer_small(b"{}" * 9, "config.json")
        for file in (large, small):
            if who == "pull":
                pulled(loopback, store, file)
            else:
                fetched_by_their_library(loopback, store, file.path)
        assert states(store, large, small) == ["sound", "sound"]
        forms = [FILE, replace(FILE, engine="onnx", path="config.json")]
        assert [each.found_hash for each in findings(store, *forms)] == [
            large.content_hash,
            small.content_hash,
        ]

    @settings(max_examples=60, deadline=None)
    @given(bit=st.integers(0, 8 * 5000 - 1), small=st.booleans())
    def test_finds_every_bit_that_changed_at_rest(self, bit: int, small: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store, content = HubCache(Path(folder)), CONTENT[:5000]
            name = put(store, content)
            digest = sha256(content)
            if small:
                digest = git_hash(content)
                blob = name.resolve().rename(name.resolve().with_name(digest))
                name.unlink()
                name.symlink_to(blob)
            flip(name, bit)
            file = RemoteFile(REPOSITORY, PATH, COMMIT, len(content), digest)
            for each in (file, FILE):
                (finding,) = findings(store, each)
                assert finding.state == "damaged"
                assert finding.file.content_hash == digest
                assert finding.found_hash not in (None, digest)

    @pytest.mark.parametrize("known", [True, False], ids=["pinned", "named by its hash"])
    @pytest.mark.parametrize(
        ("size", "state"), [(0, "shorter"), (99_999, "shorter"), (1, "longer")]
    )
    def test_finds_another_size(self, known: bool, size: int, state: str, store: HubCache) -> None:
        name = put(store, CONTENT)
        with name.open("r+b") as file:
            file.truncate(size if state == "shorter" else len(CONTENT) + size)
        assert states(store, pinned(CONTENT) if known else FILE) == [state if known else "damaged"]

    def test_says_what_is_missing_and_what_nobody_knows(
        self, store: HubCache, tmp_path: Path
    ) -> None:
        file = RemoteFile(REPOSITORY, PATH, COMMIT, 9, "a" * 64)
        assert states(store, file, FILE) == ["missing", "missing"]
        name = put(store, CONTENT)
        name.resolve().unlink()
        assert states(store, FILE) == ["missing"]
        name.unlink()
        name.write_bytes(CONTENT)
        assert states(store, FILE) == ["unknown"]
        assert states(store, pinned(CONTENT)) == ["sound"]

    def test_judges_another_revision_by_its_own_name(self, store: HubCache) -> None:
        put(store, CONTENT)
        put(store, OTHER, commit=OTHER_COMMIT)
        unpinned = replace(pinned(OTHER), revision=None)
        assert [each.state for each in findings(store, unpinned)] == ["sound", "sound"]

    def test_misses_a_part_of_a_split_model(self, store: HubCache) -> None:
        first = "m-00001-of-00002.gguf"
        put(store, CONTENT, first)
        told = findings(store, replace(FILE, path=first))
        assert [each.state for each in told] == ["sound", "missing"]

    def test_knows_what_was_pinned_locally(self, store: HubCache, tmp_path: Path) -> None:
        name = put(store, CONTENT)
        name.unlink()
        name.write_bytes(CONTENT)
        own = Records(tmp_path / "downloads.json")
        own.pin(FILE, (RemoteFile(REPOSITORY, PATH, COMMIT, len(CONTENT), sha256(CONTENT)),))
        flip(name, 77)
        (finding,) = [e for e in upkeep.verify(store, [FILE], own) if isinstance(e, upkeep.Finding)]
        assert (finding.state, finding.file.content_hash) == ("damaged", sha256(CONTENT))

    @pytest.mark.parametrize("what", ["pipe", "folder", "forbidden"])
    def test_is_not_stopped_by_what_is_no_file(self, what: str, store: HubCache) -> None:
        name = put(store, CONTENT)
        blob = name.resolve()
        if what == "forbidden":
            if os.geteuid() == 0:
                pytest.skip("root may read everything")
            blob.chmod(0)
        else:
            blob.unlink()
            os.mkfifo(blob) if what == "pipe" else blob.mkdir()
        file = RemoteFile(REPOSITORY, PATH, COMMIT, len(CONTENT), sha256(CONTENT))
        assert states(store, file) == ["unreadable"]

    def test_hashes_one_content_once_whatever_leads_to_it(self, store: HubCache) -> None:
        put(store, CONTENT)
        put(store, CONTENT, commit=OTHER_COMMIT)
        put(store, OTHER, commit="e" * 40)
        assert states(store, FILE, FILE) == ["sound", "sound"]

    def test_tells_how_far_it_is(self, store: HubCache) -> None:
        put(store, CONTENT)
        put(store, OTHER, path="other.gguf")
        files = [FILE, replace(FILE, path="other.gguf")]
        told = [e for e in upkeep.verify(store, files) if isinstance(e, DownloadProgress)]
        total = len(CONTENT) + len(OTHER)
        assert [each.done_bytes for each in told] == [len(CONTENT), total]
        assert {each.total_bytes for each in told} == {total}
        assert told[-1].rate_bytes_per_s is not None

    def test_looks_at_what_a_package_carries(self, store: HubCache, starter_path: Path) -> None:
        starter = catalog.load().find(catalog.STARTER).files[0]
        (finding,) = findings(store, starter)
        assert (finding.state, finding.file.path) == ("sound", starter_path)
        wrong = replace(starter, sha256="a" * 64)
        (finding,) = findings(store, wrong)
        assert (finding.state, finding.can_be_mended) == ("damaged", False)
        cut = replace(starter, size_bytes=(starter.size_bytes or 0) + 1)
        assert states(store, cut) == ["shorter"]


class TestMend:
    def test_sets_it_aside_so_that_the_next_pull_fetches_it_anew(
        self, loopback: Loopback, store: HubCache
    ) -> None:
        file = loopback.offer(CONTENT)
        path = pulled(loopback, store, file)
        flip(path, 4242)
        damaged = path.read_bytes()
        (finding,) = findings(store, file)
        aside = upkeep.mend(store, finding)
        assert aside is not None
        assert (aside.name, aside.read_bytes()) == (f"{file.content_hash}.damaged", damaged)
        assert local.find_file(pinned(CONTENT)) is None
        assert pulled(loopback, store, file).read_bytes() == CONTENT
        assert states(store, file) == ["sound"]
        assert found(store)[aside.name] == "damaged"
        assert warnings_of_their_library(store) == []

    def test_keeps_every_damaged_one(self, store: HubCache) -> None:
        kept = []
        for bit in (1, 2, 3):
            path = put(store, CONTENT)
            flip(path, bit)
            (finding,) = findings(store, FILE)
            kept.append(upkeep.mend(store, finding))
        assert len({each.read_bytes() for each in kept if each}) == 3
        assert set(found(store).values()) == {"damaged"}

    def test_takes_all_its_names(self, store: HubCache) -> None:
        first = put(store, CONTENT)
        second = put(store, CONTENT, commit=OTHER_COMMIT)
        flip(first)
        (finding,) = findings(store, FILE)
        upkeep.mend(store, finding)
        assert not first.is_symlink()
        assert not second.is_symlink()

    def test_leaves_sound_content_that_only_has_the_wrong_name(self, store: HubCache) -> None:
        name = put(store, OTHER)
        blob = name.resolve()
        (finding,) = findings(store, replace(pinned(CONTENT), size_bytes=None))
        assert (finding.state, finding.found_hash) == ("damaged", sha256(OTHER))
        assert upkeep.mend(store, finding) is None
        assert blob.read_bytes() == OTHER
        assert not name.is_symlink()

    def test_leaves_what_lies_outside_the_cache(self, store: HubCache, tmp_path: Path) -> None:
        name = put(store, CONTENT)
        name.unlink()
        (tmp_path / "precious").write_bytes(OTHER)
        name.symlink_to(tmp_path / "precious")
        (finding,) = findings(store, replace(pinned(CONTENT), size_bytes=None))
        assert upkeep.mend(store, finding) is None
        assert (tmp_path / "precious").read_bytes() == OTHER

    def test_waits_for_nobody_who_fetches_it(self, store: HubCache) -> None:
        name = put(store, CONTENT)
        flip(name)
        (finding,) = findings(store, FILE)
        with held_by_another_process(store, sha256(CONTENT)), pytest.raises(BeingFetched):
            upkeep.mend(store, finding)
        assert name.exists()
