"""The wire: every message comes back equal, and garbage is a ValueError."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.domain.device import Device, DeviceUse, Offload
from ondevice.domain.generation import (
    GREEDY,
    Adapter,
    Attachment,
    ChatMessage,
    EngineInfo,
    EngineNotice,
    GenerationDone,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    PromptTokens,
    Sampling,
    TextDelta,
    Timings,
    Usage,
)
from ondevice.domain.model import ModelFile
from ondevice.domain.scoring import (
    LogitsFile,
    PromptIds,
    ScoreRequest,
    ScoringDone,
    TokenScores,
)
from ondevice.domain.thinking import ThinkingStyle
from ondevice.engines import wire

INFO = EngineInfo(
    engine="llama.cpp",
    backend="cpu",
    build="1",
    model_paths=("/m/\udcff.gguf",),
    n_ctx=8,
    n_ctx_train=16,
    threads=2,
    threads_fixed=False,
    flash_attention=False,
    repacked=True,
    has_template=True,
    pid=7,
    notices=(EngineNotice("memory", "little"),),
    adapters=(Adapter(Path("/a/b.gguf")),),
    capabilities=("snapshots",),
    thinking=ThinkingStyle(begun_by_prompt=True),
    offload=Offload(31, (DeviceUse(Device("CUDA0", "A card", "cuda", 1, 2), 12, 1 << 30),)),
)
REQUEST = GenerationRequest(
    Prompt.chat("Grüße\n\x00🙂", system="be brief"), Sampling(seed=3), stop=("\n",), ignore_eos=True
)
MESSAGES = [
    wire.Load(ModelFile(Path("/m/a b/é.gguf"), "llama.cpp", "é"), LoadOptions(n_ctx=9)),
    wire.Load(ModelFile(Path("/m/\udcff\udcfe.gguf"), "llama.cpp", "odd"), LoadOptions()),
    wire.Load(ModelFile(Path(), "echo", "echo"), LoadOptions(gpu_layers="auto")),
    wire.Load(ModelFile(Path(), "echo", "echo"), LoadOptions(gpu_layers=31)),
    wire.Load(
        ModelFile(Path("/m/x.gguf"), "llama.cpp", "x"),
        LoadOptions(adapters=(Adapter(Path("/a/b.gguf"), 0.5),)),
    ),
    wire.Count(Prompt(text="")),
    wire.Count(Prompt(text="a lone \ud800 surrogate")),
    wire.Count(Prompt(tokens=(1, 2, 3))),
    wire.Tokenize(Prompt(text="x")),
    wire.Tokenized(PromptIds((1, 2), 1, "0" * 64)),
    wire.Score(7, ScoreRequest((1, 2, 3), 2, (4, 5), LogitsFile(Path("/l/\udcff"), 9))),
    TokenScores(3, (-0.5, -1e-300), (0.0, 2.5), (True, False)),
    ScoringDone(cancelled=False, choices=(-1.5,)),
    wire.Generate(4, REQUEST),
    wire.Generate(5, GenerationRequest(Prompt(text="x"), GREEDY)),
    wire.Generate(
        6,
        GenerationRequest(
            Prompt(messages=(ChatMessage("user", "x", (Attachment("a.txt", "text"),)),)),
            schema="{}",
        ),
    ),
    wire.Cancel(4),
    wire.Hello(7),
    wire.LoadProgress(0.25),
    wire.Loaded(INFO),
    wire.Counted(PromptTokens(system=1, history=2, attached=3)),
    wire.MeasureState(),
    wire.SaveState(Path("/s/1.state"), "0" * 64),
    wire.RestoreState(Path("/s/\udcff.state"), "0" * 64),
    wire.StateSize(7),
    wire.StateRestored(3),
    wire.Failed("ContextOverflow", "too\nlong", "shorten it"),
    PrefillProgress(1, 2, 3, 0.5),
    TextDelta("\\ud800 is six characters", 1, 0.0, 4, 0.5),
    EngineNotice("threads", "now 1"),
    GenerationDone("stop", Usage(1, 0, 1), Timings(None, 0.1, None), 1, 8),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_comes_back_equal_from_one_line(message: wire.WireMessage) -> None:
    line = wire.encode(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert wire.decode(line) == message


def test_every_type_of_message_is_tried() -> None:
    assert {type(message) for message in MESSAGES} == set(wire.WireMessage.__args__)


@given(st.text())
def test_any_text_of_a_model_comes_back_equal(text: str) -> None:
    message = TextDelta(text, 1, 0.0, 1, 0.5)
    assert wire.decode(wire.encode(message)) == message


@given(st.binary(max_size=80))
def test_garbage_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a wire message"):
        wire.decode(line)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'["Nobody", {}]', id="unknown name"),
        pytest.param(b'["Hello", {"pid": "x"}]', id="wrong type"),
        pytest.param(b'["Hello", {}]', id="missing field"),
        pytest.param(b'["Hello", {"pid": 1}] more', id="more behind it"),
        pytest.param(b'["Hello", ' + b"[" * 100_000, id="deeply nested"),
        pytest.param(b'["TextDelta\\ud83d", {}]', id="half a surrogate pair in the name"),
        pytest.param(b'["LoadProgress", {"fraction": 1e999}]', id="a number without end"),
    ],
)
def test_what_is_almost_a_message_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a wire message"):
        wire.decode(line)


def test_sampling_out_of_range_does_not_pass_the_wire() -> None:
    line = wire.encode(wire.Generate(1, REQUEST)).replace(b'"top_p":0.95', b'"top_p":1.5')
    with pytest.raises(ValueError, match="not a wire message"):
        wire.decode(line)
