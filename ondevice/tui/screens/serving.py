"""The side of the chat screen that loads its model and says which one answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from textual import on, work
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from ondevice.chat import Chat
from ondevice.domain.device import GpuLayers
from ondevice.domain.generation import Adapter, LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean_line
from ondevice.errors import NotLoaded, OnDeviceError
from ondevice.settings import Settings
from ondevice.tui import messages
from ondevice.tui.live import Live
from ondevice.tui.turn import load_model, read_memory
from ondevice.tui.widgets.bubble import Trouble
from ondevice.tui.widgets.conversation import Conversation
from ondevice.tui.widgets.keys import key_of
from ondevice.tui.widgets.topbar import TopBar


class ServingScreen(Screen[None]):
    """A screen with a conversation, a top bar, and a model that is loaded in the background."""

    def __init__(self, chat: Chat, settings: Settings, live: Live) -> None:
        super().__init__()
        self._chat, self.settings, self._live = chat, settings, live
        self._loaded_with = settings.load_options
        self._gpu_layers: GpuLayers | None = None
        """What the command says that opened the app, whatever the settings say."""
        self._loading: ModelFile | None = None
        """Messages about another file come too late."""
        self._awaited: Future[bool] | None = None
        """What a question waits for that was sent meanwhile: whether it is to be answered."""

    def stop_first(self) -> bool:
        """Whether an answer is running; then that is said."""
        raise NotImplementedError

    @property
    def can_reload(self) -> bool:
        """Whether loading again would change something."""
        loaded = self._live.info and self._loaded_with == self._as_set
        return not (loaded or self._loading) and self._chat.file is not None

    @property
    def _as_set(self) -> LoadOptions:
        """As the settings say, with the adapters of the model that is loaded."""
        return replace(self._usual, adapters=self._loaded_with.adapters)

    @property
    def _usual(self) -> LoadOptions:
        usual = self.settings.load_options
        return usual if self._gpu_layers is None else replace(usual, gpu_layers=self._gpu_layers)

    def begin(
        self,
        file: ModelFile,
        adapters: tuple[Adapter, ...],
        gpu_layers: GpuLayers | None = None,
    ) -> None:
        """Load the first model; another one has adapters of its own, if any."""
        self._gpu_layers = gpu_layers
        self.load(file, replace(self._usual, adapters=adapters))

    def load(self, file: ModelFile, options: LoadOptions | None = None) -> None:
        """Make `file` the model, in the background; without `options` as the settings say, one that
        is loaded again with its adapters."""
        if not self.stop_first():
            self.call_later(self._conversation.take_away, ".not-loaded")  # it is past
            last = self._chat.options.adapters if self._is_chosen(file) else ()
            self._begin_loading(file, options or replace(self._usual, adapters=last))

    def _is_chosen(self, file: ModelFile) -> bool:
        return self._chat.file is not None and self._chat.file.path == file.path

    def _begin_loading(self, file: ModelFile, options: LoadOptions) -> None:
        self._live.lose_engine()
        if not self._is_chosen(file):
            self._live.begin_turn()  # those numbers are of the model before
        self._loading = file = replace(file)  # the same one may be chosen twice
        self._loaded_with = options
        self._say_model(f"loading {file.name}")
        self._load(file)

    @work(thread=True, exclusive=True, exit_on_error=False, group="engine")
    def _load(self, file: ModelFile) -> None:
        load_model(self._chat, file, self._loaded_with, self.post_message)

    @on(messages.ModelLoading)
    def _show_loading(self, event: messages.ModelLoading) -> None:
        if event.file is self._loading:
            self._say_model(f"loading {event.file.name} {event.fraction:.0%}")

    @on(messages.ModelReady)
    def _show_ready(self, event: messages.ModelReady) -> None:
        if event.file is not self._loading:
            return
        self._live.info, self._loading = event.info, None
        name = f"{event.file.name} {event.file.quantization}".strip() + event.info.with_adapters
        backend = f"{event.info.engine} {event.info.place}"
        self._say_model(
            f"{clean_line(name, 40)} · {backend} · offline",
            f"{name} answers on this machine ({backend}); nothing you write leaves it.",
        )
        for notice in event.info.notices:
            self._say(notice.message)
        self._end_wait(True)
        self._read_memory()

    @on(messages.ModelFailed)
    async def show_load_failure(self, event: messages.ModelFailed) -> None:
        """Say why and what to do, and load the model before again. A name without a file changes
        nothing about another model."""
        failed, before = event.file, self._chat.file
        if failed is not None and failed is not self._loading:
            return
        if failed is self._loading:
            self._loading = None
            if self._live.info is None:
                self._say_model("no model")
        # The error's own hint last: it may end with a command.
        hint = f"{key_of(self, 'app.models')} shows what is on this machine. {event.error.hint}"
        if failed is not None and before is not None and before is not failed:
            hint = f"{before.name} is loaded again. {hint}"
            self._begin_loading(before, self._chat.options)
        if self._awaited is None:
            trouble = Trouble(event.error, hint.strip())
            trouble.add_class("not-loaded")
            await self._conversation.add(trouble)
            return
        refused = NotLoaded(event.error.message, hint.strip())
        refused.log_tail = event.error.log_tail
        self._end_wait(refused)  # the end of its turn says it

    @property
    def is_loading(self) -> bool:
        return self._loading is not None

    def on_unmount(self) -> None:
        """No thread is left waiting."""
        self._end_wait(False)

    def _await_model(self) -> Callable[[], bool]:
        """What a turn calls that waits for the model, see `send_ahead`."""
        self._awaited = Future()
        return self._awaited.result

    def _end_wait(self, how: bool | NotLoaded) -> None:
        """Let a question go on that waits for the model, if one does."""
        awaited, self._awaited = self._awaited, None
        if awaited is not None and isinstance(how, NotLoaded):
            awaited.set_exception(how)
        elif awaited is not None:
            awaited.set_result(how is True)

    def action_reload(self) -> None:
        """Load the model again: one whose engine stopped, or with settings that changed."""
        if self._chat.file is not None:
            self.load(self._chat.file, self._as_set)

    def note_engine_gone(self) -> None:
        """Say that it stopped, and how it is loaded again."""
        self._live.lose_engine()
        self._say_model(f"the engine stopped · {key_of(self, 'chat.reload')} loads it again")

    def look_at_engine(self) -> None:
        """It can end while nobody asks, such as when its state is saved."""
        if self._live.info is not None and self._chat.info is None:
            self.note_engine_gone()

    def load_first(self) -> bool:
        """Whether no model is ready; then that is said."""
        self.look_at_engine()
        chooses = f"{key_of(self, 'app.models')} chooses one."
        advice = "It is being loaded." if self._loading else chooses
        if self._live.info is None:
            self._say(f"No model is ready. {advice}")
        return self._live.info is None

    @property
    def _conversation(self) -> Conversation:
        return self.query_one(Conversation)

    def _say(self, text: str, severity: SeverityLevel = "information") -> None:
        self.notify(clean_line(text), severity=severity, markup=False)

    def _say_model(self, short: str, whole: str = "") -> None:
        self.query_one(TopBar).show(short)
        self._conversation.name_model(clean_line(whole or short))
        self.refresh_bindings()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A bug in a worker must not look like waiting."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            raise event.worker.error

    def in_thread(self, act: Callable[[], Message], last: Message | None = None) -> None:
        """Do what may wait for the disk. The fact that comes of it is posted, or its trouble told;
        `last` in any case."""

        def run() -> None:
            try:
                self.post_message(act())
            except OnDeviceError as error:
                self.post_message(messages.ActFailed(error))
            finally:
                if last is not None:
                    self.post_message(last)

        self.run_worker(run, thread=True, exit_on_error=False, group="acts")

    @work(thread=True, exclusive=True, exit_on_error=False, group="memory")
    def _read_memory(self) -> None:
        read_memory(self._live)
