"""Baselines, and what each costs on a stated date.

baseline    the cloud model a local answer is compared with
historical  a price of the past, from our own `prices.toml`; it keeps its own date

Every other price comes from the data inside the installed genai-prices. Nothing here uses the
network: only that package's `UpdatePrices` fetches, it runs only when someone starts it, and we
build our own snapshot from the bundled data, so that a fetch by another library changes nothing.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import msgspec

from ondevice.domain.cost import MTOK, Price
from ondevice.errors import UsageTrouble
from ondevice.hardware.system import make_private_folder

PRICE_DATE = date(2026, 11, 24)
"""Asked of genai-prices, at noon UTC: promotional prices flip on dates, ours must not."""

ASKED_TOKENS = 1000
"""Asked for and scaled: asking for a million answers with the long-context tier."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A choice offered by name."""

    key: str
    title: str
    why: str
    """One line for the person who chooses."""
    ref: str | None
    """`provider/model` as genai-prices knows it; None where the price is historical."""


BASELINES = (
    # A 3.4B language model (with a 0.4B vision encoder) by Mistral's own model card, so of the size
    # of Phi-3-mini, and 25 times that of the starter. Its weights are open and its maker serves it
    # itself. The nano and flash models of other providers publish no size, so nobody can call them
    # alike.
    Baseline(
        "ministral-3b",
        "Ministral 3 3B",
        "a small one, and its size is published: 3.4B",
        "mistral/ministral-3b-2512",
    ),
    # Of the frontier models the one whose maker puts it near its flagship at a fifth of the price,
    # and whose cache minimum is documented: the smaller claim.
    Baseline(
        "gpt-6.1-sol",
        "GPT-6.1 Sol",
        "a frontier model; no small one is",
        "openai/gpt-6.1-sol",
    ),
    Baseline("gpt-4-turbo", "GPT-4 Turbo", "historical, 2024", None),
    Baseline("claude-3.5-sonnet", "Claude 3.5 Sonnet", "historical, 2024", None),
    Baseline("gemini-1.5-pro", "Gemini 1.5 Pro", "historical, mid-2024, up to 128k", None),
    Baseline(
        "gemini-1.5-pro-long",
        "Gemini 1.5 Pro, long prompts",
        "historical, mid-2024, above 128k",
        None,
    ),
)
DEFAULT_BASELINE = "ministral-3b"
FRONTIER_BASELINE = "gpt-6.1-sol"


def price(key: str, on: date | None = None, *, cache_dir: Path | None = None) -> Price:
    """What the baseline `key`, or any `provider/model` of genai-prices, costs on a date.

    `on` defaults to PRICE_DATE; a historical price keeps the date it held on. Prices that were
    looked up are kept in `cache_dir`, if one is given, so that the next start need not import
    genai-prices. Raises UsageTrouble for a name nobody knows or a model without a token price.
    """
    key = key.strip().lower()
    baseline = next((choice for choice in BASELINES if choice.key == key), None)
    if baseline is not None and baseline.ref is None:
        return _historical(key)
    if baseline is None and "/" not in key:
        _refuse(f"No baseline is called {key!r}.", key, [choice.key for choice in BASELINES])
    day = on or PRICE_DATE
    rates = _rates(baseline.ref if baseline and baseline.ref else key, day, cache_dir)
    return Price(
        baseline=key,
        title=baseline.title if baseline else rates.title,
        input_usd_per_mtok=rates.input,
        output_usd_per_mtok=rates.output,
        cached_usd_per_mtok=rates.cached,
        cache_min_tokens=None if rates.cached is None else _cache_minimum(rates),
        price_date=day,
        source=rates.source,
        batch_share=_batch_share(rates.provider, day),
    )


# Our own figures


class _HistoricalPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[price]]` of prices.toml."""

    key: str
    provider: str
    title: str
    input: Decimal
    output: Decimal
    valid_on: date
    source: str
    read_on: date
    cached: Decimal | None = None
    cache_min_tokens: int | None = None


class _CacheMinimum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[cache_minimum]]` of prices.toml."""

    provider: str
    models: tuple[str, ...]
    tokens: int
    source: str
    read_on: date


class _Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[batch]]` of prices.toml."""

    provider: str
    share: Decimal
    sold_since: date
    source: str
    read_on: date


class _OwnFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    price: tuple[_HistoricalPrice, ...]
    cache_minimum: tuple[_CacheMinimum, ...]
    batch: tuple[_Batch, ...]


