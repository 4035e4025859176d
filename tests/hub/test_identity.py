"""The hash of a model file: from who knows it, else from its bytes, once."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ondevice import catalog
from ondevice.domain.model import ModelFile
from ondevice.hub import identity, local

CATALOG = catalog.load()


@pytest.fixture
def file(tmp_path: Path) -> ModelFile:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"some bytes")
    return ModelFile(path, "llama.cpp", "m")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_pinned_file_has_the_hash_of_its_pin_unread(tmp_path: Path) -> None:
    starter = local.resolve("starter", CATALOG)
    known = identity.known_sha256(starter, CATALOG, tmp_path)
    assert known == sha256(starter.path.read_bytes())
    assert list(tmp_path.iterdir()) == []


def test_another_file_of_a_pinned_name_has_its_own_hash(file: ModelFile, tmp_path: Path) -> None:
    starter = local.resolve("starter", CATALOG)
    other = replace(starter, path=file.path)
    assert identity.sha256_of(other, CATALOG, tmp_path / "cache") == sha256(b"some bytes")


def test_a_blob_of_the_cache_is_named_by_its_hash(tmp_path: Path) -> None:
    blob = tmp_path / "models--a--b" / "blobs" / sha256(b"x")
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"x")
    link = tmp_path / "x.gguf"
    link.symlink_to(blob)
    file = ModelFile(link, "llama.cpp", "x")
    assert identity.known_sha256(file, CATALOG, tmp_path) == sha256(b"x")


def test_any_other_file_is_hashed_once_and_remembered(file: ModelFile, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert identity.known_sha256(file, CATALOG, cache) is None
    assert identity.sha256_of(file, CATALOG, cache) == sha256(b"some bytes")
    assert identity.known_sha256(file, CATALOG, cache) == sha256(b"some bytes")
    assert (cache / "hashes.json").stat().st_mode & 0o777 == 0o600


def rewrite(path: Path) -> None:
    path.write_bytes(b"other byte")
    os.utime(path, ns=(1, 1))


def replace_it(path: Path) -> None:
    status = path.stat()
    path.rename(path.with_name("old"))
    path.write_bytes(b"other byte")
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [rewrite, replace_it], ids=["rewritten", "replaced"])
def test_a_file_that_changed_is_unknown_again(
    file: ModelFile, tmp_path: Path, change: object
) -> None:
    cache = tmp_path / "cache"
    identity.sha256_of(file, CATALOG, cache)
    assert callable(change)
    change(file.path)
    assert identity.known_sha256(file, CATALOG, cache) is None
    assert identity.sha256_of(file, CATALOG, cache) == sha256(b"other byte")


def test_what_cannot_be_remembered_is_hashed_all_the_same(file: ModelFile, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    assert identity.sha256_of(file, CATALOG, blocked) == sha256(b"some bytes")
    damaged = tmp_path / "cache"
    damaged.mkdir()
    (damaged / "hashes.json").write_bytes(b"[" * 100_000)
    assert identity.sha256_of(file, CATALOG, damaged) == sha256(b"some bytes")
    assert identity.known_sha256(file, CATALOG, damaged) == sha256(b"some bytes")


def test_a_split_model_has_a_hash_of_all_its_parts(tmp_path: Path) -> None:
    cache, paths = tmp_path / "cache", [tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2)]
    for path in paths:
        path.write_bytes(b"some bytes")
    file = ModelFile(paths[0], "llama.cpp", "m")
    first = identity.sha256_of(file, CATALOG, cache)
    assert identity.known_sha256(file, CATALOG, cache) == first != sha256(b"some bytes")
    rewrite(paths[1])
    assert identity.known_sha256(file, CATALOG, cache) is None
    assert identity.sha256_of(file, CATALOG, cache) != first


def test_not_more_than_a_few_hundred_are_remembered(
    file: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "MOST_REMEMBERED", 1)
    other = replace(file, path=tmp_path / "other.gguf")
    other.path.write_bytes(b"x")
    identity.sha256_of(file, CATALOG, tmp_path / "cache")
    identity.sha256_of(other, CATALOG, tmp_path / "cache")
    assert identity.known_sha256(file, CATALOG, tmp_path / "cache") is None
    assert identity.known_sha256(other, CATALOG, tmp_path / "cache") == sha256(b"x")
