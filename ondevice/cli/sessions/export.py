"""`ondevice sessions export`: a conversation as a file."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from ondevice.chat import transfer
from ondevice.cli.options import session_id
from ondevice.cli.storage import tree_of
from ondevice.domain.text import clean, clean_line
from ondevice.errors import UsageTrouble


@click.command()
@click.argument("session", metavar="ID", type=session_id)
@click.option(
    "--format", "form", type=click.Choice(["md", "json"]), help="Default: as FILE ends, or md."
)
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE.")
def export(session: int, form: str | None, output: Path | None, force: bool) -> None:
    """Write a conversation as Markdown (what is shown) or JSON (all of it, to be imported)."""
    tree = tree_of(session)
    form = form or ("json" if output is not None and output.suffix == ".json" else "md")
    data = transfer.exported(tree, form)
    if output is None:
        # bytes, as the terminal's own encoding may not have every character of a conversation
        sys.stdout.buffer.write(shown(data, form) if sys.stdout.isatty() else data)
        return
    write_private(output, data, force, "Add --force to replace it.")
    click.echo(f"Written: {clean_line(str(output), 400)}", err=True)


def shown(data: bytes, form: str) -> bytes:
    """Without anything a terminal would obey."""
    if form == "md":
        return clean(data.decode()).encode()
    import json  # deferred: only for this

    return json.dumps(json.loads(data), indent=2).encode() + b"\n"


def write_private(output: Path, data: bytes, replace: bool, hint: str) -> None:
    """All of it or nothing, for the user's eyes only.

    Raises UsageTrouble, with `hint` for a file that is there and not to be replaced.
    """
    label = clean_line(str(output), 200)
    part = Path(f"{output}.{os.getpid()}.part")
    try:
        if os.path.lexists(output) and not replace:
            raise UsageTrouble(f"{label} is there already", hint=hint)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        part.replace(output)
    except (OSError, ValueError) as error:  # the latter: a name with a zero byte
        with suppress(OSError, ValueError):
            part.unlink()
        why = getattr(error, "strerror", None) or str(error)
        raise UsageTrouble(f"{label} cannot be written: {why}", "Check the folder.") from error