def _own_figures() -> _OwnFigures:
    text = Path(__file__).with_name("prices.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), _OwnFigures)


def _historical(key: str) -> Price:
    row = next(row for row in _own_figures().price if row.key == key)
    return Price(
        baseline=key,
        title=row.title,
        input_usd_per_mtok=row.input,
        output_usd_per_mtok=row.output,
        cached_usd_per_mtok=row.cached,
        cache_min_tokens=row.cache_min_tokens,
        price_date=row.valid_on,
        source=row.source,
        batch_share=_batch_share(row.provider, row.valid_on),
    )


def _batch_share(provider: str, day: date) -> Decimal | None:
    for row in _own_figures().batch:
        if row.provider == provider and row.sold_since <= day:
            return row.share
    return None


def _cache_minimum(rates: _Rates) -> int | None:
    for row in _own_figures().cache_minimum:
        if row.provider == rates.provider and {"*", rates.model} & set(row.models):
            return row.tokens
    return None


# genai-prices, and the file that spares importing it


class _Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens of one model on one date, as kept in the cache file."""

    title: str
    provider: str
    model: str
    """The model genai-prices matched; a name may match a wider one, such as without its date."""
    input: Decimal
    output: Decimal
    cached: Decimal | None
    source: str

    def __post_init__(self) -> None:
        for rate in (self.input, self.output, self.cached):
            if rate is not None and not (rate.is_finite() and rate >= 0):
                raise ValueError("a price is a finite number from 0")


def _rates(ref: str, day: date, cache_dir: Path | None) -> _Rates:
    from importlib.metadata import version

    genai_version = version("genai-prices")
    if cache_dir is None:
        return _look_up(ref, day, genai_version)
    file = cache_dir / f"prices-{genai_version}.json"
    kept = _read_cache(file)
    entry = f"{ref}@{day.isoformat()}"
    if entry not in kept:
        kept[entry] = _look_up(ref, day, genai_version)
        _write_cache(file, kept)
    return kept[entry]


def _look_up(ref: str, day: date, genai_version: str) -> _Rates:
    # deferred: 220 ms, and the cache file makes it needless from the second start on
    from genai_prices import Usage
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    provider_id, _, model_ref = ref.partition("/")
    snapshot = DataSnapshot(providers=providers, from_auto_update=False)
    moment = datetime.combine(day, time(12), tzinfo=UTC)
    try:
        provider = snapshot.find_provider(None, provider_id, None)
    except LookupError:
        _refuse(f"No provider is called {provider_id!r}.", provider_id, [p.id for p in providers])
    try:
        fresh = snapshot.calc(
            Usage(input_tokens=ASKED_TOKENS, output_tokens=ASKED_TOKENS),
            model_ref, provider_id, None, moment,
        )  # fmt: skip
        reused = snapshot.calc(
            Usage(input_tokens=ASKED_TOKENS, cache_read_tokens=ASKED_TOKENS),
            model_ref, provider_id, None, moment,
        )  # fmt: skip
    except LookupError:
        names = [model.id for model in provider.models]
        _refuse(f"{provider.name} has no model called {model_ref!r}.", model_ref, names)
    listed = fresh.model_price
    if listed.input_mtok is None or listed.output_mtok is None:
        raise UsageTrouble(f"{ref} has no price per token.", "Choose a model sold by the token.")
    page = f", {fresh.provider.pricing_urls[0]}" if fresh.provider.pricing_urls else ""
    return _Rates(
        title=f"{fresh.model.name or fresh.model.id} ({fresh.provider.name})",
        provider=fresh.provider.id,
        model=fresh.model.id,
        input=_per_mtok(fresh.input_price),
        output=_per_mtok(fresh.output_price),
        # without a cached rate genai-prices answers with the full one, so look whether it has one
        cached=None if listed.cache_read_mtok is None else _per_mtok(reused.input_price),
        source=f"genai-prices {genai_version}, {fresh.provider.id}/{fresh.model.id}{page}",
    )


def _per_mtok(usd: Decimal) -> Decimal:
    return usd * (MTOK / ASKED_TOKENS)


def _read_cache(file: Path) -> dict[str, _Rates]:
    # a cache that cannot be read is an empty one: its prices are looked up again
    with suppress(OSError, ValueError):
        return msgspec.json.decode(file.read_bytes(), type=dict[str, _Rates])
    return {}


def _write_cache(file: Path, kept: dict[str, _Rates]) -> None:
    # a price is right without being kept, so a full or read-only disk is no error
    import tempfile  # deferred: only the first lookup writes

    with suppress(OSError):
        make_private_folder(file.parent)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.stem, suffix=".tmp")  # 0600
        try:
            with os.fdopen(handle, "wb") as temporary:
                temporary.write(msgspec.json.encode(kept))
            Path(name).replace(file)
        except OSError:
            Path(name).unlink()


def _refuse(message: str, asked: str, choices: Iterable[str]) -> NoReturn:
    import difflib  # deferred: only a wrong name needs it

    names = list(choices)
    nearest = difflib.get_close_matches(asked, names, n=1, cutoff=0.4)
    guess = f"Did you mean {nearest[0]}? " if nearest else ""
    offered = ", ".join(choice.key for choice in BASELINES)
    raise UsageTrouble(
        message, f"{guess}Choose from {offered}, or name any provider/model of genai-prices."
    )
