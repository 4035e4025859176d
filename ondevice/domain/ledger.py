"""The accounts: what answers used, and what that would have cost elsewhere.

entry      one answered turn of a chat with a real model
answer     an entry that a cloud would have billed: it neither failed nor was blank
avoided    sum of what the answers cost at the baseline of their time, before electricity
net        avoided minus the electricity whose cost is known
batch      what the same answers cost in the provider's batches; unknown if one has no such price

Money is added exactly: a total is the sum of its entries to the last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Context, Decimal, Inexact, localcontext
from math import fsum
from typing import Literal

from ondevice.domain.cost import Price, cost_avoided
from ondevice.domain.electricity import UNKNOWN_ELECTRICITY, Electricity
from ondevice.domain.generation import Usage

Grouping = Literal["day", "model", "session"]

_EXACT = Context(prec=10_000, traps=[Inexact])


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered turn, as it was accounted for when it ended."""

    at: str
    """UTC, ISO 8601."""
    day: str
    """The local day, ISO 8601."""
    session_id: int
    """Of a session that may have been deleted since."""
    title: str | None
    """None where it has been."""
    model: str
    usage: Usage
    seconds: float | None
    """How long the engine was busy with it."""
    billable: bool
    useful: bool
    baseline: str = ""
    """Empty where no price was known."""
    price_date: str | None = None
    usd: Decimal | None = None
    batch_usd: Decimal | None = None
    electricity: Electricity = UNKNOWN_ELECTRICITY

    def at_price(self, price: Price) -> Entry:
        """The same usage at another baseline; what was not billable avoids nothing there either."""
        usd = cost_avoided(self.usage, price).usd if self.billable else Decimal(0)
        return replace(
            self,
            baseline=price.baseline,
            price_date=price.price_date.isoformat(),
            usd=usd,
            batch_usd=batch_usd(usd, price.batch_share),
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over some entries."""

    key: str
    """The day, the model's name, the session's number; empty for all."""
    title: str | None
    """Of the session, where it is still there."""
    entries: int
    answers: int
    useful: int
    """Answers that the person marked."""
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float
    """Where known."""
    usd: Decimal
    """Cost avoided, of the answers whose price was known."""
    unpriced: int
    """Answers without one."""
    electricity_usd: Decimal
    """Where known."""
    joules: float
    """Where known."""
    electricity_unknown: int
    """Entries whose electricity has no cost."""
    batch_usd: Decimal | None

    @property
    def evaluated_tokens(self) -> int:
        return self.prompt_tokens - self.cached_tokens

    @property
    def net_usd(self) -> Decimal:
        return exact_sum((self.usd, -self.electricity_usd))

    @property
    def usd_per_useful(self) -> Decimal | None:
        """Net cost avoided per useful answer; None when none was marked."""
        return self.net_usd / self.useful if self.useful else None


def batch_usd(usd: Decimal, share: Decimal | None) -> Decimal | None:
    """`usd` at the provider's batch price."""
    if share is None:
        return None
    with localcontext(_EXACT):
        return usd * share


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """The sum to the last digit."""
    with localcontext(_EXACT):
        return sum(amounts, Decimal(0))


def total(entries: Iterable[Entry], key: str = "", title: str | None = None) -> Totals:
    """All of `entries` together."""
    every = list(entries)
    answers = [entry for entry in every if entry.billable]
    known = [entry.electricity for entry in every if entry.electricity.usd is not None]
    return Totals(
        key=key,
        title=title,
        entries=len(every),
        answers=len(answers),
        useful=sum(entry.useful for entry in answers),
        prompt_tokens=sum(entry.usage.prompt_tokens for entry in every),
        cached_tokens=sum(entry.usage.cached_tokens for entry in every),
        completion_tokens=sum(entry.usage.completion_tokens for entry in every),
        seconds=fsum(entry.seconds or 0.0 for entry in every),
        usd=exact_sum(entry.usd for entry in answers if entry.usd is not None),
        unpriced=sum(entry.usd is None for entry in answers),
        electricity_usd=exact_sum(each.usd for each in known if each.usd is not None),
        joules=fsum(entry.electricity.joules or 0.0 for entry in every),
        electricity_unknown=len(every) - len(known),
        batch_usd=_batch(answers),
    )


def totals(entries: Iterable[Entry], by: Grouping) -> list[Totals]:
    """One for each day, model or session, in the order of their first entries."""
    key_of: dict[Grouping, Callable[[Entry], str]] = {
        "day": lambda entry: entry.day,
        "model": lambda entry: entry.model,
        "session": lambda entry: str(entry.session_id),
    }
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(key_of[by](entry), []).append(entry)
    named = by == "session"
    return [total(group, key, group[0].title if named else None) for key, group in groups.items()]


def _batch(answers: list[Entry]) -> Decimal | None:
    """None as well where there is no answer: no provider is meant then."""
    known = [entry.batch_usd for entry in answers if entry.batch_usd is not None]
    return exact_sum(known) if answers and len(known) == len(answers) else None
