"""A hash that is computed aside is the hash of what it was given, in that order."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from ondevice.domain.download import RemoteFile
from ondevice.hub.hashing import AHEAD, HashAside, content_hash

PIECES = [random.Random(number).randbytes(number * 997) for number in range(10 * AHEAD)]
WHOLE = b"".join(PIECES)
OF_GIT = hashlib.sha1(b"blob %d\0" % len(WHOLE) + WHOLE, usedforsecurity=False).hexdigest()


@pytest.fixture(params=[hashlib.sha256(WHOLE).hexdigest(), OF_GIT], ids=["sha256", "git"])
def file(request: pytest.FixtureRequest) -> RemoteFile:
    return RemoteFile("someone/small", "small.gguf", "c" * 40, len(WHOLE), request.param)


@pytest.fixture
def aside(file: RemoteFile) -> Iterator[HashAside]:
    aside = HashAside(content_hash(file))
    yield aside
    aside.close()


def test_many_pieces_are_hashed_in_their_order(aside: HashAside, file: RemoteFile) -> None:
    for piece in PIECES:
        aside.update(memoryview(piece))
    assert aside.hexdigest() == file.content_hash


def test_another_one_knows_nothing_of_what_came_before(aside: HashAside, file: RemoteFile) -> None:
    aside.update(b"thrown away")
    aside.begin(content_hash(file))
    aside.update(WHOLE)
    assert aside.hexdigest() == file.content_hash
