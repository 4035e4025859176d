"""Money: exact, dated, and never without the price it was computed from.

cost avoided   what the same usage costs at a cloud model on a stated date, minus the electricity
               used here where that is known. Tokens are counted by the local model's tokenizer;
               the cloud's would count differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ondevice.domain.generation import Usage

MTOK = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Price:
    """What a cloud model costs, in US dollars per million tokens, on one date."""

    baseline: str
    """What a person types, such as `gpt-5-nano`."""
    title: str
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cached_usd_per_mtok: Decimal | None
    """For a prefix the provider has cached; None where it offers no such rate."""
    cache_min_tokens: int | None
    """The shortest prefix the provider caches; None where that is unknown or it does not cache."""
    price_date: date
    """The price held on this date."""
    source: str
    batch_share: Decimal | None = None
    """What a token costs in the provider's batches, as a share of the rates above; None where it
    sells none, or where its own text gives no figure."""


@dataclass(frozen=True, slots=True)
class CostAvoided:
    """What one generation would have cost at `price`."""

    price: Price
    usd: Decimal
    """Before electricity."""
    cached_tokens_priced: int
    """How many reused tokens were priced at the provider's cached rate."""
    electricity_usd: Decimal | None = None
    """What this machine used for it; None where that is unknown."""

    @property
    def net_usd(self) -> Decimal:
        """What was avoided after known electricity; below zero when running it here cost more."""
        return self.usd - (self.electricity_usd or Decimal(0))

    @property
    def label(self) -> str:
        """What `net_usd` is called: `net` where electricity is known, so taken off."""
        return "avoided" if self.electricity_usd is None else "net avoided"


def cost_avoided(usage: Usage, price: Price, electricity_usd: Decimal | None = None) -> CostAvoided:
    """Price `usage`.

    A reused prefix gets the cached rate only where the provider would have cached it. Nothing is
    avoided by a reply without tokens, though its electricity was used. A failed reply is for the
    caller to leave out: usage does not say how a generation ended.
    """
    if usage.completion_tokens <= 0:
        return CostAvoided(price, Decimal(0), 0, electricity_usd)
    cached = _provider_cached(usage, price)
    full = usage.prompt_tokens - cached
    # not `or`: a cached rate of 0 is a rate
    cached_rate = price.cached_usd_per_mtok
    if cached_rate is None:
        cached_rate = price.input_usd_per_mtok
    usd = (
        full * price.input_usd_per_mtok
        + cached * cached_rate
        + usage.completion_tokens * price.output_usd_per_mtok
    ) / MTOK
    return CostAvoided(price, usd, cached, electricity_usd)


def _provider_cached(usage: Usage, price: Price) -> int:
    if price.cached_usd_per_mtok is None or price.cache_min_tokens is None:
        return 0
    # an engine that reports more reused tokens than the prompt holds must not earn a refund
    reused = min(usage.cached_tokens, usage.prompt_tokens)
    return reused if reused >= price.cache_min_tokens else 0
