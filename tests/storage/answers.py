"""Numbers of answers, for tests that store them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from ondevice.domain.cost import CostAvoided, Price
from ondevice.domain.generation import GenerationDone, Timings, Usage
from ondevice.domain.measured import Measured
from ondevice.domain.memory import MemoryUse

PRICE = Price("b", "B", Decimal(1), Decimal(1), None, None, date(2026, 11, 24), "a test")
DONE = GenerationDone("stop", Usage(30, 10, 5), Timings(0.5, 0.4, 2.0), 2, 256)
MEASURED = Measured(
    "text", DONE, MemoryUse(1, 2, 3), CostAvoided(PRICE, Decimal("0.0000350"), 0), ()
)
