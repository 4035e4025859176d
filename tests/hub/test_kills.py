"""A pull killed at any moment: the next one goes on, and nothing wrong or stray is ever there."""

from __future__ import annotations

import contextlib
import hashlib
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pulls import MOST_AGAIN_BYTES, finish, start, strays
from serving import FileHub

from ondevice.hub.cache import HubCache

SIZE_BYTES = 64 << 20
LATE_SHARE = 0.3
"""So many kills wait until all has been sent, for what a pull does after that: so long it takes."""
AFTER_ALL_S = 0.3
START_S = 1.5
"""An interpreter's start, and hashing what is there."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FileHub]:
    content = tmp_path / "content"
    content.write_bytes(random.Random(1).randbytes(SIZE_BYTES))
    served = FileHub(content)
    yield served
    served.close()


class Killer:
    """Kills a pull when the hub has sent so much, or so long after it has sent all."""

    def __init__(self, hub: FileHub, draw: random.Random) -> None:
        self._hub, self._draw = hub, draw
        self.landed: list[str] = []
        """What each kill left."""
        self.lost: list[int] = []
        """Bytes that each kill lost: sent, but not in the partial."""

    def strike(self, store: HubCache) -> bool:
        """Run a pull and kill it at a random moment; False when the model was there by then."""
        had = here(self._hub, store)
        missing = SIZE_BYTES - had
        late = not missing or self._draw.random() < LATE_SHARE
        ahead = missing if late else min(missing, self._draw.randrange(SIZE_BYTES // 3))
        after_s = self._draw.uniform(0, AFTER_ALL_S if missing else START_S) if late else 0.0
        sent = self._hub.sent
        goal, reached = self._hub.sent + ahead, threading.Event()
        self._hub.watch = lambda sent: reached.set() if sent >= goal else None
        process = start(self._hub, store)
        while ahead and process.poll() is None and not reached.wait(timeout=0.05):
            pass
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=after_s)
        process.kill()
        process.communicate()
        if store.snapshot(self._hub.file).exists():
            return False
        self.landed.append(state(self._hub, store))
        self.lost.append(self._hub.sent - sent - (here(self._hub, store) - had))
        return True


def here(hub: FileHub, store: HubCache) -> int:
    """Bytes of the file on the disk."""
    found = [path for path in (store.blob(hub.file), store.part(hub.file)) if path.exists()]
    return found[0].stat().st_size if found else 0


def state(hub: FileHub, store: HubCache) -> str:
    """How far a pull has come."""
    if store.blob(hub.file).exists():
        return "published"
    return {0: "nothing", SIZE_BYTES: "all bytes"}.get(here(hub, store), "some bytes")


def right_or_absent(hub: FileHub, store: HubCache) -> None:
    """No name ever leads to wrong bytes."""
    for path in (store.blob(hub.file), store.snapshot(hub.file)):
        if path.exists():
            with path.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            assert digest == hub.file.content_hash
        else:
            assert not path.is_symlink()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "kills", [pytest.param(6, id="6"), pytest.param(200, id="200", marks=pytest.mark.soak)]
)
def test_kills_at_random_moments_cost_little_and_leave_nothing(
    hub: FileHub, cache: Path, kills: int
) -> None:
    draw = random.Random(kills)
    killer = Killer(hub, draw)
    rounds, again = 0, 0
    while len(killer.landed) < kills:
        store = HubCache(cache / str(rounds))
        before = hub.sent
        while len(killer.landed) < kills and killer.strike(store):
            right_or_absent(hub, store)
        assert finish(start(hub, store))["path"] == str(store.snapshot(hub.file))
        right_or_absent(hub, store)
        assert store.snapshot(hub.file).exists()
        assert strays(hub, store) == []
        again += hub.sent - before - SIZE_BYTES
        rounds += 1
    most = max(killer.lost)
    left = dict(Counter(killer.landed))
    print(f"\n{kills} kills of {rounds} downloads left {left}", end=", ")
    print(f"{again / kills / 1e6:.2f} MB fetched again per kill, at most {most / 1e6:.1f}")
    assert again / kills <= MOST_AGAIN_BYTES
