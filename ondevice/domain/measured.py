"""What is known about a generation once it is over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from ondevice.domain.cost import CostAvoided, Price, cost_avoided
from ondevice.domain.electricity import UNKNOWN_ELECTRICITY, Electricity, Power, estimated
from ondevice.domain.generation import EngineNotice, GenerationDone
from ondevice.domain.memory import MemoryUse


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything known about one finished generation."""

    text: str
    done: GenerationDone
    memory: MemoryUse
    cost: CostAvoided | None
    """None where no price was known or none applies."""
    notices: tuple[EngineNotice, ...]
    random_weights: bool = False
    """The text is noise, to which no price applies."""
    electricity: Electricity = UNKNOWN_ELECTRICITY

    @property
    def billable(self) -> bool:
        """Whether a cloud would have billed this: not noise, not a failure, not a blank text.

        An end token alone is no reply, and neither are spaces.
        """
        failed = self.done.finish_reason == "failed"
        return not self.random_weights and not failed and bool(self.text.strip())

    def cost_at(self, price: Price) -> CostAvoided | None:
        """What it avoids at `price`: 0 if it is not billable, None if no price applies."""
        if self.random_weights:
            return None
        if not self.billable:
            return CostAvoided(price, Decimal(0), 0, self.electricity.usd)
        return cost_avoided(self.done.usage, price, self.electricity.usd)

    def priced(self, price: Price | None, power: Power | None) -> Measured:
        """With what it took from the socket, and what it avoids at `price`."""
        known = replace(self, electricity=estimated(power, self.done.timings.busy_s))
        return replace(known, cost=known.cost_at(price) if price else None)
