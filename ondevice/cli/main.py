"""The entry point. Commands are imported when they are used: `--help` loads none of them."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from ondevice import __version__, errors
from ondevice.cli.exits import Exit, exit_for

COMMANDS = {
    "run": ("ondevice.cli.run:run", "Answer one prompt, from the arguments or a pipe."),
    "list": ("ondevice.cli.list:list_models", "List the catalogue and what is on this machine."),
    "show": ("ondevice.cli.show:show", "Show what is known about one model."),
    "doctor": ("ondevice.cli.doctor:doctor", "Check this machine and this installation."),
    "completion": ("ondevice.cli.completion:completion", "Print the shell completion script."),
}


class LazyGroup(click.Group):
    """Lists commands from the table above and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Without a command the app opens.",
)
@click.version_option(__version__, prog_name="ondevice")
@click.option("-m", "--model", help="Catalogue name or path of a GGUF file, for the app.")
@click.pass_context
def ondevice(context: click.Context, model: str | None) -> None:
    """Run small language models on this machine, and see what that costs and saves."""
    if context.invoked_subcommand is None:
        from ondevice.cli.app import open_app  # deferred: the screen takes 270 ms

        context.exit(open_app(model))


def main() -> None:
    """Run the command line; every error is one line with a hint, never a traceback."""
    try:
        code = ondevice.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else Exit.OK)
    except errors.OnDeviceError as error:
        say_error(error)
        sys.exit(exit_for(error))
    except click.exceptions.Abort:
        sys.exit(Exit.CANCELLED)
    except KeyboardInterrupt:
        sys.exit(Exit.CANCELLED)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except BrokenPipeError:
        # Whoever read our output has enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.FAILED)


def say_error(error: errors.OnDeviceError) -> None:
    """One line and a hint on stderr."""
    from ondevice.domain.text import clean_line

    click.echo(f"ondevice: {clean_line(error.message, 500)}", err=True)
    if error.hint:
        click.echo(f"  {clean_line(error.hint, 500)}", err=True)


if __name__ == "__main__":
    main()
