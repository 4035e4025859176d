"""The models screen: what it lists, and getting, pausing, using and deleting a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stage import Person, Stage
from textual.widgets import DataTable, Input, Static

from ondevice.domain.fit import MemoryEstimate, MemoryVerdict
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import Quality
from ondevice.tui.downloads import Form
from ondevice.tui.screens.confirm import ConfirmScreen
from ondevice.tui.screens.models import ModelsScreen

MakeStage = Callable[..., Stage]

ABSENT = Form("absent-model", "echo", "Q4_K_M", "absent-model.gguf")
TERMS = "https://example.com/terms"
HALF: dict[str, object] = {
    "event": "progress",
    "done_bytes": 50,
    "total_bytes": 100,
    "rate_bytes_per_s": 10.0,
}
DONE: dict[str, object] = {"event": "done"}


def rows(person: Person) -> list[str]:
    """The table's rows as text."""
    table = person.screen.query_one(DataTable)
    return [" ".join(str(cell) for cell in table.get_row_at(at)) for at in range(table.row_count)]


def detail(person: Person) -> str:
    return " ".join(str(person.screen.query_one("#facts", Static).content).split())


def question(person: Person) -> str:
    return " ".join(str(person.screen.query_one("#lines", Static).content).split())


async def look(person: Person, *keys: str) -> None:
    """Open the screen, and wait until it lists something."""
    await person.press("f2")
    await person.until(lambda: isinstance(person.screen, ModelsScreen) and rows(person))
    await person.press(*keys)


async def choose(person: Person, name: str) -> None:
    """Put the cursor on `name`."""
    table = person.screen.query_one(DataTable)
    at = next(at for at, row in enumerate(rows(person)) if name in row)
    table.move_cursor(row=at)
    await person.until(lambda: name in detail(person))


async def ask(person: Person, key: str) -> None:
    """Press what is followed by a question, and wait for it."""
    await person.press(key)
    await person.until(lambda: isinstance(person.screen, ConfirmScreen))


