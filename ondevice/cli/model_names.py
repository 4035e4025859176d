"""What a shell offers where a model is named: names, and files.

Imported with every command, so nothing is read before a shell asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.shell_completion import CompletionItem


class ModelName(click.types.StringParamType):
    """A name or a path, of any model or of one that is here."""

    def __init__(self, here: bool) -> None:
        self._here = here

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        name = str(super().convert(value, param, ctx))
        if not name.strip():  # an empty variable of a script must not mean the usual model
            self.fail("it is empty; ondevice list shows names", param, ctx)
        return name

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # deferred: few ask

        # The file first: bash forgets what it was offered before it, and offers files where no
        # name follows.
        files = CompletionItem(incomplete, type="file")
        return [files, *(CompletionItem(each) for each in self._begun(incomplete))]

    def _begun(self, incomplete: str) -> Iterator[str]:
        from ondevice import catalog  # deferred, as above
        from ondevice.hub import local
        from ondevice.paths import user_paths

        for spec in catalog.load(user_paths().user_catalogue).models:
            if spec.name.startswith(incomplete.lower()) and (not self._here or local.find(spec)):
                yield spec.name


class FileName(click.types.StringParamType):
    """What begins with the path of a file."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # deferred, as above

        return [CompletionItem(incomplete, type="file")]


ANY_MODEL, MODEL_HERE = ModelName(here=False), ModelName(here=True)
LORA = FileName()
