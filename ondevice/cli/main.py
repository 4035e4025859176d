"""The entry point. Commands are imported when they are used: `--help` loads none of them."""

from __future__ import annotations

import errno
import io
import os
import sys

import click

from ondevice import __version__, errors
from ondevice.cli.exits import Exit, exit_for
from ondevice.cli.lazy import LazyGroup
from ondevice.cli.model_names import LORA, MODEL_HERE

COMMANDS = {
    "run": ("ondevice.cli.run:run", "Answer one prompt, from the arguments or a pipe."),
    "chat": ("ondevice.cli.chat:chat", "Talk in plain lines, without a screen; also in a pipe."),
    "pull": ("ondevice.cli.pull:pull", "Fetch a model; first say what it takes here."),
    "search": ("ondevice.cli.search:search", "Find models on the hub."),
    "list": ("ondevice.cli.list:list_models", "List the catalogue and what is on this machine."),
    "show": ("ondevice.cli.show:show", "Show what is known about one model."),
    "verify": ("ondevice.cli.verify:verify", "Hash the models here again: are they unharmed?"),
    "rm": ("ondevice.cli.rm:rm", "Delete a model from this machine."),
    "prune": ("ondevice.cli.prune:prune", "Delete what unfinished downloads left."),
    "perplexity": (
        "ondevice.cli.perplexity:perplexity",
        "How well model files predict a text, and what quantizing lost.",
    ),
    "compare": ("ondevice.cli.compare:compare", "The same prompts through two models."),
    "settings": (
        "ondevice.cli.settings:settings",
        "Show and change what the app and commands use.",
    ),
    "sessions": ("ondevice.cli.sessions:sessions", "The conversations kept here: list, export ..."),
    "costs": ("ondevice.cli.costs:costs", "Show what answers used, cost and avoided."),
    "doctor": ("ondevice.cli.doctor:doctor", "Check this machine and this installation."),
    "completion": ("ondevice.cli.completion:completion", "Print the shell completion script."),
}

OUTPUT_LOST = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)
"""What a system answers when stdout takes no more."""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Without a command the app opens.",
)
@click.version_option(__version__, prog_name="ondevice")
@click.option(
    "-m", "--model", type=MODEL_HERE,
    help="Catalogue name, or path of a GGUF file or an ONNX folder, for the app.",
)  # fmt: skip
@click.option(
    "--lora", type=LORA, multiple=True, metavar="FILE[:SCALE]", help="LoRA adapter, for the app."
)
@click.option("--gpu-layers", metavar="auto|N|all", help="Layers on a GPU, for the app.")
@click.pass_context
def ondevice(
    context: click.Context, model: str | None, lora: tuple[str, ...], gpu_layers: str | None
) -> None:
    """Run small language models on this machine, and see what that costs and saves."""
    if context.invoked_subcommand is None:
        from ondevice.cli.app import open_app  # deferred: the screen takes 270 ms

        context.exit(open_app(model, lora, gpu_layers))


def main() -> None:
    """Run the command line; every error is one line with a hint, never a traceback."""
    _prepare_streams()
    sys.exit(_outcome())


def _outcome() -> int:
    try:
        code = ondevice.main(standalone_mode=False, color=_color())
        sys.stdout.flush()  # here, where its failure can be told
        return code if isinstance(code, int) else Exit.OK
    except errors.OnDeviceError as error:
        say_error(error)
        return exit_for(error)
    except click.ClickException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "ondevice")
        say_error(errors.UsageTrouble(error.format_message(), hint=f"Try: {command} --help"))
        return Exit.USAGE
    except (click.exceptions.Abort, KeyboardInterrupt):
        return Exit.CANCELLED
    except OSError as error:
        if error.errno not in OUTPUT_LOST or error.filename is not None:
            return _bug(error)
        # What is still buffered has nowhere to go, and the interpreter would say so at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:  # whoever read our output may simply have enough
            say_error(errors.OnDeviceError(f"the output cannot be written: {error.strerror}"))
        return Exit.FAILED
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> Exit:
    from ondevice.cli import bug  # deferred: only then

    say_error(bug.told(error))
    return Exit.FAILED


def _prepare_streams() -> None:
    """Closed ones lead nowhere, and a character the terminal cannot show is no reason to end."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # takes the lowest free descriptor, so the very one
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - stays open
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _color() -> bool | None:
    """False where styles are unwelcome; None lets click look whether it is a terminal."""
    unwelcome = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("", "dumb")
    return False if unwelcome else None


def say_error(error: errors.OnDeviceError) -> None:
    """One line and a hint on stderr; of an engine that ended also what it said last."""
    from ondevice.domain.text import clean_line

    click.echo(f"ondevice: {clean_line(error.message, 500)}", err=True)
    for line in error.last_lines:
        click.echo(f"  | {clean_line(line)}", err=True)
    if error.hint:
        click.echo(f"  {clean_line(error.hint, 500)}", err=True)


if __name__ == "__main__":
    main()
