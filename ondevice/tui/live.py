"""The latest-value slot between the worker and the meter.

The worker writes here for every event; a timer reads twice a second. So a fast model
cannot flood the screen, and a slow screen cannot slow the model.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from ondevice.domain.context import ContextParts
from ondevice.domain.cost import Price, cost_avoided
from ondevice.domain.generation import EngineInfo, PrefillProgress, TextDelta, Usage
from ondevice.domain.measured import Measured
from ondevice.domain.memory import MachineMemory, ProcessMemory
from ondevice.domain.reuse import Reuse

POINTS = 60
STEP_S = 0.25
"""Seconds of decoding that one point of the rate's curve stands for."""


class Live:
    """What the meter shows. Plain attributes, replaced whole, so any thread may write."""

    def __init__(self) -> None:
        self.info: EngineInfo | None = None
        self.memory: ProcessMemory | None = None
        self.machine: MachineMemory | None = None
        self.prefill: PrefillProgress | None = None
        self.delta: TextDelta | None = None
        self.last: Measured | None = None
        self.threads: int | None = None
        self.price: Price | None = None
        self.frontier: Price | None = None
        self.spent: tuple[tuple[Usage, Decimal | None], ...] = ()
        """Of the answers since the start: what a cloud would have billed, and the cost of the
        electricity, None where that is unknown."""
        self.context: ContextParts | None = None
        """Its parts; None while a turn is made, and where they are unknown."""
        self.reuse, self.reuse_total = Reuse(), Reuse()
        """Of the newest turn, and of all since the start."""
        self.rates: deque[float] = deque(maxlen=POINTS)
        self._mark = (0, 0.0)

    def begin_turn(self) -> None:
        """Forget the numbers of the turn before."""
        self.prefill = self.delta = self.last = None
        self.rates.clear()
        self._mark = (0, 0.0)

    def lose_engine(self) -> None:
        """Forget what only a running engine knows."""
        self.info = self.memory = self.threads = None

    def note_delta(self, delta: TextDelta) -> None:
        """Remember the newest delta, and a point of the curve every `STEP_S`."""
        self.delta = delta
        tokens, seconds = self._mark
        if tokens == 0:
            self._mark = (delta.completion_tokens, delta.decode_s)
        elif delta.decode_s - seconds >= STEP_S:
            self.rates.append((delta.completion_tokens - tokens) / (delta.decode_s - seconds))
            self._mark = (delta.completion_tokens, delta.decode_s)

    def end_turn(self, measured: Measured) -> None:
        """Keep the numbers of the finished turn."""
        self.last = measured
        self.threads = measured.done.threads
        if not measured.random_weights:
            usage = measured.done.usage if measured.billable else Usage(0, 0, 0)
            self.spent = (*self.spent, (usage, measured.electricity.usd))

    @property
    def reading(self) -> PrefillProgress | None:
        """The prompt's progress, while it is read."""
        return self.prefill if self.delta is None and self.last is None else None

    def avoided(self, price: Price) -> Decimal:
        """What all answers since the start would have cost at `price`, after known electricity."""
        costs = (cost_avoided(usage, price, power) for usage, power in self.spent)
        return sum((cost.net_usd for cost in costs), Decimal(0))
