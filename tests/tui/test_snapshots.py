"""How each screen looks, at the two sizes that matter.

Numbers are pinned in the `Live` slot, from which alone the meter paints, and in what ends a turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from stage import Person, Stage
from textual.pilot import Pilot
from textual.widgets import DataTable, OptionList

from ondevice.chat import Chat, ChatEvent
from ondevice.domain.context import ContextParts
from ondevice.domain.cost import Price
from ondevice.domain.electricity import Power
from ondevice.domain.generation import (
    GenerationDone,
    PrefillProgress,
    PromptTokens,
    Sampling,
    TextDelta,
    Timings,
    Usage,
)
from ondevice.domain.measured import Measured
from ondevice.domain.memory import MachineMemory, MemoryUse, ProcessMemory
from ondevice.domain.reuse import Reuse
from ondevice.tui.live import Live
from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.conversation import Conversation

MakeStage = Callable[..., Stage]
Compare = Callable[..., bool]

ANSWER = [
    "Pack **layers**:\n\n",
    "- a light rain jacket\n",
    "- shoes for `cobbles`\n\n",
    "```python\ndef pack(days: int) -> list[str]:\n    return ['shirt'] * days\n```\n\n",
    "See [the forecast](https://example.com).",
]
THINKING = """<think>
The person asks about packing. March is mild and wet there, so layers matter most.

Shoes, too: the streets are steep.
</think>

