"""A vocabulary of the right size that belongs to nobody.

It has a token for each byte, so any text becomes tokens (about one per character), the marks of
a plain chat format, and filler words ` w00042` up to the size asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from ondevice.errors import UsageTrouble
from ondevice.gguf.spec import ShapeSpec, TokenizerModel


class TokenType(IntEnum):
    """llama.cpp's kinds of tokens."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    BYTE = 6


MARKS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens with their types and what a tokenizer of that model needs beside them."""

    model: TokenizerModel
    tokens: list[bytes]
    types: list[TokenType]
    special: dict[str, int]
    """Ids by the last part of their key: `bos_token_id`."""
    scores: list[float] | None = None
    merges: list[bytes] = field(default_factory=list)
    add_bos: bool = False


def vocabulary_of(spec: ShapeSpec) -> Vocabulary:
    """The synthetic vocabulary for `spec`, exactly `spec.vocab` tokens."""
    head = {"gpt2": _gpt2_head, "llama": _spm_head, "rwkv": _rwkv_head}[spec.tokenizer]()
    if spec.vocab < len(head):
        raise UsageTrouble(
            f"a vocabulary of {spec.vocab:,} tokens is too small", f"It needs {len(head):,}."
        )
    space = {"gpt2": "\u0120", "llama": "\u2581", "rwkv": " "}[spec.tokenizer]
    fillers = spec.vocab - len(head)
    tokens = [token for token, _ in head]
    tokens += [f"{space}w{index:05d}".encode() for index in range(fillers)]
    types = [kind for _, kind in head] + [TokenType.NORMAL] * fillers
    special = {
        "gpt2": {"bos_token_id": 0, "eos_token_id": 0, "padding_token_id": 0},
        "llama": {"unknown_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        "rwkv": {"bos_token_id": 0, "eos_token_id": 0, "unknown_token_id": 0, "eot_token_id": 257},
    }[spec.tokenizer]
    return Vocabulary(
        model=spec.tokenizer,
        tokens=tokens,
        types=types,
        special=special,
        scores=[-float(index) for index in range(spec.vocab)]
        if spec.tokenizer == "llama"
        else None,
        merges=["\u0120 \u0120".encode()] if spec.tokenizer == "gpt2" else [],
        add_bos=spec.tokenizer == "llama",
    )


def _marks() -> Iterator[tuple[bytes, TokenType]]:
    for mark in MARKS:
        yield mark.encode(), TokenType.CONTROL


def _gpt2_head() -> list[tuple[bytes, TokenType]]:
    head = [(b"<|endoftext|>", TokenType.CONTROL), *_marks()]
    head += [(symbol.encode(), TokenType.NORMAL) for symbol in _byte_symbols()]
    head.append(("\u0120\u0120".encode(), TokenType.NORMAL))
    return head


def _byte_symbols() -> Iterator[str]:
    """GPT-2's letter for each byte: itself where it prints, else the next unused one from 256."""
    spare = 256
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255:
            yield chr(byte)
        else:
            yield chr(spare)
            spare += 1


def _spm_head() -> list[tuple[bytes, TokenType]]:
    head = [
        (b"<unk>", TokenType.UNKNOWN),
        (b"<s>", TokenType.CONTROL),
        (b"</s>", TokenType.CONTROL),
        # llama.cpp refuses a model with "phi-3" in its name and without this token.
        (b"<|endoftext|>", TokenType.CONTROL),
    ]
    head += [(f"<0x{byte:02X}>".encode(), TokenType.BYTE) for byte in range(256)]
    head += _marks()
    # Without it a space would come back as the sign that stands for it.
    head.append(("\u2581".encode(), TokenType.NORMAL))
    return head


def _rwkv_head() -> list[tuple[bytes, TokenType]]:
    head = [(b"<s>", TokenType.CONTROL)]
    # llama.cpp unescapes these tokens itself; two hexadecimal digits serve every byte.
    head += [(rf"\x{byte:02x}".encode(), TokenType.NORMAL) for byte in range(256)]
    head.append((rb"\n\n", TokenType.NORMAL))
    head += _marks()
    return head
