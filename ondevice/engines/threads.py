"""How many threads compute, following the load of the machine.

Every step waits for its slowest thread. With another process on one of two cores, two threads
decoded three times slower than one, and read a prompt 2.5 to 8 times slower; quiet, one was 0.6
of two (docs/results.md). Two signs tell:

- Threads of a decoding engine are always busy, so a quiet machine gives the process as much CPU
  time as threads x wall time. What is missing went to somebody else: a short run with as many
  threads as there are free cores is timed against the one before, and the faster is kept.
- Only trying tells that a core is free again: every so often a short run has one thread more.

A run that is no faster ends as soon as that is clear, and the pause until the next one of its
kind doubles, so neither a busy machine nor a noisy one is disturbed for long. A prompt offers no
two equal runs to compare, so there the first sign alone decides, and decoding corrects it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

WINDOW = 6
"""Tokens looked at together: 40 ms for the smallest model, longer than a scheduler's slice."""
LONG_WINDOW_S = 0.2
"""Large models need fewer tokens to tell the same."""
TAKEN_CORES = 0.3
"""CPU time missing per wall time, in cores, from which somebody else is there."""
WORSE = 1.25
"""This much slower than when fewer threads were no help: it is worth another look at once."""
FIRST_PAUSE = 24
LONGEST_PAUSE = 384
"""Pauses in tokens."""
GAIN = 0.95
"""A try must be this much faster to be kept."""
STALE_S = 10.0
"""After so long a rest nothing is known about the load."""
SHORTEST_PROMPT_S = 0.04
"""Of a prompt, what took less says nothing about the CPU time."""


@dataclass
class ThreadGovernor:
    """Feed it every evaluation; it answers with a new thread count, or None."""

    most: int
    fixed: bool = False
    threads: int = field(init=False)
    """In use now, which may be a try."""
    settled: int = field(init=False)
    """The last count that was kept."""
    _wall: list[float] = field(init=False, default_factory=list)
    _cpu: float = field(init=False, default=0.0)
    _since_change: int = field(init=False, default=0)
    _up_pause: int = field(init=False, default=FIRST_PAUSE)
    _down_pause: int = field(init=False, default=0)
    _pace: float = field(init=False, default=0.0)
    """Seconds a token of the settled count, when a try began."""

    def __post_init__(self) -> None:
        self.threads = self.settled = self.most

    @property
    def adapts(self) -> bool:
        """Whether there is anything to decide."""
        return not self.fixed and self.most > 1

    def begin(self, idle_s: float = 0.0) -> int:
        """A new generation, at another depth, after a rest of `idle_s`. The threads to use."""
        if idle_s > STALE_S:
            self._up_pause, self._down_pause = FIRST_PAUSE, 0
            return self._change(self.most, settle=True)
        if self.threads != self.settled:
            return self._change(self.settled)
        self._clear()
        return self.threads

    def observe_prompt(self, wall_s: float, cpu_s: float) -> int | None:
        """Account for one batch of a prompt: its wall and CPU time, in seconds."""
        if not self.adapts or wall_s < SHORTEST_PROMPT_S:
            return None
        free = self.most - round(self._others(self.threads - cpu_s / wall_s))
        return self._change(max(1, free), settle=True) if free < self.threads > 1 else None

    def observe(self, wall_s: float, cpu_s: float) -> int | None:
        """Account for one decode of the current count: its wall and CPU time, in seconds."""
        if not self.adapts:
            return None
        self._since_change += 1
        if self._since_change == 1:  # the first after a change pays for waking the threads
            return None
        self._wall.append(wall_s)
        self._cpu += cpu_s
        if self.threads != self.settled:
            return self._judge_try()
        if not self._window_is_full():
            return None
        pace, taken = median(self._wall), self.threads - self._cpu / max(sum(self._wall), 1e-9)
        self._clear()
        return self._decide(pace, taken)

    def _window_is_full(self) -> bool:
        tokens = len(self._wall)
        return tokens >= WINDOW or (tokens > 1 and sum(self._wall) >= LONG_WINDOW_S)

    def _decide(self, pace: float, taken: float) -> int | None:
        if taken >= TAKEN_CORES and self.threads > 1:
            if self._since_change < self._down_pause and pace < self._pace * WORSE:
                return None
            free = self.most - round(self._others(taken))
            return self._try(max(1, min(self.threads - 1, free)), pace)
        if self.threads < self.most and self._since_change >= self._up_pause:
            return self._try(self.threads + 1, pace)
        return None

    def _others(self, taken: float) -> float:
        """How many others want a core, if the system shares them fairly.

        t threads and b others on c cores: the threads get c * t / (t + b) of them.
        """
        got = max(self.threads - taken, 1e-9)
        others = self.most * self.threads / got - self.threads
        return min(max(others, 0.0), float(self.most))

    def _try(self, threads: int, pace: float) -> int:
        self._pace = pace
        return self._change(threads)

    def _judge_try(self) -> int | None:
        if self._window_is_full() and median(self._wall) < self._pace * GAIN:
            self.settled = self.threads
            self._up_pause, self._down_pause = FIRST_PAUSE, 0
            return None
        if self._window_is_full() or sum(self._wall) > WINDOW * self._pace:
            if self.threads > self.settled:
                self._up_pause = _longer(self._up_pause)
            else:
                self._down_pause = _longer(self._down_pause)
            return self._change(self.settled)
        return None

    def _change(self, threads: int, settle: bool = False) -> int:
        self.threads = threads
        if settle:
            self.settled = threads
        self._since_change = 0
        self._clear()
        return threads

    def _clear(self) -> None:
        self._wall.clear()
        self._cpu = 0.0


def _longer(pause: int) -> int:
    return min(max(FIRST_PAUSE, pause * 2), LONGEST_PAUSE)
