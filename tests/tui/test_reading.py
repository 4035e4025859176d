"""Messages chosen with keys: where the cursor goes, and what is done with the one it is on."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from stage import Person, Stage, visible
from terminal import Terminal
from textual.widgets import OptionList, Static

from ondevice.tui import copying, messages
from ondevice.tui.widgets import reading
from ondevice.tui.widgets.bubble import Answer, Bubble
from ondevice.tui.widgets.conversation import PAGE, Conversation
from ondevice.tui.widgets.prose import Prose

MakeStage = Callable[..., Stage]

CODE = "Two:\n\n```python\nif x:\n\ty = 1\n```\n\n- item\n  ~~~\n  ls -l\n  ~~~\n"
THOUGHT = ["<thi", "nk>\nfirst ", "second</thi", "nk>\n\nan ", "**answer**"]


def talk(person: Person) -> Conversation:
    return person.app.chat_screen.query_one(Conversation)


def chosen(person: Person) -> int | None:
    """Which message is marked as chosen, counted from the first shown."""
    marked = [
        index for index, each in enumerate(talk(person).bubbles) if each.has_class("selected")
    ]
    assert len(marked) <= 1
    return marked[0] if marked else None


def kept(stage: Stage) -> str:
    return (stage.folder / "cache" / "copied.txt").read_text(encoding="utf-8")


def store(stage: Stage, count: int) -> None:
    """A session of `count` messages, opened."""
    session = stage.sessions.create("long ago")
    for number in range(count):
        role = "assistant" if number % 2 else "user"
        stage.sessions.add(session.id, role, f"**number** {number}")
    stage.app.chat_screen.open(session)


async def test_a_key_enters_the_messages_at_the_last_and_escape_leads_back(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("f9")
        assert person.composer.has_focus
        await person.ask("first")
        await person.ask("second")
        await person.press("f9")
        assert chosen(person) == 3
        await person.press("up", "k")
        assert chosen(person) == 1
        await person.press("up", "up", "up")
        assert chosen(person) == 0
        await person.press("down", "j", "down", "down", "down")
        assert chosen(person) == 3
        await person.press("escape")
        assert person.composer.has_focus
        assert chosen(person) is None
        await person.press(*"ckt/")
        assert person.composer.text == "ckt/"


async def test_the_chosen_message_is_marked_without_colours(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["one\n\ntwo"])
    async with stage.app.run_test(size=(60, 20)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("f9")
        await pilot.pause()
        bubble = talk(person).bubbles[1].region
        frame = person.screen._compositor.render_strips()
        rows = [frame[y].text[bubble.x : bubble.right] for y in range(bubble.y, bubble.bottom)]
        assert [row[:3] for row in rows] == ["▌ e", "▌ o", "▌  ", "▌ t"]


async def test_a_click_chooses_a_message_and_a_selection_does_not(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["one two three"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        question, answer = person.app.chat_screen.query(Prose)
        await pilot.mouse_down(answer, offset=(3, 0))
        await pilot.hover(answer, offset=(8, 0))
        await pilot.mouse_up(answer, offset=(8, 0))
        assert person.composer.has_focus
        await pilot.click(question, offset=(3, 0))
        await person.until(lambda: chosen(person) == 0)
        await person.press("c")
        assert person.app.clipboard == "question"


async def test_a_message_is_copied_as_it_was_written(make_stage: MakeStage) -> None:
    said = "A **bold** \x1b[31mword " + "that goes on " * 20
    stage = make_stage(pieces=[said])
    async with stage.app.run_test(size=(40, 20)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("f9", "c")
        written = said.replace("\x1b", "")
        assert person.app.clipboard == kept(stage) == written
        file = stage.folder / "cache" / "copied.txt"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert person.notices() == [
            f"The message ({len(written)} characters, {len(written)} B) was handed to the "
            f"terminal; it is also in {file}."
        ]
        await person.press("up", "c")
        assert person.app.clipboard == kept(stage) == "question"


async def test_a_code_block_is_copied_without_what_surrounds_it(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=[CODE])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("```\nonly\n```")
        await person.press("f9", "y")
        await person.until(lambda: person.screen.query(OptionList))
        await person.press("down", "enter")
        await person.until(lambda: person.app.clipboard == "ls -l\n")
        await person.press("y")
        await person.until(lambda: person.screen.query(OptionList))
        await person.press("enter")
        await person.until(lambda: person.app.clipboard == "if x:\n\ty = 1\n")
        await person.press("up", "y")
        assert person.app.clipboard == kept(stage) == "only\n"


async def test_a_message_without_code_says_so(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["`inline`"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("f9", "y")
        assert person.notices() == ["There is no code block in this message."]
        assert person.app.clipboard == ""


async def test_what_is_too_long_for_a_terminal_is_in_the_file_alone(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["语" * (copying.LONGEST // 3 + 1)])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("f9", "c")
        assert person.app.clipboard == ""
        assert kept(stage) == "语" * (copying.LONGEST // 3 + 1)
        assert "too long for a terminal; it is in" in person.notices()[-1]


async def test_a_copy_goes_to_the_terminal_where_no_file_can_be_written(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    (stage.folder / "cache").write_text("a file where the folder would be")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("f9", "c")
        assert person.app.clipboard == "yes"
        assert "cannot be written" in person.notices()[-1]


def test_the_copy_in_the_file_is_private_and_replaces_what_is_there(
    open_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """Through a real terminal: the sequence it gets is the one that it knows."""
    file = tmp_path / "cache" / "copied.txt"
    file.parent.mkdir()
    (tmp_path / "elsewhere").write_text("stays")
    file.symlink_to(tmp_path / "elsewhere")
    terminal = open_terminal(pieces=["an answer"]).wait_ready()
    terminal.write("question\r")
    terminal.expect("1 tok")
    terminal.write("\x1b[20~")
    terminal.expect("▌")
    terminal.write("c")
    terminal.expect("9 characters")
    assert b"\x1b]52;c;YW4gYW5zd2Vy\x07" in terminal.raw
    assert file.read_text() == "an answer"
    assert not file.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (tmp_path / "elsewhere").read_text() == "stays"
    terminal.write("f10")
    assert terminal.exit_code() == 0


async def test_thinking_is_one_line_that_a_key_and_a_click_unfold(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=THOUGHT)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        assert person.bubbles()[1] == ("echo-model", "an **answer**")
        assert stage.stored()[1].content == "".join(THOUGHT)
        assert person.text(".fold") == "▸ thinking · 2 words · F9 T unfolds"
        await person.press("f9")
        assert person.text(".fold") == "▸ thinking · 2 words · T unfolds"
        await person.press("t")
        assert person.text(".fold") == "▾ thinking · 2 words · T folds"
        unfolded = person.screen.query_one(".thinking Prose", Prose)
        await person.until(lambda: visible(unfolded) == "first second")
        await person.press("c")
        assert person.app.clipboard == "an **answer**"
        await pilot.click(person.screen.query_one(".fold"))
        await person.until(lambda: not unfolded.display)
        assert not talk(person).bubbles[0].query(".fold")


async def test_thinking_shows_its_last_lines_while_it_goes_on(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["<think>", *["word "] * 60, *["latest "] * 2000], delay_s=0.01)
    async with stage.app.run_test(size=(60, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("question")
        await person.until(lambda: "latest" in person.text(".last"))
        last = person.screen.query_one(".last", Static)
        await person.until(lambda: last.size.height == 2)
        assert len(str(last.content).splitlines()) == 2
        await person.press("f9", "t")
        assert not last.display
        await person.until(lambda: visible(person.screen.query_one(".thinking Prose", Prose)))
        await person.press("escape", "escape")
        await person.until(lambda: not person.busy)


async def test_thinking_that_was_cut_is_kept_and_folded(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["<think>never ", "ends</thin"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        assert "2 words" in person.text(".fold")
        await person.press("f9", "c")
        assert person.app.clipboard == "never ends</thin"
        person.app.chat_screen.open(stage.sessions.recent()[0])
        await person.until(lambda: len(person.bubbles()) == 2)
        await person.until(lambda: "2 words" in person.text(".fold"))


async def test_the_key_for_thinking_is_offered_where_there_is_some(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=THOUGHT)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("f9")
        assert "t" in person.screen.active_bindings
        await person.press("up")
        assert "t" not in person.screen.active_bindings


async def test_the_cursor_goes_on_to_messages_that_were_not_shown(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        store(stage, PAGE + 5)
        await person.until(lambda: len(person.bubbles()) == PAGE)
        await person.press("f9", *["up"] * PAGE)
        await person.until(lambda: len(person.bubbles()) == PAGE + 5)
        assert chosen(person) == 4
        await person.press("c")
        assert person.app.clipboard == "**number** 4"
        await pilot.pause()
        assert person.app.chat_screen.query(Bubble)[4].region.y >= talk(person).region.y


async def test_the_head_of_a_chosen_message_is_in_view(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["line\n\n"] * 40)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("first")
        await person.ask("second")
        await person.press("f9", "up", "up")
        await person.until(lambda: at_top(person) == chosen(person) == 1)
        await person.press("down", "down")
        await person.until(lambda: at_top(person) == chosen(person) == 3)


def at_top(person: Person) -> int | None:
    """Which message begins at the first row in view."""
    top = talk(person).content_region.y
    found = [index for index, each in enumerate(talk(person).bubbles) if each.region.y == top]
    return found[0] if found else None


async def test_another_session_is_written_in(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("f9", "f8")
        await person.until(lambda: not person.bubbles())
        await person.press(*"up k")
        assert person.composer.text == "up k"


class Connected(Conversation):
    """As if the screen answered all of them."""

    BINDINGS = [ask.binding for ask in reading.ASKS.values()]


@pytest.mark.parametrize(
    ("key", "of", "fact"),
    [
        pytest.param("e", 0, messages.EditAsked, id="edit"),
        pytest.param("r", 1, messages.RegenerateAsked, id="regenerate"),
        pytest.param("b", 0, messages.BranchAsked, id="branch"),
        pytest.param("u", 1, messages.UsefulMarked, id="useful"),
    ],
)
async def test_a_connected_act_tells_of_which_message(
    make_stage: MakeStage, key: str, of: int, fact: type[messages.MessageAsked]
) -> None:
    stage = make_stage(pieces=["yes"])
    told: list[object] = []
    async with stage.app.run_test(message_hook=told.append) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        connected = Connected()
        await person.screen.mount(connected)
        await connected.show(stage.stored())
        connected.focus()
        await pilot.pause()
        connected.choose(connected.bubbles[of])
        await person.press(key)
        asked = [each for each in told if isinstance(each, fact)]
        assert asked[0].message == stage.stored()[of]
        if fact is not messages.BranchAsked:
            connected.choose(connected.bubbles[1 - of])
            assert key not in person.screen.active_bindings


async def test_no_act_is_offered_that_nobody_answers(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("f9")
        offered = {name for name, ask in reading.ASKS.items()
                   if ask.binding.key in person.screen.active_bindings}  # fmt: skip
        assert offered == set(reading.CONNECTED)
        assert all(each.message for each in talk(person).bubbles)
        assert isinstance(talk(person).cursor, Answer)
