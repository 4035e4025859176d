"""What parent and child say to each other: JSON Lines, one `["Name", {fields}]` a line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ondevice.domain.generation import (
    EngineInfo,
    EngineNotice,
    GenerationDone,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    PromptTokens,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.domain.scoring import PromptIds, ScoreRequest, ScoringDone, TokenScores


@dataclass(frozen=True, slots=True)
class Load:
    """Parent: load this."""

    file: ModelFile
    options: LoadOptions


@dataclass(frozen=True, slots=True)
class Count:
    """Parent: how many tokens is this?"""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Generate:
    """Parent: generate. Ids grow, so that a late Cancel cannot hit the next generation."""

    id: int
    request: GenerationRequest


@dataclass(frozen=True, slots=True)
class Tokenize:
    """Parent: which ids are this?"""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Score:
    """Parent: score these; an id as that of Generate."""

    id: int
    request: ScoreRequest


@dataclass(frozen=True, slots=True)
class MeasureState:
    """Parent: how large would a file of your state be?"""


@dataclass(frozen=True, slots=True)
class SaveState:
    """Parent: write your state there."""

    path: Path
    model_sha256: str


@dataclass(frozen=True, slots=True)
class RestoreState:
    """Parent: take up the state that is there."""

    path: Path
    model_sha256: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Parent: stop that generation or scoring; obeyed while it computes."""

    id: int


@dataclass(frozen=True, slots=True)
class Hello:
    """Child: I run."""

    pid: int


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Child: still loading."""

    fraction: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """Child: ready."""

    info: EngineInfo


@dataclass(frozen=True, slots=True)
class Counted:
    """Child: so many."""

    tokens: PromptTokens


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Child: these."""

    ids: PromptIds


@dataclass(frozen=True, slots=True)
class StateSize:
    """Child: so many bytes it would take, or took."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class StateRestored:
    """Child: so many tokens are held now."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Child: that request failed; `error` is a class name of `ondevice.errors`."""

    error: str
    message: str
    hint: str


MAX_LINE_BYTES = 16 << 20
"""The longest line a parent takes: events are small. A child takes any prompt."""

WireMessage = (
    Load
    | Count
    | Tokenize
    | Score
    | MeasureState
    | SaveState
    | RestoreState
    | Generate
    | Cancel
    | Hello
    | LoadProgress
    | Loaded
    | Counted
    | Tokenized
    | StateSize
    | StateRestored
    | Failed
    | PrefillProgress
    | TextDelta
    | EngineNotice
    | GenerationDone
    | TokenScores
    | ScoringDone
)
_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in WireMessage.__args__}


def _from_json(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)


_encoder = msgspec.json.Encoder(enc_hook=str)
_envelope = msgspec.json.Decoder(tuple[str, msgspec.Raw])
_decoders: dict[str, msgspec.json.Decoder[Any]] = {}


def encode(message: WireMessage) -> bytes:
    """One line, newline included."""
    envelope = type(message).__name__, message
    try:
        return _encoder.encode(envelope) + b"\n"
    except UnicodeEncodeError:  # lone surrogates: Python's form of file names that are not UTF-8
        return json.dumps(msgspec.to_builtins(envelope, enc_hook=str)).encode() + b"\n"


def decode(line: bytes) -> WireMessage:
    """The message of one line. Raises ValueError for anything that is not one."""
    try:
        message: WireMessage = _decode_surrogates(line) if b"\\ud" in line else _decode(line)
    except (msgspec.MsgspecError, KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"not a wire message: {line[:80]!r}") from error
    return message


def _decode(line: bytes) -> Any:
    name, body = _envelope.decode(line)
    if name not in _decoders:
        _decoders[name] = msgspec.json.Decoder(_TYPES[name], dec_hook=_from_json)
    return _decoders[name].decode(body)


def _decode_surrogates(line: bytes) -> Any:
    name, body = msgspec.convert(json.loads(line), tuple[str, Any])
    return msgspec.convert(body, _TYPES[name], dec_hook=_from_json)
