"""Prices are exact, dated and offline; what was avoided is never more than what was used."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import tomllib
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice import pricing
from ondevice.domain.cost import CostAvoided, Price, cost_avoided
from ondevice.domain.generation import Usage
from ondevice.errors import UsageTrouble

FIGURES = Path(pricing.__file__).with_name("prices.toml")
EPOCH = date(2026, 1, 1)
MTOK = 1_000_000


def in_fresh_interpreter(code: str, *arguments: str) -> str:
    """Run `code` by itself, since this process has long imported what it must not import."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    ).stdout


def cache_file(folder: Path) -> Path:
    (file,) = folder.glob("prices-*.json")
    return file


# Figures


@pytest.mark.parametrize(
    ("key", "prompt", "output", "cached", "held_on"),
    [
        ("gpt-4-turbo", "10", "30", None, date(2024, 7, 1)),
        ("claude-3.5-sonnet", "3", "15", "0.30", date(2024, 9, 1)),
        ("gemini-1.5-pro", "3.50", "10.50", None, date(2024, 7, 1)),
        ("gemini-1.5-pro-long", "7.00", "21.00", None, date(2024, 7, 1)),
    ],
    ids=lambda value: str(value),
)
def test_historical_prices_are_exact_and_keep_their_date(
    key: str, prompt: str, output: str, cached: str | None, held_on: date
) -> None:
    found = pricing.price(key, date(2026, 11, 1))
    assert found.input_usd_per_mtok == Decimal(prompt)
    assert found.output_usd_per_mtok == Decimal(output)
    assert found.cached_usd_per_mtok == (None if cached is None else Decimal(cached))
    assert found.price_date == held_on
    assert found.source.startswith("https://")


@pytest.mark.parametrize(
    ("key", "share"),
    [
        ("gpt-6.1-sol", "0.5"),
        ("anthropic/claude-opus-4-5", "0.5"),
        ("google/gemini-2.5-flash", "0.5"),
        ("ministral-3b", None),
        ("gpt-4-turbo", "0.5"),
        ("claude-3.5-sonnet", None),
        ("gemini-1.5-pro", None),
    ],
    ids=str,
)
def test_a_batch_price_is_there_where_it_was_sold_and_its_figure_was_read(
    key: str, share: str | None
) -> None:
    """The latter two are of a time before their providers sold batches."""
    assert pricing.price(key).batch_share == (None if share is None else Decimal(share))


def test_every_figure_of_our_own_says_where_and_when_it_was_read() -> None:
    for table in tomllib.loads(FIGURES.read_text()).values():
        for row in table:
            assert row["source"].startswith("https://")
            assert EPOCH < row["read_on"] <= date(2026, 12, 31)


def test_a_batch_price_holds_from_its_day_on() -> None:
    before = pricing.price("openai/gpt-4-turbo", date(2024, 4, 14))
    after = pricing.price("openai/gpt-4-turbo", date(2024, 4, 15))
    assert (before.batch_share, after.batch_share) == (None, Decimal("0.5"))


@pytest.mark.parametrize(
    ("key", "prompt", "output", "cached", "minimum"),
    [
        ("ministral-3b", "0.10", "0.10", "0.01", 64),
        ("gpt-6.1-sol", "2", "10", "0.10", 1024),
        ("openai/gpt-4-turbo", "10", "30", None, None),
        ("anthropic/claude-opus-4-5", "5", "25", "0.5", 4096),
        ("google/gemini-2.5-flash-lite", "0.10", "0.40", "0.01", None),
    ],
    ids=lambda value: str(value),
)
def test_current_prices_come_from_the_short_context_tier(
    key: str, prompt: str, output: str, cached: str | None, minimum: int | None
) -> None:
    found = pricing.price(key)
    assert found.input_usd_per_mtok == Decimal(prompt)
    assert found.output_usd_per_mtok == Decimal(output)
    assert found.cached_usd_per_mtok == (None if cached is None else Decimal(cached))
    assert found.cache_min_tokens == minimum
    assert found.price_date == pricing.PRICE_DATE
    assert "genai-prices" in found.source


def test_a_price_follows_the_date_it_is_asked_for() -> None:
    before = pricing.price("mistral/ministral-8b-latest", date(2025, 12, 1))
    after = pricing.price("mistral/ministral-8b-latest", date(2025, 12, 2))
    assert (before.input_usd_per_mtok, after.input_usd_per_mtok) == (
        Decimal("0.10"),
        Decimal("0.15"),
    )


