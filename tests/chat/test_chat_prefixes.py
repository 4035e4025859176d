"""What a model has read of a session is there at the next start, and goes with the session."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from chatting import last, notices, states
from echoing import PRICE, echo_file
from splitting import split_gguf
from tiny import TINY

from ondevice import catalog
from ondevice.chat import Chat, ChatEvent
from ondevice.chat.ahead import send_ahead
from ondevice.chat.prefixes import ModelHash, MostBytes, Prefixes
from ondevice.cli.storage import hash_of
from ondevice.domain.generation import (
    GREEDY,
    GenerationRequest,
    LoadOptions,
    Prompt,
    TextDelta,
)
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.engines.process import EngineProcess
from ondevice.errors import ContextOverflow, EngineClosed, EngineCrashed, EngineTrouble
from ondevice.gguf.shapes import write_shape
from ondevice.paths import Paths
from ondevice.settings import Settings
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

Start = Callable[..., Chat]
STORY = "Once there was a river that ran to the sea. " * 12


@pytest.fixture
def start(tmp_path: Path, starter_path: Path) -> Iterator[Start]:
    """`start(n_ctx, settings, model, most_bytes)`: the app's core as a new process has it, a model
    loaded."""
    paths = Paths(tmp_path / "config", tmp_path, tmp_path / "cache")
    known = catalog.load(None)
    with ExitStack() as stack:

        def begin(
            n_ctx: int = 1024,
            settings: Settings | None = None,
            model: Path = starter_path,
            most_bytes: MostBytes | None = None,
        ) -> Chat:
            database = stack.enter_context(closing(Database(tmp_path / "ondevice.db")))
            chat = Chat(
                Sessions(database),
                PRICE,
                None,
                lambda file, read: hash_of(file, read, known, paths),
                most_bytes,
            )
            stack.callback(chat.close)
            chat.use(settings or Settings())
            chat.load(ModelFile(model, "llama.cpp", "starter"), LoadOptions(n_ctx=n_ctx))
            return chat

        yield begin


def ask(chat: Chat, text: str) -> list[ChatEvent]:
    return list(chat.send(text, GREEDY, 4))


def cached(events: list[ChatEvent]) -> int:
    (measured,) = [event for event in events if isinstance(event, Measured)]
    return measured.done.usage.cached_tokens


def told(events: list[ChatEvent]) -> list[str]:
    """What was said of states; that threads follow the load is said, too."""
    return [notice.message for notice in notices(events) if notice.code == "state"]


def test_a_session_goes_on_after_a_restart_without_being_read_again(
    start: Start, tmp_path: Path
) -> None:
    first = start()
    ask(first, STORY)
    read = last(first).prompt_tokens
    session = first.conversation.session
    first.leave()
    (state,) = (tmp_path / "states").iterdir()
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert first.info is None
    second = start()
    second.open(session)
    events = ask(second, "And then?")
    assert cached(events) >= read
    assert told(events) == []


def test_what_was_saved_while_nobody_waited_outlives_a_kill(start: Start, tmp_path: Path) -> None:
    first = start()
    ask(first, STORY)
    read = last(first).prompt_tokens
    session = first.conversation.session
    first.save()
    assert states(tmp_path) == ["1.state"]
    assert first.info is not None
    os.kill(first.info.pid, signal.SIGKILL)
    second = start()
    second.open(session)
    assert cached(ask(second, "And then?")) >= read


def test_nothing_is_saved_while_an_answer_is_made(start: Start, tmp_path: Path) -> None:
    chat = start()
    events = chat.send(STORY, GREEDY, 40)
    for event in events:
        if isinstance(event, TextDelta):
            with pytest.raises(EngineTrouble, match="busy"):
                chat.save()
            break
    assert states(tmp_path) == []
    list(events)
    chat.save()
    assert states(tmp_path) == ["1.state"]


@pytest.mark.parametrize("meanwhile", ["saving", "opening another session"])
def test_an_engine_that_ends_while_nobody_asks_is_not_said_to_answer(
    meanwhile: str, start: Start, tmp_path: Path
) -> None:
    chat = start()
    ask(chat, STORY)
    assert chat.info is not None
    assert chat.file is not None
    os.kill(chat.info.pid, signal.SIGKILL)
    if meanwhile == "saving":
        with pytest.raises(EngineCrashed):
            chat.save()
    else:
        before = set(threading.enumerate())
        chat.open(None)
        for thread in set(threading.enumerate()) - before:
            thread.join(30)
    assert chat.info is None
    chat.load(ModelFile(chat.file.path, "llama.cpp", "starter"), LoadOptions(n_ctx=1024))
    ask(chat, STORY)
    chat.save()
    assert len(states(tmp_path)) == 1


def test_a_new_session_reads_all_after_a_restart(start: Start) -> None:
    first = start()
    ask(first, STORY)
    first.leave()
    assert cached(ask(start(), STORY)) == 0


@pytest.mark.parametrize("switch", ["another model", "the same model with more context"])
def test_a_switch_of_the_model_saves(switch: str, start: Start, tmp_path: Path) -> None:
    chat = start()
    ask(chat, STORY)
    assert chat.file is not None
    if switch == "another model":
        chat.load(echo_file(tmp_path), LoadOptions())
    else:
        chat.load(ModelFile(chat.file.path, "llama.cpp", "starter"), LoadOptions(n_ctx=2048))
    assert states(tmp_path) == ["1.state"]


def test_opening_another_session_saves_and_coming_back_takes_it_up(
    start: Start, tmp_path: Path
) -> None:
    chat = start()
    ask(chat, STORY)
    session, read = chat.conversation.session, last(chat).prompt_tokens
    chat.open(None)
    ask(chat, "What is the capital of France? " * 8)
    assert states(tmp_path) == ["1.state"]
    chat.open(session)
    assert cached(ask(chat, "And then?")) >= read
    assert states(tmp_path) == ["1.state", "2.state"]


def test_the_model_is_not_hashed_while_a_question_that_waited_for_it_is_answered(
    tmp_path: Path, starter_path: Path
) -> None:
    hashed: list[bool] = []

    def sha256(file: ModelFile, read: bool) -> str:
        hashed.append(read)
        return "1" * 64

    def loaded() -> bool:
        chat.load(ModelFile(starter_path, "llama.cpp", "starter"), LoadOptions(n_ctx=512))
        for thread in threading.enumerate():
            if "_settle_quietly" in thread.name:
                thread.join(30)
        return True

    with closing(Database(tmp_path / "ondevice.db")) as database:
        chat = Chat(Sessions(database), PRICE, None, sha256)
        list(send_ahead(chat, "Say yes.", GREEDY, 4, loaded))
        assert True not in hashed
        chat.save()
        assert True in hashed
        chat.leave()


def test_opening_alone_saves_in_the_background(start: Start, tmp_path: Path) -> None:
    chat = start()
    ask(chat, STORY)
    before = set(threading.enumerate())
    chat.open(None)
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert states(tmp_path) == ["1.state"]


class TestNothingIsKept:
    def test_of_a_private_session(self, start: Start, tmp_path: Path) -> None:
        chat = start()
        chat.open(None, private=True)
        ask(chat, STORY)
        chat.open(None)
        chat.leave()
        assert states(tmp_path) == []

    def test_of_a_private_session_in_the_file_of_another(
        self, start: Start, tmp_path: Path
    ) -> None:
        chat = start()
        ask(chat, "Say yes.")
        chat.open(None, private=True)
        ask(chat, "Xylocarp. " * 10)
        chat.leave()
        (state,) = (tmp_path / "states").iterdir()
        assert b"Say yes." in state.read_bytes()
        assert b"Xylocarp" not in state.read_bytes()

    def test_of_a_private_session_in_the_file_of_the_next(
        self, start: Start, tmp_path: Path
    ) -> None:
        chat = start()
        chat.open(None, private=True)
        ask(chat, "Xylocarp. " * 10)
        chat.open(None)
        ask(chat, "Say yes.")
        chat.leave()
        (state,) = (tmp_path / "states").iterdir()
        assert b"Say yes." in state.read_bytes()
        assert b"Xylocarp" not in state.read_bytes()

    def test_where_the_setting_is_off_and_what_was_kept_goes(
        self, start: Start, tmp_path: Path
    ) -> None:
        chat = start()
        ask(chat, STORY)
        chat.leave()
        assert states(tmp_path) == ["1.state"]
        chat = start(settings=Settings(keep_prefixes=False))
        assert states(tmp_path) == []
        ask(chat, STORY)
        chat.leave()
        assert states(tmp_path) == []

    @pytest.mark.parametrize(
        ("first", "by_now", "kept"),
        [(True, 0, []), (True, 1000, []), (True, None, ["1.state"]), (False, 2**30, ["1.state"])],
        ids=["off", "a smaller cap", "misspelled", "on"],
    )
    def test_but_what_the_settings_say_by_now(
        self, first: bool, by_now: int | None, kept: list[str], start: Start, tmp_path: Path
    ) -> None:
        said: int | None = 2**30 if first else 0
        chat = start(settings=Settings(keep_prefixes=first), most_bytes=lambda: said)
        ask(chat, STORY)
        said = by_now
        chat.leave()
        assert states(tmp_path) == kept

    def test_beyond_the_cap(self, start: Start, tmp_path: Path) -> None:
        chat = start(settings=Settings(keep_prefixes_bytes=1000))
        ask(chat, STORY)
        chat.leave()
        assert states(tmp_path) == []

    @pytest.mark.parametrize("cap", [0, 1000], ids=["none", "a small one"])
    def test_beyond_a_cap_that_comes_later(self, cap: int, start: Start, tmp_path: Path) -> None:
        chat = start()
        ask(chat, STORY)
        chat.leave()
        assert states(tmp_path) == ["1.state"]
        start(settings=Settings(keep_prefixes_bytes=cap))
        assert states(tmp_path) == []

    @pytest.mark.parametrize("cap", [None, 1000], ids=["switched off", "a smaller cap"])
    def test_that_is_being_saved_when_the_settings_change(
        self, cap: int | None, tmp_path: Path
    ) -> None:
        class Meanwhile(EngineProcess):
            def save_state(self, path: Path, model_sha256: str) -> int:
                prefixes.use(cap or 0)
                return super().save_state(path, model_sha256)

        write_shape(TINY, "F16", tmp_path / "model.gguf")
        file, engine = (
            ModelFile(tmp_path / "model.gguf", "llama.cpp", "tiny"),
            Meanwhile("llama.cpp"),
        )
        with closing(Database(tmp_path / "ondevice.db")) as database, closing(engine):
            sessions = Sessions(database)
            prefixes = Prefixes(sessions, lambda _file, _read: "1" * 64)
            prefixes.release(file)
            prefixes.serve(engine, engine.load(file, LoadOptions(n_ctx=512)), file)
            prefixes.note_asked()
            list(engine.generate(GenerationRequest(Prompt.chat("Say yes."), GREEDY, 4)))
            prefixes.note_turn(sessions.create("Say yes.").id)
            prefixes.release()
            assert (tmp_path / "states").is_dir()
            assert states(tmp_path) == []

    def test_under_the_name_of_a_session_that_the_engine_refused(
        self, start: Start, tmp_path: Path
    ) -> None:
        chat = start(n_ctx=512)
        ask(chat, STORY)
        chat.open(None)
        with pytest.raises(ContextOverflow):
            ask(chat, STORY * 10)
        chat.leave()
        assert states(tmp_path) == ["1.state"]


class TestDeleted:
    @pytest.mark.parametrize("everything", [False, True], ids=["one", "all"])
    def test_with_its_session(self, everything: bool, start: Start, tmp_path: Path) -> None:
        chat = start()
        ask(chat, STORY)
        chat.open(None)
        ask(chat, STORY)
        chat.leave()
        assert states(tmp_path) == ["1.state", "2.state"]
        with closing(Database(tmp_path / "ondevice.db")) as database:
            sessions = Sessions(database)
            if everything:
                sessions.delete_all()
            else:
                sessions.delete([1])
        assert states(tmp_path) == ([] if everything else ["2.state"])

    def test_meanwhile_it_is_not_saved_again(self, start: Start, tmp_path: Path) -> None:
        chat = start()
        ask(chat, STORY)
        with closing(Database(tmp_path / "ondevice.db")) as database:
            Sessions(database).delete_all()
        chat.leave()
        assert states(tmp_path) == []


def hash_now(file: ModelFile) -> str:
    """Of what lies under its name."""
    return hashlib.sha256(file.path.read_bytes()).hexdigest()


@contextmanager
def opened(folder: Path, model: Path, model_hash: ModelHash) -> Iterator[Chat]:
    """As `start` does it, with hashes of the test's own."""
    with closing(Database(folder / "ondevice.db")) as database:
        chat = Chat(Sessions(database), PRICE, None, model_hash)
        try:
            chat.load(ModelFile(model, "llama.cpp", "starter"), LoadOptions(n_ctx=512))
            yield chat
        finally:
            chat.close()