"""
MB = 1 << 20


class PinnedChat(Chat):
    """Ends each turn with the same numbers."""

    def send(self, text: str, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        for event in super().send(text, sampling, max_tokens):
            yield pinned(event) if isinstance(event, Measured) else event


DONE = GenerationDone("stop", Usage(0, 0, 0), Timings(None, None, None), 1, 2048)
PRICE = Price("small", "Cloud small", Decimal("0.1"), Decimal("0.3"), Decimal("0.01"), 64,
              date(2026, 11, 24), "made for tests", batch_share=Decimal("0.5"))  # fmt: skip


def priced(measured: Measured) -> Measured:
    return measured.priced(PRICE, Power(30, Decimal("0.30")))


def pinned(measured: Measured) -> Measured:
    usage = Usage(prompt_tokens=412, cached_tokens=300, completion_tokens=88)
    timings = Timings(ttft_s=0.42, prefill_s=0.4, decode_s=8.7)
    return replace(measured, done=GenerationDone("stop", usage, timings, 1, 2048))


class PinnedLive(Live):
    """Keeps what it was given, whatever the app reads from the machine."""

    PINNED = {
        "memory": ProcessMemory(221 * MB, 129 * MB, 92 * MB),
        "machine": MachineMemory(16 << 30, 11 << 30),
        "prefill": PrefillProgress(112, 112, 300, 0.4),
        "context": ContextParts(PromptTokens(60, 320, 120), 2048),
        "reuse": Reuse(300, 1.07),
        "reuse_total": Reuse(1204, 4.3),
    }

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value if value is None else self.PINNED.get(name, value))

    def note_delta(self, delta: TextDelta) -> None:
        super().note_delta(delta)
        self.rates.clear()
        self.rates.extend([6.0, 9.0, 10.0, 10.5, 9.8, 10.1, 10.0, 7.0, 10.0, 10.2])


async def empty(person: Person) -> None:
    """Nothing was asked yet."""


async def answered(person: Person) -> None:
    await person.ask("What should I pack for four days in March?")
    view = person.stage.app.chat_screen.query_one(Conversation)
    await person.until(lambda: view.scroll_y == view.max_scroll_y)


async def helped(person: Person) -> None:
    await person.press("f1")


async def picking(person: Person) -> None:
    await person.press("f3")
    await person.until(lambda: any(each.option_count for each in person.screen.query(OptionList)))


async def shelved(person: Person) -> None:
    await person.press("f2")
    await person.until(lambda: any(each.row_count for each in person.screen.query(DataTable)))
    await person.press("down", "down")  # one without a path, which is another in every run


async def settled(person: Person) -> None:
    await person.press("f9")
    await person.until(lambda: any(each.option_count for each in person.screen.query(OptionList)))
    await person.press("down", "down")


async def keyed(person: Person) -> None:
    await settled(person)
    await person.press("end")


async def mistyped(person: Person) -> None:
    await settled(person)
    await person.press("enter", *"999")


TALKS = {
    "Trip to Lisbon": ["What should I pack for March?", "Layers: it may rain, one day of three."],
    "Eggs, and how long": ["How long do I boil an egg?", "Seven minutes, then cold water."],
    "Regex help": ["How do I match rain, or train?", "With `t?rain`."],
}


def keep(stage: Stage) -> None:
    """Sessions of a pinned time. It names no zone, so that it reads the same in all of them."""
    for title, texts in TALKS.items():
        session = stage.sessions.create(title)
        stage.sessions.add(session.id, "user", texts[0])
        answer = stage.sessions.add(session.id, "assistant", "", "streaming", "smollm2-135m")
        cost = priced(pinned(Measured(texts[1], DONE, MemoryUse(None, None, None), None, ())))
        stage.sessions.finish(answer, texts[1], "complete", "stop", cost)
    with stage.database.transaction() as connection:
        connection.execute("UPDATE session SET created_at = '2026-11-2' || id || 'T09:30'")
        connection.execute(
            """UPDATE answer SET at = '2026-11-2' || session_id || 'T09:31',
            day = '2026-11-2' || session_id, useful = id > 3"""
        )


async def kept(person: Person) -> None:
    keep(person.stage)
    await person.press("f4")
    await person.until(lambda: any(each.row_count > 1 for each in person.screen.query(DataTable)))
    await person.press("down", "down")


async def searched(person: Person) -> None:
    await kept(person)
    await person.press("slash", *"rain")
    await person.until(lambda: person.screen.query_one(DataTable).border_title == "3 found")
    await person.press("enter")


async def deleting(person: Person) -> None:
    await kept(person)
    await person.press("delete")


async def private(person: Person) -> None:
    await kept(person)
    await person.press("p")
    chat = person.stage.app.chat_screen
    await person.until(lambda: person.screen is chat and chat.query_one("#private").display)
    await person.ask("What should I pack for four days in March?")


async def accounted(person: Person) -> None:
    keep(person.stage)
    await person.press("ctrl+l")
    await person.until(lambda: any(each.row_count for each in person.screen.query(DataTable)))


async def unaccounted(person: Person) -> None:
    await person.press("ctrl+l")
    await person.until(lambda: not any(each.display for each in person.screen.query("#chart")))


async def filling(person: Person) -> None:
    """Two turns, the first one with a file."""
    person.stage.attachable("big.txt", "word " * 600)
    await person.ask("What is in @big.txt?")
    await person.ask("And then?")
    await person.write("And what follows from it?")
    await person.press("ctrl+o")
    await person.until(lambda: any(each.option_count for each in person.screen.query(OptionList)))


async def cut(person: Person) -> None:
    """A session whose first turn was summed up."""
    keep(person.stage)
    sessions = person.stage.sessions
    session = sessions.get(1)
    text = "(In short, the first turn of this conversation:)\n\nPack layers for March."
    question = sessions.add(session.id, "user", "And which shoes?")
    sessions.add(session.id, "system", text, model="echo-model", kept_from=question.id)
    person.app.chat_screen.open(Wanted(sessions.get(session.id)))
    await person.until(lambda: person.app.chat_screen.query(".cut") and not person.busy)


SCENES = [empty, answered, helped, picking, shelved, settled, keyed, mistyped,
          kept, searched, deleting, private, accounted, unaccounted, filling, cut]  # fmt: skip


async def thought(person: Person) -> None:
    await answered(person)


async def reading(person: Person) -> None:
    await answered(person)
    await person.press("ctrl+r", "t")
    await person.until(lambda: person.screen.query(".thinking Prose"))


async def finding(person: Person) -> None:
    await answered(person)
    await person.press("ctrl+f", *"pack")
    await person.until(lambda: person.text("#find .count") == "3 of 3")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("scene", [thought, reading, finding], ids=lambda scene: scene.__name__)
def test_an_answer_with_thinking_looks_as_it_did(
    make_stage: MakeStage,
    snap_compare: Compare,
    scene: Callable[[Person], Awaitable[None]],
    size: tuple[int, int],
) -> None:
    stage = make_stage(pieces=[THINKING, *ANSWER], live=PinnedLive(), make_chat=PinnedChat)
    assert snap_compare(stage.app, terminal_size=size, run_before=acting(stage, scene))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_screen_looks_as_it_did(
    make_stage: MakeStage,
    snap_compare: Compare,
    scene: Callable[[Person], Awaitable[None]],
    size: tuple[int, int],
) -> None:
    stage = make_stage(pieces=ANSWER, live=PinnedLive(), make_chat=PinnedChat)
    assert snap_compare(stage.app, terminal_size=size, run_before=acting(stage, scene))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_an_error_looks_as_it_did(
    make_stage: MakeStage, snap_compare: Compare, size: tuple[int, int]
) -> None:
    stage = make_stage(pieces=["Well, "], fail_at=0, live=PinnedLive(), make_chat=PinnedChat)

    async def ask(person: Person) -> None:
        await person.ask("What should I pack?")

    assert snap_compare(stage.app, terminal_size=size, run_before=acting(stage, ask))


def acting(
    stage: Stage, scene: Callable[[Person], Awaitable[None]]
) -> Callable[[Pilot[int]], Awaitable[None]]:
    async def act(pilot: Pilot[int]) -> None:
        person = await Person(stage, pilot).ready()
        live = stage.live
        await person.until(lambda: live and live.memory and live.machine and live.price)
        await scene(person)
        stage.app.chat_screen.paint_meter()
        await pilot.pause()

    return act
