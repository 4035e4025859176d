"""The app on a stage: real sessions, a real child process, an engine that follows a script."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.screen import Screen
from textual.selection import SELECT_ALL
from textual.widgets import Static

from ondevice.acquire import PullPlan
from ondevice.chat import Chat
from ondevice.domain.cost import Price
from ondevice.domain.device import GpuLayers
from ondevice.domain.fit import MemoryVerdict
from ondevice.domain.generation import Adapter
from ondevice.domain.model import FileSpec, ModelFile, ModelSpec
from ondevice.domain.session import StoredMessage
from ondevice.errors import ModelNotHere, UnknownModel
from ondevice.settings import SettingsFile
from ondevice.storage.database import Database
from ondevice.storage.ledger import Ledger
from ondevice.storage.sessions import Sessions
from ondevice.tui.app import OnDeviceApp
from ondevice.tui.doors import Doors
from ondevice.tui.live import Live
from ondevice.tui.widgets.bubble import Bubble
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.prose import Prose

PATIENCE_S = 20.0
"""How long a test waits for what must happen; nothing waits that long when all is well."""

BASELINES = {"small": ("0.04", "0.04"), "frontier": ("2", "12"), "dear": ("20", "20")}
"""US dollars per million tokens, in and out."""

SETTINGS = "context = 2048\nmax_tokens = 4096\n"

FETCH = """
import json, sys, time
for event in json.loads(sys.argv[-1]):
    print(json.dumps(event), flush=True)
if event["event"] != "done":
    time.sleep(3600)
