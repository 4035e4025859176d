"""When to try again, and when to give up: of the bytes of a file, and of what is asked of a hub."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ondevice import units
from ondevice.domain.download import DownloadNotice
from ondevice.errors import (
    DownloadStalled,
    DownloadTrouble,
    EnvironmentUnusable,
    HubBusy,
    HubUnreachable,
    NoNetwork,
)

PASSING = (HubBusy, HubUnreachable, DownloadStalled)
"""Trouble that may be over in a moment."""
Told = Callable[[DownloadNotice], object]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often, after which waits, and what counts as no progress."""

    attempts: int = 5
    """Without `headway_bytes` between them; and so many refusals to go on, whatever comes in
    between."""
    backoff_s: float = 1.0
    """Before the second attempt; twice as long before each further one."""
    longest_wait_s: float = 60.0
    stall_s: float = 30.0
    stall_bytes_per_s: int = 1024
    """Slower than this for `stall_s` is a stall, see `least_bytes_per_s`."""
    limit_bytes_per_s: int | None = None
    """Fetch no faster than this."""

    @property
    def least_bytes_per_s(self) -> float:
        """What is slower is a stall; to be as slow as a low limit is none."""
        limit = self.limit_bytes_per_s
        return min(self.stall_bytes_per_s, limit / 2) if limit else self.stall_bytes_per_s

    @property
    def headway_bytes(self) -> int:
        """So much more is getting on, as a stall has it: less would be asked for without end."""
        return round(self.stall_s * self.least_bytes_per_s)

    def is_over(self, error: DownloadTrouble, failures: int, came: int = 0) -> bool:
        """Whether so many failures in a row, `error` the last, are enough.

        No network is told after one more attempt, except where bytes `came` a moment ago; an
        environment that cannot be used at once.
        """
        if isinstance(error, EnvironmentUnusable):
            return True
        soon = isinstance(error, NoNetwork) and not came
        return failures >= (min(2, self.attempts) if soon else self.attempts)

    def wait_s(self, error: DownloadTrouble, failures: int) -> float:
        """How long to wait after so many failures: as long as the hub asks, up to the longest."""
        asked = error.retry_after_s if isinstance(error, HubBusy) else None
        wait = self.backoff_s * 2 ** (failures - 1) if asked is None else asked
        return min(wait, self.longest_wait_s)


QUESTION = Patience(attempts=4, backoff_s=0.5, longest_wait_s=20.0)
"""For what is asked of a hub: somebody waits for the answer."""


def retrying(error: DownloadTrouble, wait_s: float) -> DownloadNotice:
    """What a person is told meanwhile."""
    return DownloadNotice("retry", f"{error.message}; trying again in {units.duration(wait_s)}")


def again(ask: Callable[[], _T], patience: Patience, told: Told) -> _T:
    """What `ask` answers, tried again after passing trouble. Raises what ended the last attempt."""
    failures = 0
    while True:
        try:
            return ask()
        except PASSING as error:
            failures += 1
            if patience.is_over(error, failures):
                raise
            wait = patience.wait_s(error, failures)
            told(retrying(error, wait))
            time.sleep(wait)
