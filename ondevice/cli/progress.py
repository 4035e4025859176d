"""How what takes long is told: a line on stderr that is redrawn, a log there, or, of a download,
events on stdout."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import asdict

import click

from ondevice import units
from ondevice.domain.download import (
    Downloaded,
    DownloadEvent,
    DownloadNotice,
    DownloadProgress,
)
from ondevice.domain.text import clean_line
from ondevice.errors import OnDeviceError

LOG_EVERY_S = 5.0


class StatusLine:
    """One line that is written over; where that cannot be, one now and then."""

    def __init__(self, to_file: bool = True) -> None:
        """Without `to_file` it is for a terminal only."""
        terminal = sys.stderr.isatty()
        self._redraws = terminal and os.environ.get("TERM", "dumb") not in ("", "dumb")
        self._silent = not (terminal or to_file)
        self._width = 0
        self._logged = float("-inf")

    def write(self, text: str, last: bool = False) -> None:
        """Show `text`; the `last` one in any case."""
        if self._redraws:
            self._redraw(text)
        elif not self._silent and (self._is_due() or last):
            click.echo(text, err=True)

    def end(self) -> None:
        """Whatever is written next begins on a line of its own."""
        if self._width:
            click.echo(err=True)
            self._width = 0

    def clear(self) -> None:
        """Take the line away: what is written next stands in its place."""
        if self._width:
            self._redraw("")
            sys.stderr.write("\r")
            sys.stderr.flush()

    def _redraw(self, text: str) -> None:
        # Over the old one and not an erasing sequence: that needs nothing of the terminal.
        text = text[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(f"\r{text.ljust(self._width)}")
        sys.stderr.flush()
        self._width = len(text)

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._logged < LOG_EVERY_S:
            return False
        self._logged = now
        return True


class ProgressLine(StatusLine):
    """Shows events of a download as they come; `end` leaves the last line standing."""

    def show(self, event: DownloadEvent) -> None:
        match event:
            case DownloadProgress():
                self.write(line(event), last=not event.left_bytes)
            case DownloadNotice(_, message):
                self.end()
                click.echo(clean_line(message, 300), err=True)
            case Downloaded():
                self.end()


class EventLines:
    """Tells another program: one JSON document a line."""

    def show(self, event: DownloadEvent) -> None:
        match event:
            case DownloadProgress():
                self._write("progress", **asdict(event))
            case DownloadNotice(code, message):
                self._write("notice", code=code, message=message)
            case Downloaded(path, fetched):
                self._write("done", path=str(path), fetched_bytes=fetched)

    def end(self) -> None:
        """Every line is whole by itself."""

    def failed(self, error: OnDeviceError) -> None:
        """The last line, where there is no `done`."""
        kind = type(error).__name__
        self._write("error", error=kind, message=error.message, hint=error.hint)

    def _write(self, event: str, **facts: object) -> None:
        click.echo(json.dumps({"event": event, **facts}))


def line(event: DownloadProgress) -> str:
    """`412 MB of 2.2 GB · 18 % · 4.2 MB/s · 7 min 20 s left`.

    After a restart it begins `again: 1.2 GB of 2.2 GB left`, until all that is here again.
    """
    total = units.size(event.total_bytes)
    if event.again_bytes:
        parts = [f"again: {units.size(event.left_bytes)} of {total} left"]
    else:
        parts = [f"{units.size(event.done_bytes)} of {total}"]
        if event.total_bytes:
            parts.append(f"{100 * event.done_bytes // event.total_bytes} %")
    if event.left_bytes:
        rate = event.rate_bytes_per_s
        parts.append(f"{units.size(round(rate))}/s" if rate is not None else "rate unknown")
        if event.eta_s is not None:
            parts.append(f"{units.duration(event.eta_s)} left")
    return " · ".join(parts)
