"""Tiny ONNX folders that compute what is written down: the logits after each token.

Each token that is named has a dimension of its own. Attention adds nothing, so only the last token
counts; the feed-forward layer puts the logits that are to follow it in its place. One dimension
that no token has fills them up to the length that the last norm leaves as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx_folder import Array, Shape, write
from onnx_tokens import byte_tokens

Logits = Mapping[int, Mapping[int, float]]
"""After an id, those of other ids; all that are not named have 0. The squares of one id's add up to
less than 64."""
SHAPE = Shape(epsilon=1e-12)
IM_END, ENDOFTEXT = 2, 0
"""End tokens, where a folder is told so."""


def token(letter: str) -> int:
    """Its id."""
    return 3 + ord(letter)


def write_known(folder: Path, logits: Logits, ends: tuple[int, ...] = (IM_END,)) -> Path:
    """A folder with these logits; `ends` are its end tokens, in the config's order."""
    tokens = byte_tokens()
    named = sorted({*logits, *(each for row in logits.values() for each in row)})
    place = {each: at for at, each in enumerate(named)}
    matrices = _matrices(len(tokens.texts), place, logits)

    def weights(name: str) -> Array:
        kind = name.rsplit(".", 1)[-1]
        if kind.endswith("norm"):
            return np.ones(SHAPE.width, dtype=np.float32)
        return matrices[kind].astype(np.float32)

    return write(folder, SHAPE, weights, tokens, ends)


def _matrices(vocabulary: int, place: Mapping[int, int], logits: Logits) -> dict[str, Array]:
    width, head = SHAPE.width, SHAPE.head_size
    ballast = width - 1
    assert len(place) <= ballast
    table = np.zeros((vocabulary, width))
    for each, at in place.items():
        table[each, at] = 1
    read = math.sqrt(width)  # what the norm makes of a token's 1
    gate, up = np.zeros((SHAPE.n_ff, width)), np.zeros((SHAPE.n_ff, width))
    gate[:width] = np.eye(width)
    up[:width] = np.eye(width) * (1 + math.exp(-read)) / read**2  # so that silu(gate) * up is 1
    down = np.zeros((width, SHAPE.n_ff))
    for each, row in logits.items():
        for other, value in row.items():
            down[place[other], place[each]] = value
        down[ballast, place[each]] = math.sqrt(width - sum(value**2 for value in row.values()))
        down[place[each], place[each]] -= 1
    return {
        "token_embd": table,
        "attn_q": np.zeros((SHAPE.n_heads * head, width)),
        "attn_k": np.zeros((SHAPE.n_kv_heads * head, width)),
        "attn_v": np.zeros((SHAPE.n_kv_heads * head, width)),
        "attn_output": np.zeros((width, SHAPE.n_heads * head)),
        "ffn_gate": gate,
        "ffn_up": up,
        "ffn_down": down,
    }