def test_default_and_frontier_are_among_the_baselines_and_every_baseline_has_a_price() -> None:
    keys = [baseline.key for baseline in pricing.BASELINES]
    assert keys[0] == pricing.DEFAULT_BASELINE
    assert pricing.FRONTIER_BASELINE in keys
    assert len(set(keys)) == len(keys)
    for key in keys:
        assert pricing.price(key).input_usd_per_mtok > 0


def test_a_name_is_taken_whatever_its_case() -> None:
    assert pricing.price(" GPT-4-Turbo ") == pricing.price("gpt-4-turbo")


# Names nobody knows


def test_unknown_baseline_names_the_choices_and_the_nearest_one() -> None:
    with pytest.raises(UsageTrouble) as trouble:
        pricing.price("gpt-4-trubo")
    assert "gpt-4-trubo" in trouble.value.message
    assert "Did you mean gpt-4-turbo?" in trouble.value.hint
    for baseline in pricing.BASELINES:
        assert baseline.key in trouble.value.hint


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("opnai/gpt-4-turbo", "openai"),
        ("mistral/ministral-3b-2521", "ministral-3b-2512"),
        ("openai/", "gpt-6.1-sol"),
        ("/gpt-4-turbo", "gpt-6.1-sol"),
        ("", "gpt-6.1-sol"),
    ],
    ids=["provider", "model", "no-model", "no-provider", "nothing"],
)
def test_unknown_provider_or_model_is_refused_with_a_way_on(key: str, hint: str) -> None:
    with pytest.raises(UsageTrouble) as trouble:
        pricing.price(key)
    assert hint in trouble.value.hint


def test_a_model_without_a_token_price_is_refused() -> None:
    with pytest.raises(UsageTrouble, match="no price per token"):
        pricing.price("google/gemma-3")


# Offline and kept


NO_NETWORK = """
import socket, sys
from decimal import Decimal
def refuse(*arguments, **options):
    raise AssertionError("the network was used")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from pathlib import Path
from ondevice import pricing
cache_dir = Path(sys.argv[1]) if len(sys.argv) > 1 else None
found = pricing.price(pricing.DEFAULT_BASELINE, cache_dir=cache_dir)
print(found.output_usd_per_mtok == Decimal("0.1"))
import threading
print("genai_prices" in sys.modules, threading.active_count())
"""


def test_the_default_baseline_is_priced_without_network_or_updater() -> None:
    assert in_fresh_interpreter(NO_NETWORK).split() == ["True", "True", "1"]


def test_the_second_start_does_not_import_genai_prices(tmp_path: Path) -> None:
    first = in_fresh_interpreter(NO_NETWORK, str(tmp_path)).split()
    second = in_fresh_interpreter(NO_NETWORK, str(tmp_path)).split()
    assert first == ["True", "True", "1"]
    assert second == ["True", "False", "1"]


def test_historical_prices_need_no_genai_prices() -> None:
    code = "import sys; from ondevice import pricing; pricing.price('gpt-4-turbo')"
    assert in_fresh_interpreter(f"{code}; print('genai_prices' in sys.modules)").strip() == "False"


def test_a_kept_price_is_the_price_that_was_looked_up(tmp_path: Path) -> None:
    keys = ["ministral-3b", "openai/gpt-4-turbo"]
    fresh = [pricing.price(key) for key in keys]
    assert [pricing.price(key, cache_dir=tmp_path) for key in keys] == fresh
    assert len(json.loads(cache_file(tmp_path).read_text())) == 2
    assert [pricing.price(key, cache_dir=tmp_path) for key in keys] == fresh


def test_the_cache_is_private_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    home, cache = tmp_path / "home", tmp_path / "home" / "cache"
    pricing.price("ministral-3b", cache_dir=cache)
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (home, cache)] == [0o700] * 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff not json",
        b"[]",
        b'{"mistral/ministral-3b-2512@2026-11-24": {}}',
        (
            b'{"a@b": {"title": "", "provider": "", "model": "", "source": "", "cached": null,'
            b' "input": "NaN", "output": "-1"}}'
        ),
    ],
    ids=["empty", "bytes", "other-shape", "missing-fields", "no-prices"],
)
def test_a_corrupt_cache_is_ignored_and_replaced(tmp_path: Path, content: bytes) -> None:
    expected = pricing.price("ministral-3b", cache_dir=tmp_path)
    file = cache_file(tmp_path)
    file.write_bytes(content)
    assert pricing.price("ministral-3b", cache_dir=tmp_path) == expected
    assert list(json.loads(file.read_bytes())) == ["mistral/ministral-3b-2512@2026-11-24"]


def test_an_unwritable_cache_costs_nothing_but_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert pricing.price("ministral-3b", cache_dir=blocked) == pricing.price("ministral-3b")
    assert blocked.read_text() == "in the way"


