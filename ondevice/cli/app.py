"""Open the app: put the rooms together and hand them to the screen."""

from __future__ import annotations

import sys

from ondevice import catalog, pricing, settings
from ondevice.chat import Chat
from ondevice.domain.cost import Price
from ondevice.domain.generation import LoadOptions
from ondevice.errors import StorageTrouble, UsageTrouble
from ondevice.hub import local
from ondevice.paths import user_paths
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions


def open_app(model: str | None) -> int:
    """Run the app until it is left; returns its exit code."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageTrouble(
            "the app needs a terminal", hint='For a pipe or a script: ondevice run "..."'
        )
    from ondevice.tui.app import Doors, OnDeviceApp  # deferred: 270 ms, after the checks

    paths = user_paths()
    chosen = settings.load(paths.settings)
    known = catalog.load(paths.user_catalogue)

    def price(key: str) -> Price:
        return pricing.price(key, cache_dir=paths.cache)

    doors = Doors(
        catalog=lambda: known,
        resolve=lambda name: local.resolve(name, known),
        find=local.find,
        baselines=lambda: [(b.key, b.title, b.why) for b in pricing.BASELINES],
        price=price,
    )
    database, trouble = _open_database()
    sessions = Sessions(database) if database else None
    chat = Chat(sessions, price(chosen.baseline or pricing.DEFAULT_BASELINE))
    options = LoadOptions(n_ctx=chosen.context or None, threads=chosen.threads or None)
    app = OnDeviceApp(chat, sessions, doors, model or chosen.model, options, chosen.max_tokens)
    app.trouble = trouble
    try:
        return app.run() or 0
    finally:
        chat.close()
        if database:
            database.close()


def _open_database() -> tuple[Database | None, str]:
    """The database, or none with the reason: the app works without keeping anything."""
    try:
        database = Database(user_paths().database)
    except StorageTrouble as error:
        return None, f"Nothing will be kept: {error.message}"
    if database.set_aside:
        return database, f"The database was unreadable and is now {database.set_aside.name}."
    return database, ""
