"""The bytes of one file: resumed, capped, hashed while they come, tried again with patience.

What is on the disk is a partial named after the hash it is to have, so what one run left the next
one takes up, and bytes of two files are never mixed.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path

from ondevice import units
from ondevice.domain.download import DownloadNotice, DownloadProgress, RemoteFile
from ondevice.errors import (
    CorruptDownload,
    DiskTooSmall,
    DownloadStalled,
    DownloadTrouble,
    HubMisbehaved,
    HubUnreachable,
)
from ondevice.hardware.files import drop_pages, open_private
from ondevice.hub.answers import CHECK, RangeRefused
from ondevice.hub.hashing import HashAside, content_hash
from ondevice.hub.patience import PASSING, Patience, retrying
from ondevice.hub.remote import Hub

REPORT_S = 0.2
READ_BYTES = 1 << 20
FLUSH_BYTES = 8 << 20
"""So much is handed to the disk at a time."""


def fetch(
    hub: Hub, file: RemoteFile, part: Path, patience: Patience, before: int, total: int
) -> Generator[DownloadProgress | DownloadNotice, None, int]:
    """Make `part` the whole of `file`, from what it holds already; the bytes that came for it.

    Its progress is that of a set of `total` bytes, `before` of which are here. Ends when its hash
    is right and it is on the disk. Raises what ended the last attempt; `part` then keeps what it
    has, except that bytes of a wrong hash are thrown away: CorruptDownload.
    """
    with _Transfer(hub, file, part, patience, before, total) as transfer:
        for clean in (False, True):
            yield from transfer.run()
            found = transfer.hash.hexdigest()
            if found == file.content_hash:
                return transfer.came
            transfer.restart()
            if not clean:
                yield DownloadNotice("restart", f"{file.path} arrived damaged; fetching it again")
    raise CorruptDownload(
        f"{file.path} has the hash {found}, not the promised {file.content_hash}",
        hint="It was thrown away. If it happens again, the server or a proxy changes the file.",
    )


class _Transfer:
    """One partial being filled."""

    def __init__(
        self, hub: Hub, file: RemoteFile, part: Path, patience: Patience, before: int, total: int
    ) -> None:
        self._hub, self._file, self._patience = hub, file, patience
        self._before, self._total = before, total
        try:
            self._out = open_private(part)
        except OSError as error:
            raise disk_trouble(error, part.name, before) from error
        self.hash = HashAside(content_hash(file))
        self.came = 0
        """Bytes of this run, those included that were thrown away."""
        self._done = 0
        self._flushed = 0
        self._etag: str | None = None
        self._reported = 0
        self._told = 0.0
        self._recent: deque[tuple[float, int]] = deque()
        """(when, bytes on the disk) of the last `stall_s`."""

    def __enter__(self) -> _Transfer:
        return self

    def __exit__(self, *_: object) -> None:
        self.hash.close()
        self._out.close()

    def run(self) -> Iterator[DownloadProgress | DownloadNotice]:
        """Until all bytes are on the disk, whatever their hash."""
        self._take_up()
        if self._done:
            yield DownloadNotice("resumed", f"{units.size(self._done)} were here already")
        failures = refusals = 0
        mark = self._done
        while self._done < self._file.size_bytes:
            try:
                yield from self._attempt()
            except RangeRefused as error:
                refusals += 1
                if refusals >= self._patience.attempts:
                    raise HubMisbehaved(f"{self._file.path}: {error}") from error
                self.restart()
                failures = mark = 0  # those were of what is thrown away
                yield DownloadNotice("restart", f"{error}; fetching {self._file.path} anew")
            except PASSING as error:
                if self._done - mark >= self._patience.headway_bytes:
                    failures, mark = 0, self._done
                failures += 1
                if self._patience.is_over(error, failures, self.came):
                    self._say_what_is_kept(error)
                    raise
                wait = self._patience.wait_s(error, failures)
                yield retrying(error, wait)
                time.sleep(wait)
        os.fsync(self._out.fileno())
        yield self._progress()

    def _say_what_is_kept(self, error: DownloadTrouble) -> None:
        if self._before + self._done:
            error.hint = f"{error.hint} What was fetched is kept; pull again to go on."

    def restart(self) -> None:
        """Throw away what is there."""
        self._out.seek(0)
        self._out.truncate()
        self.hash.begin(content_hash(self._file))
        self._done, self._etag, self._flushed = 0, None, 0

    def _take_up(self) -> None:
        """Hash what an earlier run left; more than the file has is not of it."""
        self._out.seek(0)
        while data := self._out.read(READ_BYTES):
            self.hash.update(data)
            self._done += len(data)
        self._flushed = self._done
        if self._done > self._file.size_bytes:
            self.restart()

    def _attempt(self) -> Iterator[DownloadProgress | DownloadNotice]:
        self._recent.clear()
        with self._hub.open(self._file, self._done, self._etag) as body:
            if body.start != self._done:
                self.restart()
                words = f"the server knows no ranges; fetching {self._file.path} anew"
                yield DownloadNotice("restart", words)
            self._etag = body.etag
            began, first = time.monotonic(), self._done
            for chunk in body.chunks():
                self._write(chunk)
                if time.monotonic() - self._told >= REPORT_S:
                    self._told = time.monotonic()
                    yield self._progress()
                self._brake(began, self._done - first)
                self._watch_speed()  # last: a pause belongs to the bytes it is made for
        if self._done < self._file.size_bytes:
            raise HubUnreachable("the connection ended early", hint=CHECK)

    def _write(self, chunk: bytes) -> None:
        if self._done + len(chunk) > self._file.size_bytes:
            raise HubMisbehaved(f"the server sends more than the {self._file.size_bytes} bytes due")
        left = memoryview(chunk)
        while left:  # a disk that is almost full takes a part
            try:
                count = self._out.write(left)
            except OSError as error:
                here = self._before + self._done
                raise disk_trouble(error, self._file.path, here) from error
            self.hash.update(left[:count])
            self._done += count
            self.came += count
            left = left[count:]
        if self._done - self._flushed >= FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Let the disk write now what has come, not all at once at the end (1.5 s of 5 per GB).

        What is not yet on the disk cannot be dropped from memory, so the advice only starts it.
        """
        drop_pages(self._out, self._flushed, self._done - self._flushed)
        self._flushed = self._done

    def _watch_speed(self) -> None:
        now = time.monotonic()
        if not self._recent or now - self._recent[-1][0] >= REPORT_S:
            self._recent.append((now, self._done))
        # the oldest one that is kept is as old as a stall, however seldom something comes
        while len(self._recent) > 1 and now - self._recent[1][0] >= self._patience.stall_s:
            self._recent.popleft()
        seconds = now - self._recent[0][0]
        if seconds < self._patience.stall_s:
            return
        if self._done - self._recent[0][1] < seconds * self._patience.least_bytes_per_s:
            raise DownloadStalled(f"hardly a byte in {units.duration(seconds)}", hint=CHECK)

    def _brake(self, began: float, fetched: int) -> None:
        limit = self._patience.limit_bytes_per_s
        while limit and (early := fetched / limit - (time.monotonic() - began)) > 0:
            time.sleep(min(early, 1.0))

    def _progress(self) -> DownloadProgress:
        """Never less than before: what a restart threw away comes again first."""
        self._reported = max(self._reported, self._done)
        rate = None
        if len(self._recent) > 1:
            (begin, had), (end, has) = self._recent[0], self._recent[-1]
            rate = (has - had) / (end - begin)
        again = self._reported - self._done
        return DownloadProgress(self._before + self._reported, self._total, rate, again)


def disk_trouble(error: OSError, name: str, bytes_here: int) -> DiskTooSmall:
    """A write failed: what that means for a person, with so much of the model here already."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    reason = "the disk is full" if full else (error.strerror or str(error))
    kept = "; what was fetched is kept" if bytes_here else ""
    hint = f"Make room and pull again{kept}." if full else "Check the folder."
    return DiskTooSmall(f"{name} cannot be written: {reason}", hint)
