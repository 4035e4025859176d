"""What is typed or piped: questions over one line or several, history, completion.

A line that ends in a backslash goes on in the next one; so does what stands between two marks of
three double quotes. The line editor keeps its history in memory only, as it is what people write.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from ondevice.domain.text import storable

MARK = '"""'
YOU, MORE = "You: ", "More: "

Complete = Callable[[str, str], list[str]]
"""From the line before the cursor's word and that word, what the word may become."""


class Lines:
    """Reads from stdin; a terminal is prompted, with a line editor where Python has one."""

    def __init__(self) -> None:
        self.terminal = sys.stdin.isatty()
        """Whether somebody types."""
        self.begun = False
        """Whether something was typed before the interrupt that ended a `read`; without the line
        editor, only whole lines are known of."""
        self._edited = self.terminal and sys.stdout.isatty()
        self._readline: Any = None
        if isinstance(sys.stdin, io.TextIOWrapper):
            # what is no text is still read, and a pipe has no encoding of its own
            encoding = None if self.terminal else "utf-8"
            sys.stdin.reconfigure(encoding=encoding, errors="replace")

    def edit(self, complete: Complete) -> None:
        """Use the line editor, where there is one; Tab completes."""
        if not self._edited:
            return
        try:
            import readline  # deferred: only for this, and not every Python has it
        except ImportError:
            return
        self._readline = readline
        found: list[str] = []

        def offered(word: str, state: int) -> str | None:
            if state == 0:
                before = readline.get_line_buffer()[: readline.get_begidx()]
                found[:] = complete(before, word)
            return found[state] if state < len(found) else None

        readline.set_completer_delims(" \t")
        readline.set_completer(offered)
        libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
        if not libedit and os.environ.get("TERM", "dumb") not in ("", "dumb"):
            # a paste of several lines is one question; Python switches this off
            readline.parse_and_bind("set enable-bracketed-paste on")

    def read(self) -> str | None:
        """The next question or command; None at the end. Lines of nothing are passed over."""
        self.begun = False
        while True:
            line = self._line(YOU)
            if line is None:
                return None
            text = self._whole(line)
            if text.strip():
                return storable(text)

    def reply(self, question: str) -> str:
        """What is typed as the answer to `question`; nothing at the end of the input."""
        return self._line(question) or ""

    def edited(self, text: str) -> str | None:
        """`text`, as it is changed in the line editor; None where there is none."""
        if self._readline is None:
            return None
        self._readline.set_startup_hook(lambda: self._readline.insert_text(text))
        try:
            return self._line(YOU)
        finally:
            self._readline.set_startup_hook(None)

    def _whole(self, line: str) -> str:
        """`line` and those that belong to it."""
        if line.startswith(MARK):
            return self._block(line[len(MARK) :])
        lines = [line]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            following = self._line(MORE)
            if following is None:
                break
            lines.append(following)
        return "\n".join(lines)

    def _block(self, line: str | None) -> str:
        lines: list[str] = []
        while line is not None:
            if line.rstrip().endswith(MARK):
                lines.append(line.rstrip()[: -len(MARK)])
                break
            lines.append(line)
            line = self._line(MORE)
        return "\n".join(lines).strip("\n")

    def _line(self, prompt: str) -> str | None:
        """One line without its end; None at the end of the input. A prompt that got no Enter is
        ended."""
        line = None
        try:
            line = self._asked(prompt)
        except KeyboardInterrupt:
            self.begun = self.begun or bool(self._readline and self._readline.get_line_buffer())
            raise
        finally:
            if line is None and self.terminal:
                click.echo(err=True)
        self.begun = True
        return line

    def _asked(self, prompt: str) -> str | None:
        if self._edited:
            try:
                return input(prompt)
            except EOFError:
                return None
        if self.terminal:
            click.echo(prompt, err=True, nl=False)
        line = sys.stdin.readline()
        return line.rstrip("\r\n") if line else None
