"""The bytes of each token, which the library does not tell: it only gives whole characters.

tokenizer.json writes tokens in one of two alphabets. Byte-level ones write each byte as a printable
character; the others write a space as U+2581 and a byte without a character as `<0x0A>`.
"""

from __future__ import annotations

import re

import msgspec

from ondevice.domain.text import clean_line
from ondevice.errors import NotAModelFile
from ondevice.onnx import folder as folders
from ondevice.onnx.config import DAMAGED

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class _Added(msgspec.Struct):
    id: int
    content: str
    special: bool = False


class _Pieces(msgspec.Struct):
    vocab: dict[str, int] | list[tuple[str, float]]


class _Tokenizer(msgspec.Struct):
    model: _Pieces
    added_tokens: list[_Added] = []
    pre_tokenizer: msgspec.Raw = msgspec.Raw(b"null")
    decoder: msgspec.Raw = msgspec.Raw(b"null")


class Vocabulary:
    """Tokens as bytes, and which of them are special."""

    def __init__(self, data: bytes) -> None:
        """Read a tokenizer.json. Raises NotAModelFile."""
        try:
            read = msgspec.json.decode(data, type=_Tokenizer)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            said = clean_line(str(error), 80)
            raise NotAModelFile(f"{folders.TOKENIZER} cannot be read: {said}", DAMAGED) from None
        byte_level = b'"ByteLevel"' in bytes(read.pre_tokenizer) + bytes(read.decoder)
        self._decode = _byte_level if byte_level else _with_spaces
        vocab = read.model.vocab
        named = vocab if isinstance(vocab, dict) else {t: n for n, (t, _) in enumerate(vocab)}
        self._text = {number: text for text, number in named.items()}
        self._added = {each.id: each for each in read.added_tokens}

    def piece(self, token: int, special: bool) -> bytes:
        """The bytes of `token`; control tokens are empty unless `special`."""
        added = self._added.get(token)
        if added is not None:
            return added.content.encode("utf-8", "replace") if special or not added.special else b""
        text = self._text.get(token)
        return b"" if text is None else self._decode(text)

    def is_special(self, token: int) -> bool:
        """Whether it stands for itself alone, so that text never merges with it."""
        return token in self._added


def _alphabet() -> dict[str, int]:
    """Character -> byte of the byte-level alphabet: printable Latin-1 stands for itself, the other
    bytes follow from U+0100 on, in order."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(0x100 + number): byte for number, byte in enumerate(others)}


_ALPHABET = _alphabet()


def _byte_level(text: str) -> bytes:
    try:
        return bytes(_ALPHABET[sign] for sign in text)
    except KeyError:  # not of the alphabet: it stands as it is
        return text.encode("utf-8", "replace")


def _with_spaces(text: str) -> bytes:
    if found := _BYTE.fullmatch(text):
        return bytes([int(found[1], 16)])
    return text.replace("\u2581", " ").encode("utf-8", "replace")
