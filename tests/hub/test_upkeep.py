"""Nothing outside the cache is touched, whatever lies in it."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import COMMIT
from upkeeping import (
    FILE,
    everything,
    findings,
    folder_of,
    found,
    put,
)

from ondevice.hub import upkeep
from ondevice.hub.cache import HubCache
from ondevice.hub.upkeep import Leftover

CONTENT = random.Random(1).randbytes(100_000)


@pytest.fixture
def store(cache: Path) -> HubCache:
    return HubCache(cache)


def _link_blobs(store: HubCache, outside: Path) -> None:
    (folder_of(store) / "blobs").symlink_to(outside)
    (folder_of(store) / "snapshots").mkdir()


def _link_repository(store: HubCache, outside: Path) -> None:
    folder_of(store).rmdir()
    (outside / "blobs").mkdir()
    (outside / "blobs" / ("a" * 64)).write_bytes(b"precious")
    folder_of(store).symlink_to(outside)


def _link_locks(store: HubCache, outside: Path) -> None:
    (outside / folder_of(store).name).mkdir()
    (outside / folder_of(store).name / f"{'a' * 64}.lock").touch()
    (store.root / ".locks").symlink_to(outside)


def _link_locks_of_one(store: HubCache, outside: Path) -> None:
    (outside / f"{'a' * 64}.lock").touch()
    (store.root / ".locks").mkdir()
    store.locks(folder_of(store)).symlink_to(outside)


def _link_refs(store: HubCache, outside: Path) -> None:
    (outside / "main").write_text(COMMIT)
    (outside / "main.999999999.new").write_text(COMMIT)
    (folder_of(store) / "refs").symlink_to(outside)
    put(store, CONTENT)


def _link_files(store: HubCache, outside: Path) -> None:
    name = put(store, CONTENT)
    for each in (name.resolve().with_name("a" * 64), name.resolve().with_name("b" * 64 + ".part")):
        each.symlink_to(outside / f"{'a' * 64}.part")
    name.with_name("away.gguf").symlink_to(outside / ("a" * 64))


def _folders_for_files(store: HubCache, outside: Path) -> None:
    blobs = folder_of(store) / "blobs"
    for each in ("a" * 64, f"{'b' * 64}.part", f"{'c' * 64}.damaged"):
        (blobs / each).mkdir(parents=True)
    (store.locks(folder_of(store)) / f"{'a' * 64}.lock").mkdir(parents=True)
    (store.root / "models--file--file").write_bytes(b"")
    (folder_of(store) / "snapshots").write_bytes(b"")


HOSTILE = {
    each.__name__.removeprefix("_").replace("_", " "): each
    for each in (
        _link_blobs,
        _link_repository,
        _link_locks,
        _link_locks_of_one,
        _link_refs,
        _link_files,
        _folders_for_files,
    )
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_nothing_outside_the_cache_is_touched_whatever_is_in_it(
    make: object, store: HubCache, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("a" * 64, f"{'a' * 64}.part", f"{'a' * 64}.damaged", f"{'b' * 64}.0.incomplete"):
        (outside / name).write_bytes(b"precious")
        os.utime(outside / name, (0, 0))
    folder_of(store).mkdir(parents=True)
    make(store, outside)  # type: ignore[operator]
    before = everything(outside)
    due: list[Leftover] = upkeep.leftovers(store)
    list(upkeep.prune(store, due))
    known = replace(FILE, sha256="a" * 64, revision=COMMIT)
    for file in (FILE, known, replace(FILE, path="away.gguf")):
        for finding in findings(store, file):
            if finding.can_be_mended:
                upkeep.mend(store, finding)
        upkeep.remove(store, file)
    assert everything(outside) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
@pytest.mark.parametrize("which", ["snapshots", "a revision"])
def test_content_is_nobodys_only_where_all_names_can_be_seen(which: str, store: HubCache) -> None:
    name = put(store, CONTENT)
    folder = name.parent if which == "a revision" else name.parent.parent
    folder.chmod(0)
    try:
        assert found(store) == {}
    finally:
        folder.chmod(0o700)