async def test_what_is_here_comes_first_and_says_so(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        listed = rows(person)
        assert [row.split()[-1] for row in listed[:2]] == ["here", "here"]
        assert "absent-model" in listed[2]
        assert "Apache-2.0" in listed[2]
        assert "94 MB" in listed[2]
        await pilot.resize_terminal(80, 24)
        await person.until(lambda: "Apache-2.0" not in rows(person)[2])


async def test_the_detail_says_who_measured_the_quality_and_under_which_terms(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    stage.specs[2] = replace(
        stage.specs[2],
        terms=TERMS,
        gated=True,
        note="a note",
        quality=(Quality("MMLU", 41.5, "somebody", "5-shot"),),
    )
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await choose(person, "absent-model")
        for words in ("MMLU 41.5 (by somebody, 5-shot)", TERMS, "HF_TOKEN", "a note", "profiled"):
            assert words in detail(person)


async def test_a_model_is_fetched_after_a_question_and_used_when_it_is_here(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    stage.fetched = [HALF]
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await choose(person, "absent-model")
        await ask(person, "enter")
        assert "94 MB · the disk has 100 GB free" in question(person)
        await person.press("enter", "n")
        assert stage.app.downloads.get(ABSENT) is None
        await ask(person, "enter")
        await person.press("y")
        await person.until(lambda: "50% 10 B/s 5.0 s" in rows(person)[2])
        await person.press("escape")
        await person.until(lambda: "↓ absent-model 50%" in person.text("#fetching"))
        await person.ask("while it is fetched")
        await look(person)
        await choose(person, "absent-model")
        await person.press("space")
        await person.until(lambda: "paused 50%" in rows(person)[2])
        stage.fetched = [DONE]
        stage.add("absent-model", pieces=["fetched"])
        await person.press("space")
        await person.until(lambda: "here" in rows(person)[-1] and "Downloaded" in titles(person))
        await choose(person, "absent-model")
        await person.press("enter")
        await person.until(lambda: "absent-model" in person.text("#running"))
        await person.ready()
        await person.ask("question")
        assert person.bubbles()[-1] == ("absent-model", "fetched")


def titles(person: Person) -> list[str]:
    return [notice.title for notice in person.app._notifications]


async def test_terms_are_accepted_once_and_only_by_a_yes(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    stage.specs[2] = replace(stage.specs[2], terms=TERMS)
    stage.fetched = [HALF]
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await choose(person, "absent-model")
        await ask(person, "enter")
        assert TERMS in question(person)
        await person.press("escape")
        assert stage.accepted == []
        await ask(person, "enter")
        await person.press("Y")  # as with Caps Lock
        await person.until(lambda: stage.accepted == [TERMS])


def of_llama_cpp(stage: Stage) -> None:
    """Make the absent model one whose file has a header to read."""
    absent = stage.specs[2]
    stage.specs[2] = replace(absent, files=(replace(absent.files[0], engine="llama.cpp"),))


WELL = MemoryVerdict(
    "well",
    MemoryEstimate(9 << 20, 0, 4 << 20, 0, 2 << 20, 1 << 20, 2048, "f16"),
    MachineMemory(16 << 30, 8 << 30),
    2048,
    "as its header says",
)


async def test_what_the_catalogue_does_not_know_the_hub_is_asked_while_one_reads_the_question(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    of_llama_cpp(stage)
    stage.verdict = WELL
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await choose(person, "absent-model")
        await ask(person, "enter")
        assert "unknown: the hub is being asked" in question(person)
        stage.judged.set()
        await person.until(lambda: "runs well: as its header says" in question(person))
        await person.press("escape")
        await person.until(lambda: "runs well" in detail(person))
        assert "well" in rows(person)[2]


async def test_why_the_hub_could_not_tell_stands_in_the_question(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    of_llama_cpp(stage)
    stage.judged.set()
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await choose(person, "absent-model")
        await ask(person, "enter")
        await person.until(lambda: "unknown: the header did not come" in question(person))


async def test_forms_that_are_alike_are_told_apart_and_fetched_each(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    absent = stage.specs[2]
    files = tuple(
        replace(absent.files[0], path=f"a-folder-of-a-long-name/{each}.gguf")
        for each in ("old", "new")
    )
    stage.specs[2] = replace(absent, files=files)
    stage.fetched = [HALF]
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        shown = [row.split()[1] for row in rows(person)[2:]]
        assert shown == ["…of-a-long-name/old.gguf", "…of-a-long-name/new.gguf"]
        table = person.screen.query_one(DataTable)
        table.move_cursor(row=3)
        await person.until(lambda: files[1].path in detail(person))
        await ask(person, "enter")
        await person.press("y")
        await person.until(lambda: "50%" in rows(person)[3])
        assert "50%" not in rows(person)[2]
        asked = stage.app.downloads.running
        assert asked is not None
        assert asked.form.path == files[1].path


async def test_why_a_download_failed_stands_in_the_detail(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    stage.fetched = [{"event": "error", "message": "the disk is full", "hint": "Make room."}]
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await choose(person, "absent-model")
        await ask(person, "enter")
        await person.press("y")
        await person.until(lambda: "the disk is full. Make room." in detail(person))


async def test_deleting_asks_first_and_then_the_model_is_gone(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await choose(person, "second-model")
        await ask(person, "delete")
        assert "94 MB of second-model.gguf" in question(person)
        assert "Its hash is not pinned: what is fetched again may be other" in question(person)
        await person.press("escape")
        assert "second-model" in stage.files
        await ask(person, "delete")
        await person.press("y")
        await person.until(lambda: "second-model" not in stage.files)
        await person.until(lambda: "second-model: 94 MB are free again." in person.notices())
        await choose(person, "absent-model")
        await person.press("delete")
        assert "Nothing of it is here." in person.notices()[-1]


async def test_what_has_come_of_a_download_is_deleted_also_while_it_runs(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    stage.fetched = [HALF]
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await choose(person, "absent-model")
        await ask(person, "enter")
        await person.press("y")
        await person.until(lambda: "50%" in rows(person)[2])
        await ask(person, "delete")
        assert "what an unfinished download left: 50 B of absent-model.gguf" in question(person)
        assert "what is fetched again may be other bytes" in question(person)
        await person.press("y")
        await person.until(lambda: stage.app.downloads.get(ABSENT) is None)
        await person.until(lambda: "are free again" in " ".join(person.notices()))


async def test_the_arrow_keys_move_at_once(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await person.until(lambda: isinstance(person.app.focused, DataTable))
        await person.press("down", "down")
        await person.until(lambda: "absent-model" in detail(person))


async def test_enter_in_the_filter_takes_the_only_match(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person, "slash", *"second")
        await person.press("enter")
        await person.until(lambda: "second-model" in person.text("#running"))


async def test_the_filter_narrows_the_table_and_escape_empties_it(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person, "slash", *"second")
        assert len(rows(person)) == 1
        await person.press(*"nothing")
        assert person.screen.query_one("#none").display
        await person.press("escape")
        assert len(rows(person)) == 3
        assert not person.screen.query_one(Input).display
        assert isinstance(person.app.focused, DataTable)


async def test_the_order_changes_and_the_cursor_stays_on_its_model(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await choose(person, "second-model")
        await person.press("s")
        assert [row.split()[0] for row in rows(person)] == [
            "absent-model",
            "echo-model",
            "second-model",
        ]
        assert "second-model" in detail(person)
        assert "name" in str(person.screen.query_one(DataTable).border_title)


async def test_names_with_markup_are_shown_as_they_are(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    stage.specs[2] = replace(stage.specs[2], name="[/b] [red]x", title="[/]", licence="[bold]")
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        assert any("[/b] [red]x" in row and "[bold]" in row for row in rows(person))
