"""`ondevice completion`: the script a shell needs to complete commands, options and models."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    Each holds from the next shell on.

    \b
    bash, with the package bash-completion:
      d=~/.local/share/bash-completion/completions
      mkdir -p $d && ondevice completion bash > $d/ondevice

    \b
    zsh, with `fpath+=(~/.zfunc)` before `compinit` in ~/.zshrc:
      mkdir -p ~/.zfunc && ondevice completion zsh > ~/.zfunc/_ondevice

    \b
    fish:
      d=~/.config/fish/completions
      mkdir -p $d && ondevice completion fish > $d/ondevice.fish
    """
    from ondevice.cli.main import ondevice  # deferred: that module imports this one by name

    kind = get_completion_class(shell)
    assert kind is not None  # the choices above are the ones click has
    click.echo(kind(ondevice, {}, "ondevice", "_ONDEVICE_COMPLETE").source())
