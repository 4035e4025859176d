"""`ondevice chat`: a conversation in lines, without a screen.

interrupts.py   Ctrl-C, and the signals that end a program
lines.py        what is typed or piped: questions over one line or several, history, completion
desk.py         what a line can do something with: the chat, its sessions, its model
turn.py         an answer as it comes, and its numbers
commands.py     what a line that begins with / does: the table
talk.py         the loop: read a line, do it, until it is left
"""

from __future__ import annotations

from typing import Any

import click

from ondevice.cli.options import of_answer, of_costs, of_loading, of_model, session_id


@click.command()
@of_model
@click.option("--session", type=session_id, metavar="ID", help="Go on with this conversation.")
@click.option("--private", is_flag=True, help="Keep nothing, and read nothing that is kept.")
@of_answer
@of_loading
@of_costs
def chat(session: int | None, private: bool, **options: Any) -> None:
    """Talk with a model in plain lines: for screen readers, slow lines and pipes.

    In a terminal, /help lists what a line can do. In a pipe every line is a question or such a
    command; answers go to stdout, everything else to stderr. A line that ends in a backslash goes
    on in the next one, and so does what stands between two lines of three double quotes.
    Conversations are kept as in the app. What no option says, the settings do.
    """
    from ondevice.cli.chat.talk import hold  # deferred: --help needs none of it

    click.get_current_context().exit(hold(session, private, options))
