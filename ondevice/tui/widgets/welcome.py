"""What an empty conversation says."""

from __future__ import annotations

WELCOME = """\
Write a question below; {send} sends it. For example:

  Explain in two sentences what a KV cache is.

{newline} breaks the line. {help} lists the keys and says what the numbers mean."""
KEYS = {"send": "Enter", "newline": "Shift+Enter or Ctrl+J", "help": "F1", "up": "PgUp"}