"""


async def wait_until(pilot: Pilot[int], happened: Callable[[], object]) -> None:
    """Let the app run until `happened()` is true."""
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        await pilot.pause(0.02)


def spec(name: str) -> ModelSpec:
    """A catalogue entry."""
    file = FileSpec("echo", "Q4_K_M", "someone/something", f"{name}.gguf", size_bytes=98_362_432)
    return ModelSpec(
        name=name,
        family="test",
        title=name,
        use="chat",
        parameters=135_000_000,
        active_parameters=135_000_000,
        context=2048,
        licence="Apache-2.0",
        terms=None,
        gated=False,
        shape=None,
        files=(file,),
    )


class Stage:
    """One app with what is behind it. Models are echo scripts, by name."""

    def __init__(
        self,
        folder: Path,
        name: str = "echo-model",
        make_chat: Callable[[Sessions], Chat] = Chat,
        live: Live | None = None,
        more: dict[str, dict[str, Any]] | None = None,
        settings: str = SETTINGS,
        **script: Any,
    ) -> None:
        """`script` is of the model `name`, `more` holds those of further ones."""
        self.folder = folder
        self.database = Database(folder / "data" / "ondevice.db", PATIENCE_S)
        self.sessions = Sessions(self.database)
        self.settings = SettingsFile(folder / "config" / "settings.toml")
        self.settings.path.parent.mkdir(exist_ok=True)
        self.settings.path.write_text(settings)
        self.chat = make_chat(self.sessions)
        self.live = live
        self.baselines = dict(BASELINES)
        self.files: dict[str, ModelFile] = {}
        self.adapters: tuple[Adapter, ...] = ()
        """Those of `ondevice --lora`; they hold for an app made after they were set."""
        self.gpu_layers: GpuLayers | None = None
        """That of `ondevice --gpu-layers`, in the same way."""
        self.accepted: list[str] = []
        """Addresses of terms."""
        self.fetched: list[dict[str, object]] = []
        """What a download says before it waits to be ended; one that says it is done ends."""
        self.judged = threading.Event()
        """Set once the hub is to answer what a model takes."""
        self.verdict: MemoryVerdict | None = None
        """What it then says."""
        self.specs = [spec(name), spec("second-model"), spec("absent-model")]
        self.add(name, **script)
        self.add("second-model", pieces=["second"])
        for other, its_script in (more or {}).items():
            self.specs.append(spec(other))
            self.add(other, **its_script)
        self.app = self.make_app(name)

    def add(self, name: str, **script: Any) -> ModelFile:
        """Make `name` a model that follows `script`; the fields are those of EchoScript."""
        path = self.folder / f"script-{len(self.files)}.json"
        path.write_text(json.dumps(script))
        self.files[name] = ModelFile(path, "echo", name, "Q4_K_M")
        return self.files[name]

    def use(self, file: ModelFile) -> Stage:
        """Have the app open with this model."""
        self.files["echo-model"] = file
        return self

    def attachable(self, name: str, text: str) -> None:
        """Put a file where questions look for those they name."""
        (self.folder / name).write_text(text)
        self.chat.folder = self.folder

    def make_app(self, model: str) -> OnDeviceApp:
        """An app over the same rooms."""
        doors = Doors(
            resolve=self._resolve,
            baselines=lambda: [(key, f"Cloud {key}", "why not") for key in self.baselines],
            price=self._price,
            baseline="small",
            frontier="frontier",
            shelf=lambda: [self._plan(each, file) for each in self.specs for file in each.files],
            accept_terms=self.accepted.append,
            judge=self._judge,
            remove=self._remove,
            settings=self.settings,
            adapters=self.adapters,
            gpu_layers=self.gpu_layers,
            accounts=lambda: Ledger(self.database).entries(),
            fetch=lambda form: [sys.executable, "-c", FETCH, *form, json.dumps(self.fetched)],
        )
        settings = self.settings.read().settings
        return OnDeviceApp(self.chat, self.sessions, doors, model, settings, self.live)

    def _resolve(self, name: str) -> ModelFile:
        if name in self.files:
            return self.files[name]
        if name in [each.name for each in self.specs]:
            raise ModelNotHere(f"{name} is not on this machine", hint="Install it first.")
        raise UnknownModel(f"no model is called {name}", hint="See: ondevice list")

    def _plan(self, each: ModelSpec, file: FileSpec) -> PullPlan:
        here = self.files.get(each.name)
        size = file.size_bytes
        return PullPlan(
            spec=each,
            file=file,
            remote=(),
            here=here.path if here else None,
            bytes_total=size,
            bytes_here=size or 0 if here else 0,
            free_disk_bytes=100 << 30,
            terms=None if each.terms in self.accepted else each.terms,
            gated=each.gated,
        )

    def _judge(self, plan: PullPlan) -> PullPlan:
        assert self.judged.wait(PATIENCE_S)
        return replace(plan, verdict=self.verdict, problem="the header did not come")

    def _remove(self, plan: PullPlan) -> int:
        self.files.pop(plan.spec.name, None)
        return plan.bytes_here

    def _price(self, key: str) -> Price:
        paid, made = self.baselines[key]
        return Price(
            baseline=key,
            title=f"Cloud {key}",
            input_usd_per_mtok=Decimal(paid),
            output_usd_per_mtok=Decimal(made),
            cached_usd_per_mtok=None,
            cache_min_tokens=None,
            price_date=date(2026, 11, 24),
            source="made for tests",
        )

    def stored(self) -> list[StoredMessage]:
        """All messages of the conversation used last."""
        recent = self.sessions.recent()
        return self.sessions.messages(recent[0].id) if recent else []

    def close(self) -> None:
        """End the engine and downloads, and close the database."""
        self.app.downloads.close()
        self.chat.close()
        self.database.close()


class Person:
    """Somebody at the keyboard, who waits for what must happen."""

    def __init__(self, stage: Stage, pilot: Pilot[int]) -> None:
        self.stage, self.pilot, self.app = stage, pilot, stage.app

    @property
    def screen(self) -> Screen[object]:
        return self.app.screen

    @property
    def composer(self) -> Composer:
        return self.app.chat_screen.query_one(Composer)

    @property
    def busy(self) -> bool:
        return self.app.chat_screen.busy

    def text(self, selector: str) -> str:
        """What a widget of the chat screen says; nothing before it is there."""
        found = self.app.chat_screen.query(f"{selector}, {selector} Static").results(Static)
        return "\n".join(str(widget.content) for widget in found)

    def bubbles(self) -> list[tuple[str, str]]:
        """(who, what) of every bubble, as shown."""
        found = [each for each in self.app.chat_screen.query(Bubble) if each.query(".who")]
        return [(str(bubble.query_one(".who", Static).content), shown(bubble)) for bubble in found]

    def facts(self) -> list[str]:
        """What stands right of the names."""
        found = self.app.chat_screen.query(".facts")
        return [str(fact.content) for fact in found if isinstance(fact, Static)]

    def notices(self) -> list[str]:
        """Every notification so far that is still up."""
        return [notice.message for notice in self.app._notifications]

    async def until(self, happened: Callable[[], object]) -> None:
        await wait_until(self.pilot, happened)

    async def ready(self) -> Person:
        """Until the model answers."""
        await self.until(lambda: "offline" in self.text("#running"))
        return self

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def write(self, text: str) -> None:
        """Put text into the composer as a paste would."""
        self.composer.insert(text)
        await self.pilot.pause()

    async def ask(self, text: str) -> None:
        """Send `text` and wait for the end of the answer."""
        before = len(self.bubbles())
        await self.send(text)
        await self.until(lambda: not self.busy and len(self.bubbles()) > before)

    async def send(self, text: str) -> None:
        """Send `text` and wait until it is on its way."""
        await self.write(text)
        await self.press("enter")
        await self.until(lambda: self.busy or self.composer.text == "")

    async def send_refused(self, text: str) -> None:
        """Try to send `text`, which stays in the composer."""
        said = len(self.notices())
        await self.write(text)
        await self.press("enter")
        await self.until(lambda: len(self.notices()) > said)
        assert self.composer.text == text


def shown(bubble: Bubble) -> str:
    """The text of a bubble's body, Markdown as its source."""
    body = bubble.body
    if isinstance(body, Prose):
        return body.text[: body.shown]
    return str(body.content) if isinstance(body, Static) else ""


def visible(prose: Prose) -> str:
    """What the rows of `prose` say, as it would be copied."""
    copied = prose.get_selection(SELECT_ALL)
    return copied[0] if copied else ""
