"""Throughput of a pull with its hashing on, against `curl` and `hf_hub_download`.

A hub in a process of its own serves 1 GB from memory over a loopback socket. Every arm writes a
new file and ends when that is on the disk (fsync). Ours also computes the sha256 and publishes;
`curl` alone does neither, so `curl` followed by `openssl dgst -sha256` (four times as fast
as `sha256sum` where the processor helps) is shown beside it. The start of the
Python interpreter is not part of a pull; curl's own start (10 ms) is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from common import Arm, conditions, pair_count, pairs, report

from ondevice.domain.download import RemoteFile
from ondevice.hub.cache import HubCache
from ondevice.hub.pull import pull
from ondevice.hub.remote import Hub

SIZE_BYTES = int(os.environ.get("ONDEVICE_DOWNLOAD_BYTES", 1 << 30))
BAR = 0.9
REPOSITORY, PATH, COMMIT = "someone/small-GGUF", "small.Q4_0.gguf", "c" * 40
SERVER = Path(__file__).resolve().parent.parent / "tests" / "hub" / "serving.py"


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, RemoteFile]]:
    """A hub with one file of random bytes: its address and the file."""
    content = folder / "content"
    with content.open("wb") as out:
        for _ in range(SIZE_BYTES >> 20):
            out.write(os.urandom(1 << 20))
        os.fsync(out.fileno())
    with serving_file(content) as served:
        yield served


@contextmanager
def serving_file(content: Path, *, low_priority: bool = False) -> Iterator[tuple[str, RemoteFile]]:
    """The same with a file that is there."""
    server = subprocess.Popen(
        [sys.executable, str(SERVER), str(content)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdin is not None
        assert server.stdout is not None
        if low_priority:
            psutil.Process(server.pid).nice(19)
        address, digest = server.stdout.readline().split()
        yield address, RemoteFile(REPOSITORY, PATH, COMMIT, content.stat().st_size, digest)
        server.stdin.close()


def timed(folder: Path, fetch: Callable[[Path], object]) -> Arm:
    """MB per second of `fetch`, which fills a folder that is new each time."""

    def arm() -> float:
        fresh = Path(tempfile.mkdtemp(dir=folder))
        start = time.perf_counter()
        fetch(fresh)
        took = time.perf_counter() - start
        shutil.rmtree(fresh)
        return SIZE_BYTES / took / 1e6

    return arm


def sync(path: Path) -> None:
    """Put a file that another program wrote on the disk."""
    with path.open("rb") as opened:
        os.fsync(opened.fileno())


def by_ondevice(address: str, file: RemoteFile) -> Callable[[Path], object]:
    def fetch(folder: Path) -> object:
        with Hub(address) as hub:
            return list(pull(hub, [file], HubCache(folder)))

    return fetch


def by_curl(address: str, *, hashed: bool = False) -> Callable[[Path], object]:
    def fetch(folder: Path) -> None:
        path = folder / "file"
        url = f"{address}/{REPOSITORY}/resolve/{COMMIT}/{PATH}"
        subprocess.run(["curl", "-sSfL", "-o", str(path), url], check=True)
        sync(path)
        if hashed:
            command = ["openssl", "dgst", "-sha256", str(path)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return fetch


def by_huggingface(address: str) -> Callable[[Path], object]:
    from huggingface_hub import hf_hub_download

    def fetch(folder: Path) -> None:
        found = hf_hub_download(
            REPOSITORY, PATH, revision=COMMIT, cache_dir=folder, endpoint=address
        )
        sync(Path(found).resolve())

    return fetch


def main() -> None:
    """Three comparisons."""
    os.environ |= {"NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    conditions()
    count = pair_count(10)
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as (address, file):
        folder = Path(name)
        ours = timed(folder, by_ondevice(address, file))
        for label, other, bar in (
            ("pull / curl", by_curl(address), BAR),
            ("pull / curl, then sha256", by_curl(address, hashed=True), None),
            ("pull / hf_hub_download", by_huggingface(address), None),
        ):
            report(label, pairs(ours, timed(folder, other), count), bar, "MB/s")


if __name__ == "__main__":
    main()