class TestAnotherModelUnderTheSameName:
    """Of the same size, as a later training of the same shape is."""

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        write_shape(TINY, "F16", tmp_path / "model.gguf")
        return tmp_path / "model.gguf"

    @pytest.fixture
    def other(self, model: Path) -> Path:
        data = bytearray(model.read_bytes())
        data[-1000] ^= 1
        path = model.with_name("other.gguf")
        path.write_bytes(data)
        return path

    def test_that_comes_before_leaving_is_not_said_to_be_the_state_s(
        self, start: Start, tmp_path: Path, model: Path, other: Path
    ) -> None:
        first = start(512, model=model)
        ask(first, "Say yes.")
        session = first.conversation.session
        other.replace(model)
        first.leave()
        assert states(tmp_path) == []
        second = start(512, model=model)
        second.open(session)
        assert cached(ask(second, "And then?")) == 0

    def test_that_was_loaded_does_not_take_up_the_state_of_the_one_that_came_back(
        self, tmp_path: Path, model: Path, other: Path
    ) -> None:
        with opened(tmp_path, model, lambda file, _read: hash_now(file)) as first:
            ask(first, "Say yes.")
            session = first.conversation.session
            first.leave()
        assert states(tmp_path) == ["1.state"]
        aside = model.rename(tmp_path / "aside.gguf")
        other.rename(model)
        with opened(tmp_path, model, lambda file, _read: hash_now(file)) as second:
            aside.replace(model)
            second.open(session)
            assert cached(ask(second, "And then?")) == 0

    def test_that_comes_while_the_first_one_is_hashed_is_not_taken_for_it(
        self, tmp_path: Path, model: Path, other: Path
    ) -> None:
        def replaced_meanwhile(file: ModelFile, read: bool) -> str | None:
            found = hash_now(file) if read else None
            if read and other.exists():
                other.replace(model)
            return found

        with opened(tmp_path, model, replaced_meanwhile) as chat:
            ask(chat, "Say yes.")
            chat.leave()
        assert states(tmp_path) == []

    def test_in_a_later_part_of_a_split_model_is_noticed_as_well(
        self, start: Start, tmp_path: Path, model: Path, other: Path
    ) -> None:
        parts, later = split_gguf(model, tmp_path), split_gguf(other, tmp_path, "other")
        first = start(512, model=parts[0])
        ask(first, "Say yes.")
        session = first.conversation.session
        first.save()
        assert states(tmp_path) == ["1.state"]
        first.leave()
        second = start(512, model=parts[0])
        second.open(session)
        assert cached(ask(second, "And then?")) > 0
        later[1].replace(parts[1])
        second.leave()
        third = start(512, model=parts[0])
        third.open(session)
        assert cached(ask(third, "And then?")) == 0


