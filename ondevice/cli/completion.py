"""`ondevice completion`: the script a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    For bash: `ondevice completion bash > ~/.local/share/bash-completion/completions/ondevice`.
    """
    from ondevice.cli.main import ondevice  # deferred: that module imports this one by name

    kind = get_completion_class(shell)
    assert kind is not None  # the choices above are the ones click has
    click.echo(kind(ondevice, {}, "ondevice", "_ONDEVICE_COMPLETE").source())
