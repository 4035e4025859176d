"""The ledger holds what each answer used, exactly, and its totals are the sums of its rows."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from answers import DONE, MEASURED
from other_process import OPEN, outcome, start

from ondevice.domain.cost import Price
from ondevice.domain.electricity import Power
from ondevice.domain.generation import GenerationDone, Timings, Usage
from ondevice.domain.ledger import Entry, Grouping, Totals, total, totals
from ondevice.domain.measured import Measured
from ondevice.domain.memory import MemoryUse
from ondevice.errors import UnknownSession
from ondevice.storage.database import Database
from ondevice.storage.ledger import Ledger
from ondevice.storage.sessions import Sessions

PRICE = Price(
    "cloud", "A cloud", Decimal("0.10"), Decimal("0.30"), Decimal("0.01"), 64,
    date(2026, 11, 24), "a test", Decimal("0.5"),
)  # fmt: skip
POWER = Power(30.0, Decimal("0.31"))


@pytest.fixture
def database(open_database) -> Database:
    return open_database()


def answered(
    sessions: Sessions, session_id: int, measured: Measured | None, counted: bool = True
) -> int:
    """Store an answer with these numbers; returns its id."""
    row = sessions.add(session_id, "assistant", "", "streaming", "small")
    return sessions.finish(row, "text", "complete", "stop", measured, counted).id


def of(usage: Usage, seconds: float | None = 2.0, text: str = "text", **done: object) -> Measured:
    timings = Timings(None if seconds is None else 0.5, None, None if seconds is None else seconds)
    ended = replace(DONE, usage=usage, timings=timings, **done)  # type: ignore[arg-type]
    return Measured(text, ended, MemoryUse(None, None, None), None, ())


class TestAnEntry:
    def test_keeps_what_was_used_and_at_which_price(self, database: Database) -> None:
        sessions = Sessions(database)
        session = sessions.create("a title")
        usage = Usage(prompt_tokens=100, cached_tokens=80, completion_tokens=50)
        answered(sessions, session.id, of(usage).priced(PRICE, POWER))
        (entry,) = Ledger(database).entries()
        assert (entry.session_id, entry.title, entry.model) == (session.id, "a title", "small")
        assert (entry.usage, entry.seconds, entry.billable) == (usage, 2.5, True)
        assert (entry.baseline, entry.price_date) == ("cloud", "2026-11-24")
        # 20 × $0.10 + 80 × $0.01 + 50 × $0.30, per million
        assert entry.usd == Decimal("0.0000178")
        assert entry.batch_usd == Decimal("0.0000089")
        assert (entry.electricity.tier, entry.electricity.joules) == ("estimated", 75.0)
        # 75 J at $0.31 for 3.6 MJ
        assert entry.electricity.usd == Decimal("0.000006458333")
        (row,) = database.rows("SELECT * FROM answer")
        assert (row["input_usd_per_mtok"], row["output_usd_per_mtok"]) == ("0.10", "0.30")
        assert (row["cached_usd_per_mtok"], row["cached_tokens_priced"]) == ("0.01", 80)

    def test_of_unknown_price_and_power_says_so(self, database: Database) -> None:
        sessions = Sessions(database)
        answered(sessions, sessions.create("x").id, MEASURED.priced(None, None))
        (entry,) = Ledger(database).entries()
        assert (entry.usd, entry.batch_usd, entry.baseline) == (None, None, "")
        assert (entry.electricity.tier, entry.electricity.joules) == ("unknown", None)
        assert entry.electricity.usd is None
        (row,) = database.rows("SELECT joules, electricity_usd, usd FROM answer")
        assert tuple(row) == (None, None, None)

    @pytest.mark.parametrize(
        "measured",
        [
            of(Usage(100, 0, 5), finish_reason="failed"),
            of(Usage(100, 0, 5), text=" \n"),
            of(Usage(100, 0, 0), text=""),
        ],
        ids=["failed", "blank", "empty"],
    )
    def test_of_a_failed_or_blank_reply_avoids_nothing_but_used_its_power(
        self, measured: Measured, database: Database
    ) -> None:
        sessions = Sessions(database)
        answered(sessions, sessions.create("x").id, measured.priced(PRICE, POWER))
        (entry,) = Ledger(database).entries()
        assert (entry.usd, entry.billable) == (0, False)
        assert entry.electricity.usd == Decimal("0.000006458333")
        assert entry.at_price(PRICE).usd == 0
        whole = total([entry])
        assert (whole.entries, whole.answers) == (1, 0)
        assert whole.net_usd == -Decimal("0.000006458333")

    def test_of_an_interrupted_reply_counts_the_tokens_made(self, database: Database) -> None:
        sessions = Sessions(database)
        halted = of(Usage(100, 0, 3), finish_reason="cancelled").priced(PRICE, None)
        answered(sessions, sessions.create("x").id, halted)
        (entry,) = Ledger(database).entries()
        assert entry.usd == Decimal("0.0000109")
        assert entry.billable

    def test_is_not_made_where_it_does_not_count(self, database: Database) -> None:
        sessions = Sessions(database)
        number = answered(sessions, sessions.create("x").id, MEASURED, counted=False)
        assert Ledger(database).entries() == []
        assert sessions.messages(1)[-1].id == number
        assert sessions.messages(1)[-1].completion_tokens == 5

    def test_has_the_day_that_it_is_here(self, path: Path) -> None:
        """East of Greenwich it is tomorrow there, at some hour, and west yesterday."""
        code = """
