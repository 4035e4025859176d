"""The costs screen: the sums of the ledger, as the command prints them, honest about gaps."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from stage import Person, Stage
from textual.widgets import DataTable, Static

from ondevice import accounts
from ondevice.cli.costs import costs
from ondevice.domain.cost import Price
from ondevice.domain.electricity import Power
from ondevice.domain.generation import GenerationDone, Timings, Usage
from ondevice.domain.ledger import total
from ondevice.domain.measured import Measured
from ondevice.domain.memory import MemoryUse
from ondevice.tui import cost_rows
from ondevice.tui.screens.costs import CostsScreen

MakeStage = Callable[..., Stage]

DONE = GenerationDone("stop", Usage(1000, 400, 500), Timings(0.5, 0.4, 9.5), 2, 4096)
PRICE = Price("cloud", "x", Decimal(1), Decimal(2), None, None, date(2026, 11, 24), "x",
              batch_share=Decimal("0.5"))  # fmt: skip
POWER = Power(36, Decimal("0.30"))
ANSWERS: list[tuple[str, str, Price | None, Power | None, bool]] = [
    ("2026-11-21", "small", PRICE, POWER, True),
    ("2026-11-21", "small", PRICE, POWER, False),
    ("2026-11-23", "tiny", replace(PRICE, batch_share=None), None, False),
    ("2026-11-24", "tiny", None, None, False),
    ("2026-11-25", "small", PRICE, Power(36, Decimal(900)), True),
]
"""Days, models, prices, power, and whether it was useful; each in a session of its own."""


def account(stage: Stage) -> None:
    for number, (day, model, price, power, useful) in enumerate(ANSWERS, start=1):
        session = stage.sessions.create(f"title {number}")
        row = stage.sessions.add(session.id, "assistant", "", "streaming", model)
        measured = Measured("text", DONE, MemoryUse(None, None, None), None, ())
        stage.sessions.finish(row, "text", "complete", "stop", measured.priced(price, power))
        stage.sessions.mark_useful(row.id, useful)
        with stage.database.transaction() as connection:
            connection.execute("UPDATE answer SET day = ? WHERE id = ?", (day, row.id))
    stage.sessions.delete([1])


def rows(person: Person) -> list[list[str]]:
    """The table, its titles first."""
    table = person.screen.query_one(DataTable)
    head = [str(column.label).strip() for column in table.columns.values()]
    every = [table.get_row_at(number) for number in range(table.row_count)]
    return [head, *([str(cell).strip() for cell in row] for row in every)]


def said(person: Person, selector: str) -> str:
    return " ".join(str(person.screen.query_one(selector, Static).content).split())


async def look(person: Person) -> None:
    await person.press("ctrl+l")
    await person.until(lambda: isinstance(person.screen, CostsScreen))
    await person.until(lambda: "Adding up" not in said(person, "#none") or rows(person)[1:])


@pytest.mark.parametrize(("by", "presses"), [("day", 0), ("model", 1), ("session", 2)])
async def test_the_sums_are_those_that_the_command_prints(
    by: str, presses: int, make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage(pieces=["yes"])
    account(stage)
    monkeypatch.setenv("ONDEVICE_HOME", str(stage.folder))
    printed = CliRunner().invoke(costs, ["--by", by])
    assert printed.exit_code == 0
    head, *lines = [line.split() for line in printed.stdout.splitlines()]
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await person.press(*"g" * presses)
        shown, everything, *each = rows(person)
        assert shown == head
        assert [" ".join(row).split() for row in (*reversed(each), everything)] == lines


async def test_a_row_is_explained_in_full_below_the_table(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    account(stage)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        facts = said(person, "#facts")
        assert "5,000 prompt = 3,000 evaluated + 2,000 reused · 2,500 made" in facts
        assert "2 answers" in facts
        assert "cloud on 2026-11-24" in facts
        assert "Answers without a known price, not in AVOIDED: 1." in facts
        assert "not sold, or unknown for an answer" in facts
        await person.press("down")
        assert "$0.0020 avoided − $0.090 for power = -$0.088" in said(person, "#facts")
        await person.press("down")
        assert "unknown avoided − power: unknown = unknown" in said(person, "#facts")


async def test_all_of_it_can_be_priced_at_another_model(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    account(stage)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        table = person.screen.query_one(DataTable)
        assert str(table.border_subtitle) == "each at the baseline of its time"
        await person.press("b", *"dear", "enter")
        await person.until(lambda: str(table.border_subtitle) == "all at Cloud dear")
        # 5 answers of 1,500 tokens at $20 per million
        assert rows(person)[1][rows(person)[0].index("AVOIDED")] == "$0.15"
        await person.press("b", *"of its time", "enter")
        await person.until(lambda: "each at" in str(table.border_subtitle))


async def test_with_nothing_in_the_accounts_it_says_what_makes_an_entry(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("an echo is never counted")
        await look(person)
        await person.until(lambda: "No answer is in the accounts yet" in said(person, "#none"))
        assert not person.screen.query_one("#chart").display
        await person.press("g", "escape")
        assert person.app.focused is person.composer


async def test_accounts_that_cannot_be_read_are_a_notice(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        with closing(sqlite3.connect(stage.database.path)) as other:
            other.execute("DROP TABLE answer")
        await person.press("ctrl+l")
        await person.until(lambda: any("answer" in notice for notice in person.notices()))
        await person.until(lambda: "cannot be read" in said(person, "#none"))
        await person.press("escape")
        assert person.screen is stage.app.chat_screen


class TestTheChart:
    def test_has_a_bar_for_each_day_also_those_without_answers(self, make_stage: MakeStage) -> None:
        stage = make_stage(pieces=["yes"])
        account(stage)
        entries = stage.app._doors.accounts()
        drawn = cost_rows.chart(entries, 60, 7).plain.splitlines()
        assert len(drawn) == 7
        bars = "\n".join(drawn[:-1])
        assert "█" in bars  # the 21st and the 23rd
        assert "?" in bars  # the 24th has no price
        assert drawn[-2].lstrip().startswith("-$0.088")  # the 25th cost more than it saved
        assert drawn[-1].split() == ["11-21", "11-25"]

    def test_has_only_the_newest_days_where_it_is_narrow(self, make_stage: MakeStage) -> None:
        stage = make_stage(pieces=["yes"])
        account(stage)
        entries = stage.app._doors.accounts()
        old = [replace(entry, day="1999-01-01") for entry in entries]
        odd = [replace(entry, day="no day") for entry in entries]
        for width in range(16, 90):
            drawn = cost_rows.chart([*old, *entries, *odd], width, 5).plain.splitlines()
            assert max(map(len, drawn)) <= width
            assert "11-25" in drawn[-1]

    def test_of_nothing_is_empty(self) -> None:
        assert cost_rows.chart([], 60, 7).plain == ""


def test_words_for_the_accounts_are_defined(tmp_path: Path) -> None:
    for title in accounts.HEAD:
        assert f"\n{title.lower()} " in (accounts.__doc__ or "")
    assert accounts.cells(total([]))["AVOIDED"] == "$0"
