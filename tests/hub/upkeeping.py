"""Caches of the hub, laid out by hand, by our pull, and by the library that other tools use."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from loopback import COMMIT, PATH, REPOSITORY, Loopback

from ondevice.domain.download import RemoteFile
from ondevice.domain.model import FileSpec
from ondevice.hub import upkeep
from ondevice.hub.cache import HubCache
from ondevice.hub.pull import pull
from ondevice.hub.rehash import Finding, verify
from ondevice.hub.remote import Hub

FILE = FileSpec("llama.cpp", "Q4_0", REPOSITORY, PATH)
OTHER_COMMIT = "d" * 40


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pinned(content: bytes) -> FileSpec:
    """The model's file, as a catalogue that knows it has it."""
    return replace(FILE, revision=COMMIT, size_bytes=len(content), sha256=sha256(content))


def folder_of(store: HubCache, repository: str = REPOSITORY) -> Path:
    return store.folder(repository)


def put(
    store: HubCache,
    content: bytes,
    path: str = PATH,
    commit: str = COMMIT,
    repository: str = REPOSITORY,
) -> Path:
    """Lay one file there as every tool does; its name."""
    folder = folder_of(store, repository)
    blob, name = folder / "blobs" / sha256(content), folder / "snapshots" / commit / path
    for each in (blob, name):
        each.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    name.symlink_to(os.path.relpath(blob, name.parent))
    return name


def put_ref(store: HubCache, commit: str, name: str = "main") -> Path:
    ref = folder_of(store) / "refs" / name
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit)
    return ref


def pulled(loopback: Loopback, store: HubCache, *files: RemoteFile) -> Path:
    with Hub(loopback.address) as hub:
        *_, done = pull(hub, files, store)
    return done.path  # type: ignore[union-attr]


def fetched_by_their_library(loopback: Loopback, store: HubCache, path: str = PATH) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(REPOSITORY, path, endpoint=loopback.address, cache_dir=store.root))


def warnings_of_their_library(store: HubCache) -> list[str]:
    """What the other tools say is wrong with the cache."""
    from huggingface_hub import scan_cache_dir

    return [str(each) for each in scan_cache_dir(store.root).warnings]


def everything(root: Path) -> dict[str, str]:
    """What lies below a folder: names, and what they hold or lead to."""
    found = {}
    for where, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(where) / name
            if path.is_symlink():
                held = f"-> {path.readlink()}"
            else:
                held = sha256(path.read_bytes()) if path.is_file() else ""
            found[str(path.relative_to(root))] = held
    return found


def flip(path: Path, bit: int = 0) -> None:
    """One bit at rest is another one."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def findings(store: HubCache, *files: FileSpec | RemoteFile) -> list[Finding]:
    return [each for each in verify(store, files) if isinstance(each, Finding)]


def states(store: HubCache, *files: FileSpec | RemoteFile) -> list[str]:
    return [each.state for each in findings(store, *files)]


@contextlib.contextmanager
def held_by_another_process(store: HubCache, digest: str) -> Iterator[None]:
    """The lock of a file, as somebody has it who fetches it."""
    lock = store.locks(folder_of(store)) / f"{digest}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    code = (
        "import filelock, sys\nwith filelock.FileLock(sys.argv[1]): print(1, flush=True), input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        yield
        holder.communicate(b"\n")


def found(store: HubCache, **more: float) -> dict[str, str]:
    """Leftovers: what is left of their names -> kind."""
    return {each.path.name: each.kind for each in upkeep.leftovers(store, **more)}
