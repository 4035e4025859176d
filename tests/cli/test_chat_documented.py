"""docs/chat-lines.md says what the commands of the line mode are."""

from __future__ import annotations

from pathlib import Path

from ondevice.cli.chat.commands import COMMANDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "chat-lines.md"


def escaped(text: str) -> str:
    """As a cell of a table has it."""
    return text.replace("|", "\\|")


def test_every_command_has_its_row_and_nothing_else_has_one() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("| `/")] == [
        f"| `{f'/{name} {escaped(each.takes)}'.rstrip()}` | {each.about} |"
        for name, each in COMMANDS.items()
    ]
