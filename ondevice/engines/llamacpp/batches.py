"""How a prompt is cut into evaluations.

On the CPU they are as large as llama.cpp takes, since a cancel stops within one. A device stops
only between two, so there each is to take about a second.
"""

from __future__ import annotations

from collections.abc import Iterator

PROBE = 32
"""Tokens: 0.1 s for the starter model on a quiet machine, 4 s on a crowded one."""
FIRST_ON_DEVICE, LEAST_ON_DEVICE = 32, 8
DEVICE_BATCH_S = 1.0


class Pace:
    """Tokens of the next evaluation."""

    def __init__(self, most: int, on_device: bool) -> None:
        self.on_device, self._most = on_device, most
        self.size = min(FIRST_ON_DEVICE, most) if on_device else most

    def observe(self, tokens: int, seconds: float) -> None:
        """`tokens` took a device so long."""
        within = int(tokens * DEVICE_BATCH_S / max(seconds, 1e-9))
        self.size = min(self._most, max(LEAST_ON_DEVICE, within))


def batches(ids: list[int], pace: Pace, probe: int, last_alone: bool) -> Iterator[list[int]]:
    """`ids` in evaluations of at most `pace.size`, as it is by then.

    Of a long prompt a small part, `probe`, goes first, to find out how busy the machine is.
    Asking again needs the logits of the last id, so where the state cannot be cut back a
    snapshot is taken before it, and it is evaluated alone.
    """
    end = len(ids) - 1 if last_alone else len(ids)
    if probe:
        yield ids[:probe]
    begin = probe
    while begin < end:
        until = min(begin + pace.size, end)
        yield ids[begin:until]
        begin = until
    if last_alone:
        yield ids[-1:]
