"""Text that attacks a terminal, a markup parser or a layout."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ondevice.chat import Chat, ChatEvent
from ondevice.domain.generation import EngineNotice, Sampling, TextDelta
from ondevice.errors import EngineTrouble

ATTACKS = {
    "CSI colour": "\x1b[38;5;77m",
    "CSI leaves the alternate screen": "\x1b[?1049l\x1b[2J\x1b[3J",
    "CSI asks for a report": "\x1b[6n\x1b[c",
    "OSC 52 writes the clipboard": "\x1b]52;c;bWFya2Vy\x07",
    "OSC 8 hides an address": "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "OSC 0 names the window": "\x1b]0;evil\x07",
    "DCS": "\x1bP+q544e\x1b\\",
    "C1": "\x9b31m\x9d52;c;bWFya2Vy\x9c\x90q\x9c",
    "reset": "\x1bc",
    "carriage return and backspaces": "\rhidden\x08\x08\x08\x7f",
    "bidirectional overrides": "\u202egpj.exe\u202c \u2066a\u2069 \u061c\u200f",
    "NUL and lone surrogates": "\x00\ud800 \udfff\x00",
    "an open tag": "[/ [ [/] [[ ]",
    "a style": "[bold red on blue]loud[/bold] [/nothing]",
    "an action": "[@click=app.quit]click[/] [link=https://evil.example]x[/link]",
    "an encoded address": "<http://x.org/%1b]52;c;bWFya2Vy%07> http://x.org/%1b[38;5;77m%e2%80%ae",
    "entities": "&#27;[31m &#x9b;1m &#8238;evil &amp;",
    "HTML": "<script>alert(1)</script> <b>bold</b> <!-- open",
    "nested quotes": "\n\n" + ">" * 1000 + " deep",
    "nested brackets": "[" * 1000 + "](" * 10,
    "backticks": "`" * 10_000,
    "a wide table": "\n\n|" + "a|" * 60 + "\n|" + "-|" * 60 + "\n" + ("|" + "b|" * 60 + "\n") * 3,
    "a long address": "[x](https://example.com/" + "y" * 5000 + ")",
    "a strange fence": "\n\n```[bold]\x1b[31m python\nx = '\x1b[2J'\n```\n",
}
FORBIDDEN = {
    "OSC 52": rb"\x1b\]52",
    "OSC 8": rb"\x1b\]8;",
    "OSC 0": rb"\x1b\]0;evil",
    "DCS": rb"\x1bP",
    "the attack's colour": rb"\x1b\[38;5;77m",
    "a report": rb"\x1b\[6n|\x1b\[c",
    "a cleared screen": rb"\x1b\[[23]J",
    "reset": rb"\x1bc",
    "C1": rb"\xc2[\x80-\x9f]",
    "an override": rb"\xe2\x80[\xaa-\xae\x8e\x8f]|\xe2\x81[\xa6-\xa9]|\xd8\x9c",
    "NUL, backspace or delete": rb"[\x00\x08\x7f]",
}
"""None of this is ever written by Textual itself."""


def attack(number: int) -> str:
    """The attacks one by one, then mixtures; marked at both ends."""
    every = list(ATTACKS.values())
    mixed = random.Random(number).sample(every, 3)
    parts = every[number : number + 1] or mixed
    return f"begin{number} {' '.join(parts)} end{number}"


class HostileChat(Chat):
    """Asked for `n` it says attack n: as question, title, answer, notice and error."""

    def send(self, text: str, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        said = attack(int(text))
        yield EngineNotice("hostile", said)
        yield TextDelta(said, 1, 0.0, 1, 0.0)
        yield from super().send(
            said.replace("\ud800", "").replace("\udfff", ""), sampling, max_tokens
        )
        yield EngineNotice("hostile", said)
        raise EngineTrouble(said, hint=f"hint{text} {said}")