class TestAStateThatIsRefused:
    def test_is_told_with_the_reason_and_the_turn_goes_on(
        self, start: Start, tmp_path: Path
    ) -> None:
        first = start()
        ask(first, STORY)
        session = first.conversation.session
        first.leave()
        second = start(n_ctx=2048)
        second.open(session)
        events = ask(second, "And then?")
        assert told(events) == [
            "the saved state of this conversation is not used: it is of another context size"
        ]
        assert cached(events) == 0
        assert told(ask(second, "And then?")) == []
        second.leave()
        third = start(n_ctx=2048)
        third.open(session)
        assert cached(ask(third, "And then?")) > 0

    def test_because_it_is_damaged_is_read_again(self, start: Start, tmp_path: Path) -> None:
        first = start()
        ask(first, STORY)
        session = first.conversation.session
        first.leave()
        (state,) = (tmp_path / "states").iterdir()
        data = bytearray(state.read_bytes())
        data[len(data) // 2] ^= 1
        state.write_bytes(data)
        second = start()
        second.open(session)
        events = ask(second, "And then?")
        assert told(events) == ["the saved state of this conversation is not used: it is damaged"]
        assert cached(events) == 0


def test_an_engine_that_is_killed_while_it_saves_leaves_nothing_half(
    start: Start, tmp_path: Path
) -> None:
    first = start()
    ask(first, STORY)
    session, info = first.conversation.session, first.info
    assert info is not None
    leaving = threading.Thread(target=first.leave)
    leaving.start()
    os.kill(info.pid, signal.SIGKILL)
    leaving.join(30)
    assert states(tmp_path) in ([], ["1.state"])
    second = start()
    second.open(session)
    events = ask(second, "And then?")
    assert told(events) == []
    assert (cached(events) > 0) == (states(tmp_path) != [])


def test_leaving_while_the_state_of_the_model_before_is_saved_loads_no_other(
    tmp_path: Path, starter_path: Path
) -> None:
    saving, may_save = threading.Event(), threading.Event()

    def slow(file: ModelFile, read: bool) -> str | None:
        if read and threading.current_thread() is loading:
            saving.set()
            may_save.wait(60)
        return "1" * 64

    def load() -> None:
        with pytest.raises(EngineClosed):
            chat.load(echo_file(tmp_path, load_hangs=True), LoadOptions(n_ctx=256))
        refused.set()

    loading, refused = threading.Thread(target=load), threading.Event()
    with closing(Database(tmp_path / "ondevice.db")) as database:
        chat = Chat(Sessions(database), PRICE, None, slow)
        chat.load(ModelFile(starter_path, "llama.cpp", "starter"), LoadOptions(n_ctx=512))
        ask(chat, "Say yes.")
        loading.start()
        assert saving.wait(60)
        chat.leave()
        may_save.set()
        loading.join(20)
        chat.close()  # of what was loaded all the same
        assert refused.is_set()
        loading.join(20)


def test_leaving_does_not_wait_for_a_save_that_takes_long(
    tmp_path: Path, starter_path: Path
) -> None:
    never = threading.Event()

    def slow(file: ModelFile, read: bool) -> str | None:
        if read:
            never.wait(60)
        return None

    with closing(Database(tmp_path / "ondevice.db")) as database:
        chat = Chat(Sessions(database), PRICE, None, slow)
        chat.load(ModelFile(starter_path, "llama.cpp", "starter"), LoadOptions(n_ctx=512))
        ask(chat, "Say yes.")
        began = time.monotonic()
        chat.leave()
        assert time.monotonic() - began < 2.0
        never.set()
    assert states(tmp_path) == []
