"""Vocabularies of ONNX folders: tokenizer.json as Hugging Face writes it for byte-level models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Tokens:
    """A byte-level vocabulary: texts by id, merges, and how many special ones come first."""

    texts: list[str]
    merges: list[str]
    special: list[str]
    template: str = CHAT_TEMPLATE


def byte_tokens() -> Tokens:
    """The 256 bytes after three special tokens."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    signs = {byte: chr(byte) for byte in plain}
    signs |= {byte: chr(0x100 + number) for number, byte in enumerate(others)}
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return Tokens([*special, *(signs[byte] for byte in range(256))], [], special)


def tokenizer(tokens: Tokens) -> dict[str, Any]:
    """The whole file."""
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    number = {text: at for at, text in enumerate(tokens.texts)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number[text],
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for text in tokens.special
        ],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": number,
            "merges": tokens.merges,
        },
    }
