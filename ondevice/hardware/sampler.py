"""Memory of the engine's process, read from outside while it works."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from ondevice.domain.memory import MachineMemory, MemoryUse, ProcessMemory
from ondevice.hardware import probe, system

PERIOD_S = 0.25


def read_process(
    pid: int, model_paths: tuple[str, ...], pages: bool = True
) -> ProcessMemory | None:
    """One reading of process `pid`; None when it is gone. `model_paths` are all of its model.

    `pages=False` leaves the model pages out: counting them walks the page table of the mapping,
    milliseconds for a file of gigabytes. Only Linux tells the two kinds apart; elsewhere only the
    resident total is known.
    """
    if not system.is_linux():
        return _read_elsewhere(pid)
    try:
        status = _read(f"/proc/{pid}/status")
        private = _kilobytes(status, "RssAnon:")
        resident = _kilobytes(status, "VmRSS:")
        if private is None or resident is None:  # a zombie has no memory
            return None
        mapped = _model_pages(_read(f"/proc/{pid}/smaps"), model_paths) if pages else None
    except OSError:
        return None
    return ProcessMemory(resident, private, mapped)


def memory_without(pid: int | None) -> MachineMemory:
    """The machine's memory once process `pid` has ended: what it alone holds is free again."""
    there = probe.machine_memory()
    found = read_process(pid, (), pages=False) if pid is not None else None
    held = (found.private_bytes or 0) if found else 0
    return replace(there, available_bytes=there.available_bytes + held)


def _read(path: str) -> str:
    # by bytes: a name may hold any, and reading text would turn \r into \n
    return Path(path).read_bytes().decode("utf-8", "surrogateescape")


def _read_elsewhere(pid: int) -> ProcessMemory | None:
    import psutil  # deferred: 21 ms

    try:
        return ProcessMemory(psutil.Process(pid).memory_info().rss, None, None)
    except psutil.Error:
        return None


def _kilobytes(status: str, name: str) -> int | None:
    for line in status.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return None


def _model_pages(smaps: str, model_paths: tuple[str, ...]) -> int:
    """Sum of Rss over the mappings of the files. Fields: address perms offset dev inode path."""
    written = {path.replace("\n", "\\012") for path in model_paths}
    names = written | {f"{name} (deleted)" for name in written}  # it is still in use
    total, inside = 0, False
    for line in smaps.split("\n"):  # a name may hold what splitlines() splits at
        head, _, _ = line.partition(" ")
        if "-" in head and not head.endswith(":"):
            inside = "".join(line.split(maxsplit=5)[5:]) in names
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


class PeakMemory:
    """Watches a process in a thread of its own between `with` and its end."""

    def __init__(self, pid: int, model_paths: tuple[str, ...]) -> None:
        self._pid, self._model_paths = pid, model_paths
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self._peak: int | None = None

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self._note(read_process(self._pid, self._model_paths, pages=False))

    def _note(self, memory: ProcessMemory | None) -> None:
        if memory and memory.private_bytes is not None:
            self._peak = max(self._peak or 0, memory.private_bytes)

    def use(self) -> MemoryUse:
        """The peak so far, and the model pages now."""
        memory = read_process(self._pid, self._model_paths)
        self._note(memory)
        if memory is None:
            return MemoryUse(self._peak, None, None)
        return MemoryUse(self._peak, memory.model_pages_bytes, memory.resident_bytes)