def test_a_folder_in_place_of_the_cache_file_is_survived(tmp_path: Path) -> None:
    pricing.price("ministral-3b", cache_dir=tmp_path)
    file = cache_file(tmp_path)
    file.unlink()
    file.mkdir()
    assert pricing.price("ministral-3b", cache_dir=tmp_path) == pricing.price("ministral-3b")
    assert list(tmp_path.iterdir()) == [file]


# What was avoided


rates = st.decimals(min_value=0, max_value=200, places=4)
prices = st.builds(
    Price,
    baseline=st.just("any"),
    title=st.just("Any"),
    input_usd_per_mtok=rates,
    output_usd_per_mtok=rates,
    cached_usd_per_mtok=st.none() | rates,
    cache_min_tokens=st.none() | st.integers(1, 4096),
    price_date=st.just(EPOCH),
    source=st.just("test"),
)
counts = st.integers(0, 2_000_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt = draw(counts)
    return Usage(prompt, draw(st.integers(0, prompt)), draw(counts))


def exact_usd(usage: Usage, avoided: CostAvoided) -> Fraction:
    price = avoided.price
    cached = avoided.cached_tokens_priced
    total = (usage.prompt_tokens - cached) * Fraction(price.input_usd_per_mtok)
    total += cached * Fraction(price.cached_usd_per_mtok or 0)
    total += usage.completion_tokens * Fraction(price.output_usd_per_mtok)
    return total / MTOK


@given(usages(), prices)
def test_the_sum_is_exact_to_the_last_digit(usage: Usage, price: Price) -> None:
    avoided = cost_avoided(usage, price)
    expected = exact_usd(usage, avoided) if usage.completion_tokens else 0
    assert Fraction(avoided.usd) == expected


@given(st.lists(usages(), max_size=20), prices)
def test_costs_add_up_without_rounding(several: list[Usage], price: Price) -> None:
    each = [cost_avoided(usage, price).usd for usage in several]
    assert Fraction(sum(each, Decimal(0))) == sum((Fraction(usd) for usd in each), Fraction(0))


@given(usages(), prices)
def test_no_more_cached_tokens_are_priced_than_were_reused(usage: Usage, price: Price) -> None:
    cached = cost_avoided(usage, price).cached_tokens_priced
    assert cached in (0, usage.cached_tokens)
    if cached:
        assert price.cache_min_tokens is not None
        assert cached >= price.cache_min_tokens


@given(usages(), prices, st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_tokens_never_cost_less(
    usage: Usage, price: Price, prompt: int, completion: int
) -> None:
    more = Usage(
        usage.prompt_tokens + prompt, usage.cached_tokens, usage.completion_tokens + completion
    )
    assert cost_avoided(more, price).usd >= cost_avoided(usage, price).usd


@given(counts, counts, prices)
def test_a_reply_without_tokens_avoids_nothing(prompt: int, cached: int, price: Price) -> None:
    avoided = cost_avoided(Usage(prompt, cached, 0), price)
    assert avoided.usd == 0
    assert avoided.cached_tokens_priced == 0


@given(counts, st.integers(0, 10_000_000), prices)
def test_a_wrong_count_of_reused_tokens_earns_no_refund(
    prompt: int, cached: int, price: Price
) -> None:
    assert cost_avoided(Usage(prompt, cached, 1), price).usd >= 0


def test_a_prefix_below_the_provider_minimum_is_priced_in_full() -> None:
    claude = pricing.price("claude-3.5-sonnet")
    below = cost_avoided(Usage(2000, 1023, 1), claude)
    reached = cost_avoided(Usage(2000, 1024, 1), claude)
    assert below.usd == Decimal("0.006015")
    assert reached.usd == Decimal("0.0032502")


def test_a_cached_rate_of_zero_is_a_rate() -> None:
    free = Price("any", "Any", Decimal(1), Decimal(1), Decimal(0), 1, EPOCH, "test")
    assert cost_avoided(Usage(1000, 1000, 1), free).usd == Decimal("0.000001")


def test_known_electricity_can_make_the_saving_negative() -> None:
    small = pricing.price("ministral-3b")
    avoided = cost_avoided(Usage(100, 0, 100), small, electricity_usd=Decimal("0.001"))
    assert avoided.usd == Decimal("0.00002")
    assert avoided.net_usd == Decimal("-0.00098")
    assert cost_avoided(Usage(100, 0, 100), small).net_usd == Decimal("0.00002")


def test_the_million_token_document_of_the_article_costs_ten_dollars_of_input() -> None:
    turbo = pricing.price("gpt-4-turbo")
    avoided = cost_avoided(Usage(MTOK, 0, 1), turbo)
    assert avoided.usd == Decimal("10.00003")
