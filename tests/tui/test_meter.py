"""The one line always fits, bars say what they should, and no money is counted that is none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from echoing import PRICE
from hypothesis import given
from hypothesis import strategies as st
from stage import BASELINES, PATIENCE_S, SETTINGS, Person, Stage

from ondevice import units
from ondevice.domain.context import ContextParts
from ondevice.domain.device import Device, DeviceUse, Offload
from ondevice.domain.generation import EngineInfo, GenerationDone, PromptTokens, Timings, Usage
from ondevice.domain.measured import Measured
from ondevice.domain.memory import MemoryUse
from ondevice.domain.reuse import Reuse
from ondevice.tui.live import Live
from ondevice.tui.widgets.meter import LINE, fit
from ondevice.tui.widgets.numbers import LABEL, bar, curve, rows_of
from ondevice.tui.widgets.parts import PATTERNS


@given(st.lists(st.tuples(st.integers(0, 9), st.text("abc ", max_size=40))))
def test_the_line_never_exceeds_its_columns(parts: list[tuple[int, str]]) -> None:
    assert len(fit(parts, LINE)) <= LINE


def test_the_most_dispensable_part_gives_way_first() -> None:
    parts = [(0, "rate"), (2, "x" * 40), (1, "y" * 40)]
    assert fit(parts, LINE) == f"rate  {'y' * 40}"


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [(0, 100, "░░░░"), (1, 1000, "█░░░"), (50, 100, "██░░"), (100, 100, "████"), (0, 0, "░░░░")],
)
def test_a_bar_fills_with_its_part(part: int, whole: int, expected: str) -> None:
    assert bar(part, whole, 4) == expected


def test_the_curve_begins_at_zero_and_shows_the_newest() -> None:
    assert curve([100.0, 5.0, 10.0, 10.0], 3) == "▅██"
    assert curve([], 3) == curve([0.0], 3) == ""


MakeStage = Callable[..., Stage]


async def priced(person: Person) -> Person:
    """Until the model answers and costs are compared."""
    await person.ready()
    await person.until(lambda: "against     Cloud small" in person.text("#panel"))
    return person


@pytest.mark.parametrize("pieces", [[""], [" ", "\n"]], ids=["end-token-only", "blank"])
async def test_a_blank_answer_avoids_nothing_on_the_screen_as_in_the_store(
    make_stage: MakeStage, pieces: list[str]
) -> None:
    stage = make_stage(pieces=pieces)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await priced(Person(stage, pilot))
        await person.ask(" ".join(["word"] * 500))
        await person.until(lambda: "avoided       $0" in person.text("#panel"))
        amounts = [line for line in person.text("#panel").splitlines() if "$" in line]
        assert [amount.split()[-1] for amount in amounts] == ["$0"] * 4
        (row,) = stage.database.rows("SELECT usd FROM answer")
        assert row["usd"] == "0"


DEAR = "watts = 100000\ntariff_usd_per_kwh = 900\n"


@pytest.mark.parametrize("pieces", [["word "], [""]], ids=["an answer", "a blank one"])
async def test_what_electricity_cost_is_taken_off_and_shown_below_zero(
    make_stage: MakeStage, pieces: list[str]
) -> None:
    stage = make_stage(pieces=pieces, settings=SETTINGS + DEAR)
    stage.chat.use(stage.settings.read().settings)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await priced(Person(stage, pilot))
        await person.ask("question")
        await person.until(lambda: "net avoided   -$" in person.text("#panel"))
        rows = [line.split() for line in person.text("#panel").splitlines() if "$" in line]
        assert [" ".join(row[:-1]) for row in rows] == [
            "net avoided",
            "since start",
            "frontier",
            "since start",
        ]
        assert all(row[-1].startswith("-$") for row in rows)
        (kept,) = stage.database.rows("SELECT usd, electricity_usd FROM answer")
        net = Decimal(kept["usd"]) - Decimal(kept["electricity_usd"])
        assert rows[0][-1] == rows[1][-1] == units.money(net)


async def test_the_line_shows_a_negative_saving_as_negative(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], settings=SETTINGS + DEAR)
    stage.chat.use(stage.settings.read().settings)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.until(lambda: "avoided -$" in person.text("#line"))


async def test_before_the_first_answer_the_numbers_say_what_will_stand_there(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["word "])
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.until(lambda: "tok/s with an answer  ctx" in person.text("#line"))
        await pilot.resize_terminal(120, 40)
        await person.until(lambda: "with an answer" in person.text("#speed"))
        await person.ask("question")
        await person.until(lambda: "with an answer" not in person.text("#speed"))
        await pilot.resize_terminal(80, 24)
        await person.until(lambda: "first " in person.text("#line"))
        assert "with an answer" not in person.text("#line")


async def test_noise_of_random_weights_has_no_cost(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["noise "], repeat=100)
    stage.files["echo-model"] = replace(stage.files["echo-model"], random_weights=True)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await priced(Person(stage, pilot))
        await person.ask("question")
        await person.until(lambda: "decode        -" not in person.text("#panel"))
        lines = person.text("#panel").splitlines()
        assert "avoided       -" in lines
        assert "  since start $0" in lines


async def test_the_first_token_is_timed_while_the_answer_goes_on(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], repeat=900, delay_s=0.02)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("question")
        await person.until(lambda: "first token" in person.text("#panel"))
        await person.until(lambda: "first token   -" not in person.text("#panel"))
        assert person.busy
        await person.press("escape")
        await person.until(lambda: not person.busy)


class SlowPrices(dict[str, tuple[str, str]]):
    """Prices that are looked up for as long as `found` is not set."""

    found = threading.Event()

    def __getitem__(self, key: str) -> tuple[str, str]:
        self.found.wait(PATIENCE_S)
        return super().__getitem__(key)


async def test_an_answer_from_before_the_price_was_known_is_counted(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["word "], repeat=100)
    stage.baselines = prices = SlowPrices(BASELINES)
    prices.found = threading.Event()
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        try:
            await person.ask("question")
            await person.until(lambda: "avoided       -" in person.text("#panel"))
        finally:
            prices.found.set()
        # 1 token in, 100 out, at 0.04 dollars per million
        await person.until(lambda: "since start $0.0000040" in person.text("#panel"))
        assert "avoided       $0.0000040" in person.text("#panel")


CARD = Device("CUDA0", "A card", "cuda", 6 << 30, 8 << 30)
INFO = EngineInfo(
    engine="llama.cpp",
    backend="cuda",
    build="1",
    model_paths=("/m.gguf",),
    n_ctx=2048,
    n_ctx_train=2048,
    threads=2,
    threads_fixed=True,
    flash_attention=False,
    repacked=False,
    has_template=True,
    pid=7,
    offload=Offload(31, (DeviceUse(CARD, 12, 1 << 30),)),
)


def full() -> Live:
    """Everything the panel has a row for."""
    live, usage = Live(), Usage(500, 300, 88)
    done = GenerationDone("stop", usage, Timings(0.4, 0.4, 8.7), 1, 2048)
    live.end_turn(Measured("yes", done, MemoryUse(None, None, None), None, ()))
    live.context = ContextParts(PromptTokens(60, 320, 120), 2048)
    live.reuse = Reuse(300, 1.07, missed="37 tokens of the last turn could not be reused: because")
    live.reuse_total = Reuse(12_204, 185.0, 3)
    live.rates.extend([6.0, 9.0])
    live.price = PRICE
    live.frontier = replace(PRICE, baseline="frontier")
    return live


@pytest.mark.parametrize("height", [20, 21, 22, 23, 26, 40])
def test_the_rows_fit_the_panel_and_name_every_number(height: int) -> None:
    above, below = rows_of(full(), 36, height)
    assert len(above) + len(below) <= height
    roomy = [label for rows in rows_of(full(), 36, 100) for label, _ in rows if label.strip()]
    shown = [label for label, _ in [*above, *below]]
    numbers = [label for label in roomy if label[:1] not in PATTERNS.values()]
    told = [label for label in numbers if len(label) <= LABEL]
    assert [label for label in told if label not in shown] == []
    assert any(label.startswith("missed: 37 tokens") for label in shown)
    assert ("reused", "300 tok, 1.1 s") in above
    assert ("  since start", "12,204 tok, ≥ 3 min 05 s") in above


@pytest.mark.parametrize("height", [20, 24, 40])
def test_what_is_on_a_device_has_a_row_of_its_own(height: int) -> None:
    live = full()
    live.info = INFO
    above, below = rows_of(live, 36, height)
    assert len(above) + len(below) <= height
    assert ("device memory", "1.0 GB, 12/31 layers") in below
    live.info = replace(INFO, offload=Offload(31))
    assert "device memory" not in [label for label, _ in rows_of(live, 36, height)[1]]


def named(rows: list[str]) -> list[str]:
    """The labels of the panel's rows, without those of the context's parts."""
    labels = (row[:LABEL].strip() for row in rows)
    return [label for label in labels if label and label[0] not in PATTERNS.values()]


async def test_a_panel_of_few_lines_leaves_out_the_spaces_and_no_number(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["word "])
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.until(lambda: "frontier" in person.text("#panel"))
        roomy = person.text("#panel").splitlines()
        await pilot.resize_terminal(120, 24)
        await person.until(lambda: len(person.text("#panel").splitlines()) < len(roomy))
        panel = stage.app.chat_screen.query_one("#panel")
        shown = person.text("#panel").splitlines()
        assert "▓ 0  █ 0  ▒ 0  ░ 2.0k" in shown
        assert named(shown) == named(roomy)
        assert len(shown) == len(roomy) - 3  # two spaces, and a row of the parts
        assert len(shown) <= panel.content_size.height
        await pilot.resize_terminal(120, 23)
        await person.until(lambda: stage.app.chat_screen.query_one("#line").display)
        assert not panel.display


async def test_no_number_of_one_model_stands_under_the_name_of_another(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["word "], repeat=9, delay_s=0.02)
    stage.add("second-model", load_hangs=True)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.until(lambda: "tok/s" in person.text("#speed"))
        stage.app.chat_screen.load(stage.files["echo-model"])  # once more: they are its own
        await person.ready()
        stage.app.chat_screen.paint_meter()
        assert "tok/s" in person.text("#speed")
        stage.app.chat_screen.load(stage.files["second-model"])
        stage.app.chat_screen.paint_meter()
        rows = {row[:LABEL].strip(): row[LABEL:] for row in person.text("#speed").splitlines()}
        shown = [rows[label] for label in ("decode", "first token", "prefill", "reused")]
        assert shown == ["-"] * 4
        assert rows["context"].endswith(" 0/-")
        await person.press("f10")
