"""What a folder says of chats: the template, and the begin and end tokens it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ondevice.domain.text import clean_line
from ondevice.errors import NotAModelFile
from ondevice.onnx import folder
from ondevice.onnx.config import DAMAGED


def begin_and_end(path: Path) -> tuple[str, str]:
    """Text of the begin and end tokens, for templates; empty where there is none."""
    known = _settings(path)
    return _token_text(known.get("bos_token")), _token_text(known.get("eos_token"))


def template(path: Path) -> str | None:
    """The chat template: a file of its own, or in the tokenizer's settings."""
    if (text := folder.read_text(path, folder.TEMPLATE)) is not None:
        return text
    found = _settings(path).get("chat_template")
    if isinstance(found, list):  # several, by name
        named = (each for each in found if isinstance(each, dict) and each.get("name") == "default")
        found = next(named, {}).get("template")
    return found if isinstance(found, str) else None


def _settings(path: Path) -> dict[str, Any]:
    text = folder.read_text(path, folder.TOKENIZER_CONFIG)
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        said = clean_line(str(error), 80)
        raise NotAModelFile(f"{folder.TOKENIZER_CONFIG} cannot be read: {said}", DAMAGED) from None


def _token_text(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""