import time
from datetime import datetime, UTC
os.environ["TZ"] = sys.argv[2]
time.tzset()
from ondevice.storage.ledger import Ledger
sys.path.insert(0, sys.argv[3])
from answers import MEASURED
sessions = Sessions(Database(path))
answer = sessions.add(sessions.create("x").id, "assistant", "", "streaming")
before = datetime.now().date()
sessions.finish(answer, "text", "complete", "stop", MEASURED)
after = datetime.now().date()
entry = Ledger(sessions._database).entries()[-1]
say(str(before) <= entry.day <= str(after), entry.at.endswith("+00:00"))
"""
        assert OPEN
        for zone in ("Etc/GMT-14", "Etc/GMT+12"):
            there = path.with_name(zone.replace("/", "")) / "ondevice.db"
            process = start(code, there, zone, Path(__file__).parent)
            assert outcome(process) == ["True True"]


class TestUseful:
    def test_is_what_the_person_says(self, database: Database) -> None:
        sessions, ledger = Sessions(database), Ledger(database)
        numbers = [answered(sessions, sessions.create("x").id, MEASURED) for _ in range(3)]
        sessions.mark_useful(numbers[1])
        assert [entry.useful for entry in ledger.entries()] == [False, True, False]
        assert sessions.messages(2)[-1].useful
        sessions.mark_useful(numbers[1], False)
        assert not any(entry.useful for entry in ledger.entries())

    def test_is_no_question_and_no_answer_without_numbers(self, database: Database) -> None:
        sessions = Sessions(database)
        question = sessions.add(sessions.create("x").id, "user", "why?")
        with pytest.raises(UnknownSession, match="no answer with numbers"):
            Sessions(database).mark_useful(question.id)

    def test_divides_what_was_avoided(self, database: Database) -> None:
        sessions, ledger = Sessions(database), Ledger(database)
        numbers = [answered(sessions, sessions.create("x").id, MEASURED) for _ in range(4)]
        assert total(ledger.entries()).usd_per_useful is None
        for number in numbers[:2]:
            sessions.mark_useful(number)
        assert total(ledger.entries()).usd_per_useful == Decimal("0.0000350") * 2


def random_answer(draw: random.Random) -> Measured:
    """Any usage at any price, or none, with or without known power."""

    def rate() -> Decimal:
        return Decimal(draw.randrange(10**6)).scaleb(-draw.randrange(6))

    prompt = draw.randrange(200_000)
    usage = Usage(prompt, draw.randrange(prompt + 1), draw.choice([0, 1, 7, 999, 10**6]))
    seconds = draw.choice([None, draw.random() * 1000])
    ending = draw.choice(["stop", "length", "cancelled", "failed"])
    measured = of(usage, seconds, draw.choice(["text", " "]), finish_reason=ending)
    price = Price(
        draw.choice("abc"), "x", rate(), rate(), draw.choice([None, rate()]),
        draw.choice([None, 64]), date(2026, 11, 24), "x",
        draw.choice([None, Decimal("0.5"), Decimal("0.35")]),
    )  # fmt: skip
    power = Power(draw.random() * 300, draw.choice([None, rate()]))
    return measured.priced(draw.choice([None, price, price]), draw.choice([None, power]))


def exact(amounts: list[Decimal | None]) -> Fraction:
    return sum((Fraction(amount) for amount in amounts if amount is not None), Fraction(0))


def check_totals(totalled: Totals, answers: list[Measured]) -> None:
    """Against sums of fractions, which cannot be rounded."""
    billed = [each for each in answers if each.billable]
    costs = [each.cost.usd if each.cost else None for each in billed]
    power = [each.electricity.usd for each in answers]
    assert Fraction(totalled.usd) == exact(costs)
    assert Fraction(totalled.electricity_usd) == exact(power)
    assert Fraction(totalled.net_usd) == exact(costs) - exact(power)
    assert (totalled.entries, totalled.answers) == (len(answers), len(billed))
    assert totalled.unpriced == costs.count(None)
    assert totalled.electricity_unknown == power.count(None)
    usages = [each.done.usage for each in answers]
    assert totalled.prompt_tokens == sum(usage.prompt_tokens for usage in usages)
    assert totalled.evaluated_tokens == sum(usage.evaluated_tokens for usage in usages)
    assert totalled.completion_tokens == sum(usage.completion_tokens for usage in usages)
    shares = [each.cost.price.batch_share if each.cost else None for each in billed]
    if not billed or None in shares:
        assert totalled.batch_usd is None
    else:
        assert totalled.batch_usd is not None
        halves = [Fraction(c or 0) * Fraction(s or 0) for c, s in zip(costs, shares, strict=True)]
        assert Fraction(totalled.batch_usd) == sum(halves, Fraction(0))


@pytest.mark.parametrize(
    "chats", [pytest.param(20, id="20"), pytest.param(500, id="500", marks=pytest.mark.soak)]
)
def test_totals_are_the_sums_of_their_turns(chats: int, database: Database) -> None:
    draw = random.Random(chats)
    sessions, ledger = Sessions(database), Ledger(database)
    by_session: dict[int, list[Measured]] = {}
    by_model: dict[str, list[Measured]] = {}
    for _ in range(chats):
        session = sessions.create("x")
        for _ in range(draw.randrange(1, 6)):
            model, measured = draw.choice(["small", "smaller", "smallest"]), random_answer(draw)
            row = sessions.add(session.id, "assistant", "", "streaming", model)
            sessions.finish(row, measured.text, "complete", "stop", measured)
            by_session.setdefault(session.id, []).append(measured)
            by_model.setdefault(model, []).append(measured)
    for number in list(by_session)[::3]:
        sessions.delete([number])
    entries = ledger.entries()
    rows = totals(entries, "session")
    assert [int(row.key) for row in rows] == list(by_session)
    for row in rows:
        check_totals(row, by_session[int(row.key)])
        assert (row.title is None) == (int(row.key) in list(by_session)[::3])
    assert {row.key for row in totals(entries, "model")} == set(by_model)
    for row in totals(entries, "model"):
        check_totals(row, by_model[row.key])
    check_totals(total(entries), [each for chat in by_session.values() for each in chat])
    kinds: tuple[Grouping, ...] = ("day", "model", "session")
    for by in kinds:
        parts = totals(entries, by)
        assert exact([part.usd for part in parts]) == Fraction(total(entries).usd)
        assert sum(part.entries for part in parts) == len(entries)


class TestWhich:
    def test_days_are_counted_from_one_on(self, database: Database) -> None:
        sessions = Sessions(database)
        for _ in range(3):
            answered(sessions, sessions.create("x").id, MEASURED)
        with database.transaction() as connection:
            for number, day in enumerate(["2026-11-25", "2026-11-23", "2026-11-24"], start=1):
                connection.execute("UPDATE answer SET day = ? WHERE id = ?", (day, number))
        ledger = Ledger(database)
        days = [row.key for row in totals(ledger.entries(), "day")]
        assert days == ["2026-11-23", "2026-11-24", "2026-11-25"]
        since = ledger.entries(since=date(2026, 11, 24))
        assert [entry.day for entry in since] == ["2026-11-24", "2026-11-25"]

    def test_one_session_is_read_alone(self, database: Database) -> None:
        sessions = Sessions(database)
        for _ in range(3):
            answered(sessions, sessions.create("x").id, MEASURED)
        assert [entry.session_id for entry in Ledger(database).entries(session_id=2)] == [2]

    def test_another_baseline_prices_the_same_usage(self, database: Database) -> None:
        sessions = Sessions(database)
        answered(sessions, sessions.create("x").id, of(Usage(100, 80, 50)).priced(None, None))
        (entry,) = Ledger(database).entries()
        again: Entry = entry.at_price(PRICE)
        assert (again.usd, again.batch_usd) == (Decimal("0.0000178"), Decimal("0.0000089"))
        assert (again.baseline, again.usage) == ("cloud", entry.usage)


def test_a_done_event_without_a_token_was_busy_reading() -> None:
    timings = Timings(None, 1.5, None)
    assert timings.busy_s == 1.5
    assert GenerationDone("cancelled", Usage(9, 0, 0), timings, 1, 64).timings.busy_s == 1.5
