"""Copies of messages and code: what they hold, where they go, and what is said of them."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from stage import Person, Stage
from terminal import Terminal
from textual.widgets import OptionList

from ondevice.chat import copying

MakeStage = Callable[..., Stage]

CODE = "Two:\n\n```python\nif x:\n\ty = 1\n```\n\n- item\n  ~~~\n  ls -l\n  ~~~\n"


def kept(stage: Stage) -> str:
    return (stage.folder / "data" / "copied.txt").read_text(encoding="utf-8")


async def test_a_message_is_copied_as_it_was_written(make_stage: MakeStage) -> None:
    said = "A **bold** \x1b[31mword " + "that goes on " * 20
    stage = make_stage(pieces=[said])
    async with stage.app.run_test(size=(40, 20)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("ctrl+r", "c")
        written = said.replace("\x1b", "")
        assert person.app.clipboard == kept(stage) == written
        file = stage.folder / "data" / "copied.txt"
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
        await person.press("ctrl+r", "y")
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
        await person.press("ctrl+r", "y")
        assert person.notices() == ["There is no code block in this message."]
        assert person.app.clipboard == ""


async def test_what_is_too_long_for_a_terminal_is_in_the_file_alone(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["语" * (copying.LONGEST // 3 + 1)])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("ctrl+r", "c")
        await person.until(person.notices)
        assert person.app.clipboard == ""
        assert kept(stage) == "语" * (copying.LONGEST // 3 + 1)
        assert "too long for a terminal; it is in" in person.notices()[-1]


async def test_a_copy_goes_to_the_terminal_where_no_file_can_be_written(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    (stage.folder / "data" / "copied.txt").mkdir()
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("ctrl+r", "c")
        assert person.app.clipboard == "yes"
        assert "cannot be written" in person.notices()[-1]


def test_the_copy_in_the_file_is_private_and_replaces_what_is_there(
    open_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """Through a real terminal: the sequence it gets is the one that it knows."""
    file = tmp_path / "data" / "copied.txt"
    file.parent.mkdir(exist_ok=True)
    (tmp_path / "elsewhere").write_text("stays")
    file.symlink_to(tmp_path / "elsewhere")
    terminal = open_terminal(pieces=["an answer"]).wait_ready()
    terminal.write("question\r")
    terminal.expect("1 tok")
    terminal.write("\x12")
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
