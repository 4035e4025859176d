"""One wrong bit on the wire, in what an earlier run left, or at rest: always found."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import Loopback, flip

from ondevice.domain.download import Downloaded, DownloadNotice, RemoteFile
from ondevice.errors import CorruptDownload
from ondevice.hub.cache import HubCache
from ondevice.hub.patience import Patience
from ondevice.hub.pull import pull
from ondevice.hub.remote import Hub
from ondevice.hub.upkeep import Finding, verify

QUICK = Patience(attempts=3, backoff_s=0.0, longest_wait_s=0.0)
CONTENT = random.Random(5).randbytes(4096)
BITS = 8 * len(CONTENT)


def changed(bit: int) -> bytes:
    """The content with one bit turned."""
    damaged = bytearray(CONTENT)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


class Place:
    """One hub, one cache, and what a corruption there comes to."""

    def __init__(self, loopback: Loopback, store: HubCache) -> None:
        self.loopback, self.store = loopback, store
        self.file: RemoteFile = loopback.offer(CONTENT)

    def pulled(self) -> str:
        """What the pull says; the file it gives is always the right one."""
        try:
            with Hub(self.loopback.address) as hub:
                events = list(pull(hub, [self.file], self.store, QUICK))
        except CorruptDownload:
            assert not self.store.blob(self.file).exists()
            assert not self.store.snapshot(self.file).is_symlink()
            return "refused"
        assert isinstance(events[-1], Downloaded)
        assert events[-1].path.read_bytes() == CONTENT
        said = [each.code for each in events if isinstance(each, DownloadNotice)]
        return "fetched again" if "restart" in said else "not noticed"

    def on_the_wire(self, draw: random.Random) -> str:
        self.loopback.faults.append(flip(draw.randrange(BITS)))
        return self.pulled()

    def twice_on_the_wire(self, draw: random.Random) -> str:
        self.loopback.faults.extend(flip(draw.randrange(BITS)) for _ in range(2))
        return self.pulled()

    def in_the_partial(self, draw: random.Random) -> str:
        bit = draw.randrange(BITS)
        self.store.make_folders(self.file)
        length = draw.randint(bit // 8 + 1, len(CONTENT))
        self.store.part(self.file).write_bytes(changed(bit)[:length])
        return self.pulled()

    def at_rest(self, draw: random.Random) -> str:
        assert self.pulled() == "not noticed"  # there was nothing to notice yet
        self.store.blob(self.file).write_bytes(changed(draw.randrange(BITS)))
        (found,) = (each for each in verify(self.store, [self.file]) if isinstance(each, Finding))
        return found.state

    def clear(self) -> None:
        """As if nothing had ever been fetched."""
        for path in (self.store.blob(self.file), self.store.part(self.file)):
            path.unlink(missing_ok=True)
        self.store.snapshot(self.file).unlink(missing_ok=True)


Corrupt = Callable[[Place, random.Random], str]
DETECTED: dict[str, tuple[Corrupt, str]] = {
    "on the wire": (Place.on_the_wire, "fetched again"),
    "twice on the wire": (Place.twice_on_the_wire, "refused"),
    "in the partial": (Place.in_the_partial, "fetched again"),
    "at rest": (Place.at_rest, "damaged"),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "count", [pytest.param(32, id="32"), pytest.param(1000, id="1000", marks=pytest.mark.soak)]
)
def test_every_wrong_bit_is_found(loopback: Loopback, cache: Path, count: int) -> None:
    place, draw, found = Place(loopback, HubCache(cache)), random.Random(count), Counter[str]()
    for number in range(count):
        where, (corrupt, due) = list(DETECTED.items())[number % len(DETECTED)]
        said = corrupt(place, draw)
        assert said == due, where
        found[f"{where}: {said}"] += 1
        place.clear()
    print(f"\n{count} corruptions, all found: {dict(found)}")
    assert found.total() == count
