"""`costs`: exact sums of the ledger by day, model and session, honest about what is missing."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from command import Cli

from ondevice import pricing
from ondevice.cli.exits import Exit
from ondevice.domain.cost import Price
from ondevice.domain.electricity import Power
from ondevice.domain.generation import GenerationDone, Timings, Usage
from ondevice.domain.measured import Measured
from ondevice.domain.memory import MemoryUse
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

DONE = GenerationDone("stop", Usage(1000, 0, 500), Timings(0.5, 0.4, 9.5), 2, 4096)
PRICE = Price("cloud", "x", Decimal(1), Decimal(2), None, None, date(2026, 11, 24), "x")
BATCHED = replace(PRICE, batch_share=Decimal("0.5"))


def account(path: Path, *answers: tuple[str, Price | None, Power | None]) -> None:
    """One session for each answer: the model, the price known then, the power."""
    with closing(Database(path)) as database:
        sessions = Sessions(database)
        for number, (model, price, power) in enumerate(answers, start=1):
            row = sessions.add(
                sessions.create(f"title {number}").id, "assistant", "", "streaming", model
            )
            measured = Measured("text", DONE, MemoryUse(None, None, None), None, ())
            sessions.finish(row, "text", "complete", "stop", measured.priced(price, power))
        with database.transaction() as connection:
            for number in range(1, len(answers) + 1):
                day = f"2026-11-{20 + number}"
                connection.execute("UPDATE answer SET day = ? WHERE id = ?", (day, number))


@pytest.fixture
def path(home: Path) -> Path:
    return home / "data" / "ondevice.db"


def test_with_nothing_counted_it_says_what_to_do(cli: Cli, home: Path, path: Path) -> None:
    outcome = cli("costs")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "No answer was counted yet. `ondevice` opens the chat.\n"
    assert not home.exists()
    account(path, ("small", PRICE, None))
    later = cli("costs", "--since", "2027-01-01")
    assert (later.code, later.out) == (0, "")
    assert "since that day" in later.err


def test_a_table_has_a_row_for_each_and_one_for_all(cli: Cli, path: Path) -> None:
    account(path, ("small", BATCHED, Power(36, Decimal(1))), ("tiny", BATCHED, None))
    outcome = cli("costs", "--by", "model")
    assert outcome.code == 0
    head, *lines = outcome.out.splitlines()
    assert head.split() == [
        "MODEL", "ANSWERS", "PROMPT", "REUSED", "MADE", "AVOIDED", "POWER", "NET", "BATCH",
    ]  # fmt: skip
    assert [line.split() for line in lines] == [
        ["small", "1", "1.0k", "0", "500", "$0.0020", "$0.00010", "$0.0019", "$0.0010"],
        ["tiny", "1", "1.0k", "0", "500", "$0.0020", "unknown", "$0.0020", "$0.0010"],
        ["all", "2", "2.0k", "0", "1.0k", "$0.0040", "$0.00010", "$0.0039", "$0.0020"],
    ]
    assert "Avoided against: cloud on 2026-11-24." in outcome.err
    assert "Turns whose power cost is unknown, not in POWER: 1." in outcome.err


def test_as_data_sums_are_exact_text(cli: Cli, path: Path) -> None:
    account(path, *[("small", PRICE, Power(36, Decimal("0.50")))] * 3)
    document = json.loads(cli("costs", "--json").out)
    assert document["by"] == "day"
    assert document["baselines"] == [{"baseline": "cloud", "price_date": "2026-11-24"}]
    assert [row["day"] for row in document["rows"]] == ["2026-11-21", "2026-11-22", "2026-11-23"]
    whole = document["total"]
    assert (whole["turns"], whole["answers"], whole["evaluated_tokens"]) == (3, 3, 3000)
    for name, each in (
        ("avoided_usd", "0.002"),
        ("electricity_usd", "0.000050000000"),
        ("net_usd", "0.001950000000"),
    ):
        assert {row[name] for row in document["rows"]} == {each}
        assert Decimal(whole[name]) == 3 * Decimal(each)
    assert (whole["net_usd_per_useful"], whole["batch_usd"]) == (None, None)
    assert whole["joules"] == 1080.0


def test_a_table_has_no_column_that_says_nothing(cli: Cli, path: Path) -> None:
    account(path, ("small", PRICE, None))
    head, line = cli("costs").out.splitlines()
    assert head.split() == ["DAY", "ANSWERS", "PROMPT", "REUSED", "MADE", "AVOIDED"]
    assert len(line) <= 80


def test_of_a_column_that_is_not_there_nothing_is_said(cli: Cli, path: Path) -> None:
    account(path, ("small", PRICE, None))
    said = cli("costs").err
    assert "POWER" not in said
    assert "The cost of their power is unknown. The settings watts and tariff_usd_per_kwh" in said


def test_turns_that_are_no_answers_are_told(cli: Cli, path: Path) -> None:
    """Stopped before its first word, or failed: it took time, and no cloud would bill it."""
    account(path, ("small", PRICE, None))
    assert "not in ANSWERS" not in cli("costs").err
    with closing(Database(path)) as database:
        sessions = Sessions(database)
        row = sessions.add(sessions.create("x").id, "assistant", "", "streaming", "small")
        blank = Measured("", DONE, MemoryUse(None, None, None), None, ())
        sessions.finish(row, "", "interrupted", "cancelled", blank.priced(PRICE, None))
    outcome = cli("costs", "--by", "model")
    assert outcome.out.splitlines()[1].split()[:2] == ["small", "1"]
    assert "Turns that failed or gave no text, not in ANSWERS: 1." in outcome.err


def test_a_useful_answer_has_its_price(cli: Cli, path: Path) -> None:
    account(path, ("small", PRICE, None), ("small", PRICE, None))
    with closing(Database(path)) as database:
        Sessions(database).mark_useful(1)
    whole = json.loads(cli("costs", "--json").out)["total"]
    assert (whole["useful"], whole["net_usd_per_useful"]) == (1, "0.004")
    head, *lines = cli("costs").out.splitlines()
    assert head.split()[-3:] == ["MADE", "AVOIDED", "/USEFUL"]
    assert [line.split()[-1] for line in lines] == ["$0.0020", "-", "$0.0040"]


def test_deleted_sessions_stay_in_the_accounts_without_a_title(cli: Cli, path: Path) -> None:
    account(path, ("small", PRICE, None), ("small", PRICE, None))
    before = json.loads(cli("costs", "--json").out)["total"]
    cli("sessions", "delete", "1", "-y")
    document = json.loads(cli("costs", "--by", "session", "--json").out)
    assert document["total"] == before
    assert [(row["session"], row["title"]) for row in document["rows"]] == [
        (1, None),
        (2, "title 2"),
    ]
    assert "1 (deleted)" in cli("costs", "--by", "session").out


def test_some_days_can_be_left_out(cli: Cli, path: Path) -> None:
    account(path, ("small", PRICE, None), ("small", PRICE, None))
    document = json.loads(cli("costs", "--since", "2026-11-22", "--json").out)
    assert [row["day"] for row in document["rows"]] == ["2026-11-22"]


def test_an_answer_without_a_price_is_said_to_be_missing(cli: Cli, path: Path) -> None:
    account(path, ("small", None, None))
    outcome = cli("costs")
    assert "unknown" in outcome.out
    assert "Answers without a known price, not in AVOIDED: 1." in outcome.err


class TestAnotherBaseline:
    def test_prices_all_of_it_anew_and_says_so(self, cli: Cli, path: Path) -> None:
        account(path, ("small", None, None), ("small", PRICE, None))
        document = json.loads(cli("costs", "--baseline", "gpt-4-turbo", "--json").out)
        price = pricing.price("gpt-4-turbo")
        assert document["baselines"] == [{"baseline": "gpt-4-turbo", "price_date": "2024-07-01"}]
        # twice 1,000 × $10 + 500 × $30, per million
        assert Decimal(document["total"]["avoided_usd"]) == Decimal("0.05")
        assert price.batch_share == Decimal("0.5")
        assert Decimal(document["total"]["batch_usd"]) == Decimal("0.025")

    def test_that_nobody_knows_is_refused(self, cli: Cli, path: Path) -> None:
        outcome = cli("costs", "--baseline", "no-such-cloud")
        assert (outcome.code, outcome.out) == (Exit.USAGE, "")
        assert "no-such-cloud" in outcome.err


@pytest.mark.parametrize(
    "arguments", ["--by week", "--since yesterday", "--bogus"], ids=lambda value: str(value)
)
def test_what_cannot_be_asked_is_refused(arguments: str, cli: Cli) -> None:
    outcome = cli("costs", *arguments.split())
    assert (outcome.code, outcome.out) == (Exit.USAGE, "")
    assert len(outcome.err.splitlines()) == 2
