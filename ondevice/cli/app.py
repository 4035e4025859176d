"""Open the app: put the rooms together and hand them to the screen."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ondevice import catalog, pricing
from ondevice.chat import Chat
from ondevice.cli.answering import adapter
from ondevice.cli.options import GPU_LAYERS
from ondevice.cli.storage import hash_of, most_state_bytes, open_storage
from ondevice.domain.text import clean
from ondevice.errors import OnDeviceError, UsageTrouble
from ondevice.hardware.sampler import memory_without
from ondevice.paths import Paths, user_paths
from ondevice.settings import SettingsFile, Trouble
from ondevice.storage.ledger import Ledger

if TYPE_CHECKING:
    from ondevice.acquire import PullPlan
    from ondevice.domain.generation import LoadOptions
    from ondevice.domain.memory import MachineMemory
    from ondevice.domain.model import ModelFile
    from ondevice.hub.records import Records
    from ondevice.storage.database import Database
    from ondevice.tui.app import OnDeviceApp
    from ondevice.tui.downloads import Form


def open_app(model: str | None, lora: Sequence[str] = (), gpu_layers: str | None = None) -> int:
    """Run the app until it is left; returns its exit code. `lora` are adapters of the model."""
    adapters = tuple(map(adapter, lora))
    layers = None if gpu_layers is None else GPU_LAYERS.convert(gpu_layers, None, None)
    _refuse_no_terminal()
    gc.disable()  # nothing dies while modules are imported: 5 % of the time
    from ondevice.tui.app import OnDeviceApp  # deferred: 270 ms, after the checks
    from ondevice.tui.doors import Doors

    gc.enable()
    paths = user_paths()
    file = SettingsFile(paths.settings)
    reading = file.read()
    chosen = reading.settings

    def usual() -> LoadOptions:
        """As the settings say by now."""
        return file.read().settings.load_options

    @cache  # after the first paint, and once
    def known() -> catalog.Catalog:
        return catalog.load(paths.user_catalogue)

    database, sessions, trouble = open_storage()
    doors = Doors(
        resolve=lambda name: _resolve(name, known()),
        baselines=lambda: [(b.key, b.title, b.why) for b in pricing.BASELINES],
        price=lambda key: pricing.price(key, cache_dir=paths.cache),
        baseline=pricing.DEFAULT_BASELINE,
        frontier=pricing.FRONTIER_BASELINE,
        shelf=lambda: _shelf(known(), paths, usual(), _memory_for_another(chat)),
        accept_terms=lambda terms: _records(paths).accept(terms),
        judge=lambda plan: _judge(plan, paths, usual, lambda: _memory_for_another(chat)),
        remove=lambda plan: _remove(plan, paths),
        fetch=fetching,
        settings=file,
        adapters=adapters,
        gpu_layers=layers,
        accounts=lambda: Ledger(database).entries() if database else [],
    )
    chat = Chat(
        sessions,
        model_hash=lambda file, read: hash_of(file, read, known(), paths),
        most_bytes=lambda: most_state_bytes(paths),
    )
    chat.use(chosen)
    app = OnDeviceApp(chat, sessions, doors, model or chosen.model, chosen)
    app.troubles += [*filter(None, [trouble]), *map(_in_settings, reading.troubles)]
    return run_app(app, chat, database)


def _refuse_no_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UsageTrouble(
            "the app needs a terminal",
            hint='For a pipe or a script: ondevice chat, or ondevice run "..."',
        )
    if os.environ.get("TERM") == "dumb":
        raise UsageTrouble(
            "TERM=dumb cannot place a cursor", hint="Without a screen: ondevice chat"
        )


def fetching(form: Form) -> list[str]:
    """The command that fetches `form` and tells of it line by line."""
    chosen = ["--engine", form.engine, "--quant", form.quantization, "--file", form.path]
    pull = [sys.executable, "-P", "-m", "ondevice.cli.main", "pull"]
    return [*pull, form.name, *chosen, "--events", "-y", "--parent", str(os.getpid())]


# The rest is imported after the first paint, or when somebody looks at models: it takes 100 ms.


def _resolve(name: str, known: catalog.Catalog) -> ModelFile:
    from ondevice.hub import local

    return local.resolve(name, known)


def _records(paths: Paths) -> Records:
    from ondevice.hub import records

    return records.of(paths)


def _memory_for_another(chat: Chat) -> MachineMemory:
    """What a model would find: loading it ends the engine of now first."""
    return memory_without(chat.info.pid if chat.info else None)


def _shelf(
    known: catalog.Catalog, paths: Paths, usual: LoadOptions, machine: MachineMemory
) -> list[PullPlan]:
    from ondevice import shelf
    from ondevice.hub import local
    from ondevice.hub.cache import HubCache

    cache = HubCache(local.hub_cache())
    return shelf.read(known, cache, _records(paths), machine, usual)


def _judge(
    plan: PullPlan,
    paths: Paths,
    usual: Callable[[], LoadOptions],
    machine: Callable[[], MachineMemory],
) -> PullPlan:
    """The same plan as the hub completes it, the verdict by its file's header. Never raises: who
    asked waits in a thread whose errors nobody sees.
    """
    from ondevice import acquire
    from ondevice.cli import bug
    from ondevice.hub import local, remote
    from ondevice.hub.cache import HubCache

    try:
        cache = HubCache(local.hub_cache())
        with remote.from_environment() as hub:
            own = _records(paths)
            return acquire.plan(hub, plan.spec, plan.file, cache, own, machine(), usual())
    except OnDeviceError as error:
        return replace(plan, problem=error.message)
    except Exception as error:
        return replace(plan, problem=bug.told(error).message)


def _remove(plan: PullPlan, paths: Paths) -> int:
    from ondevice.hub import local, upkeep
    from ondevice.hub.cache import HubCache

    cache, own = HubCache(local.hub_cache()), _records(paths)
    return upkeep.remove(cache, plan.file, own).freed_bytes


def run_app(app: OnDeviceApp, chat: Chat, database: Database | None) -> int:
    """Run until it is left, then save what was read, end the engine and close the database.

    Returns the exit code; raises what a bug in the app raised.
    """
    try:
        app.run()
        if app.bug is not None:
            raise app.bug
        return app.return_code or app.return_value or 0
    finally:
        for text in app.chat_screen.keep_waiting():
            print(f"Not stored, as sent: {clean(text)}", file=sys.stderr)
        chat.leave()
        if database:
            database.close()


def _in_settings(trouble: Trouble) -> str:
    """The hint last: it ends with a command, which a sentence behind it would run into."""
    return f"Settings: {trouble.message}. The default holds. {trouble.hint}"
