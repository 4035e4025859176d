"""One generation: what is asked of an engine, and what comes back.

prompt    see `domain.prompt`, whose names are here too
prefill   evaluating the prompt; decode: producing tokens one by one after the first
cached    prompt tokens whose state the engine still held, so they were not evaluated again
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ondevice.domain import metrics
from ondevice.domain.device import GpuLayers, Offload
from ondevice.domain.memory import KvType
from ondevice.domain.prompt import Attachment as Attachment
from ondevice.domain.prompt import ChatMessage as ChatMessage
from ondevice.domain.prompt import Part as Part
from ondevice.domain.prompt import Prompt as Prompt
from ondevice.domain.prompt import PromptTokens as PromptTokens
from ondevice.domain.prompt import Role as Role
from ondevice.domain.thinking import USUAL, ThinkingStyle

FinishReason = Literal["stop", "length", "context_full", "cancelled", "failed"]
"""stop: the model or a stop string ended it; length: max_tokens or the wall limit."""
CUT_SHORT = {"length": "cut at the token limit", "context_full": "the context is full"}
"""What kept an answer from its end, in words."""


Capability = Literal["snapshots", "schema", "lora", "scores"]


SAMPLING_BOUNDS: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 10.0),
    "top_k": (0, 1_000_000),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repeat_penalty": (0.01, 10.0),
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. Values outside their range raise ValueError."""

    temperature: float = 0.7
    """0 takes the most probable token (greedy)."""
    top_k: int = 40
    """0 keeps all."""
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    """1 changes nothing; looks at the last 64 tokens."""
    seed: int | None = None
    """None draws one; the seed used is not a secret, so equal seeds repeat a run."""

    def __post_init__(self) -> None:
        for name, (low, high) in SAMPLING_BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; it must be from {low} to {high}")
        if self.seed is not None and not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be from 0 to {2**32 - 1}")


GREEDY = Sampling(temperature=0.0)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What an engine is asked for."""

    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 1024
    stop: tuple[str, ...] = ()
    """Text that ends the answer; it is not part of it."""
    ignore_eos: bool = False
    """For benchmarks: an end token does not end the generation."""
    schema: str | None = None
    """Text of a JSON schema that the answer keeps to, unless max_tokens cuts it."""
    reuse: bool = True
    """False evaluates all of the prompt, also what is still held of it: for measuring."""
    text_shown: bool = True
    """False where nobody sees the text before its end: an engine in a process of its own then
    passes it on once a second, as each time wakes the reader, which takes a core from decoding."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter: a small change to the weights, and how strongly it is applied."""

    path: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is to be loaded. None means: decide on purpose, and report what was decided."""

    n_ctx: int | None = None
    threads: int | None = None
    """Fixed thread count; None starts from the allowed physical cores and follows the load."""
    flash_attention: bool | None = None
    repack: bool | None = None
    """Rewrite weights into private memory for faster arithmetic."""
    gpu_layers: GpuLayers | None = None
    """None is `auto`, and says nothing where this build knows no GPU."""
    kv_type: KvType | None = None
    """None is f16. q8_0 halves the KV cache and needs flash attention, so it turns that on."""
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the layers above may know of a loaded engine."""

    engine: str
    backend: str
    """Where it computes: `cpu`, or what drives the device: `cuda`, `vulkan`, `dml`."""
    build: str
    model_paths: tuple[str, ...]
    """The engine's own paths of the model's files, as its memory mappings show them."""
    n_ctx: int
    n_ctx_train: int
    threads: int
    threads_fixed: bool
    flash_attention: bool | None
    """None where the engine has no such choice."""
    repacked: bool | None
    """Whether weights are held in a form for faster arithmetic; None where the engine does not
    say."""
    has_template: bool
    pid: int
    """The process that holds the model, for the memory sampler."""
    load_s: float = 0.0
    """From the start of that process to ready."""
    notices: tuple[EngineNotice, ...] = ()
    kv_type: KvType | None = "f16"
    """None where the model has a type of its own."""
    adapters: tuple[Adapter, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    """What only some engines can do."""
    unbounded: bool = False
    """Its state does not grow with what it reads, so n_ctx bounds nothing."""
    thinking: ThinkingStyle = USUAL
    """How this model marks what it thinks before it answers."""
    vocabulary: int = 0
    """How many token ids there are; 0 where there are none."""
    mapped: bool | None = None
    """Whether weights are read as pages of the file; None where the engine does not say."""
    offload: Offload | None = None
    """Where its layers are; None for an engine that does not tell layers apart."""

    @property
    def loaded_as(self) -> str:
        """`flash attention off, weights repacked, file mapped`, as far as it is known."""
        said = []
        if self.flash_attention is not None:
            said.append(f"flash attention {'on' if self.flash_attention else 'off'}")
        if self.repacked is not None:
            said.append(f"weights {'' if self.repacked else 'not '}repacked")
        if self.mapped is not None:
            said.append(f"file {'' if self.mapped else 'not '}mapped")
        return ", ".join(said)

    @property
    def with_adapters(self) -> str:
        """What stands behind the model's name: ` + style` for each adapter."""
        return "".join(f" + {each.path.stem}" for each in self.adapters)

    @property
    def place(self) -> str:
        """`CPU`, `VULKAN`, `VULKAN 12/31` where the CPU computes the other layers, or `VULKAN+CPU`
        where it computes parts of all."""
        name, offload = self.backend.upper(), self.offload
        if offload is None or offload.whole or not offload.layers:
            return name
        if offload.layers == offload.of:
            return f"{name}+CPU"
        return f"{name} {offload.layers}/{offload.of}"

    @property
    def device_bytes(self) -> int | None:
        """Of its buffers on devices: 0 on the CPU alone, None where the engine does not say."""
        if self.offload is not None and self.offload.of:
            return self.offload.used_bytes
        return 0 if self.backend == "cpu" else None


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """The prompt is being read."""

    done_tokens: int
    """Of those that need evaluation; cached ones are not counted."""
    total_tokens: int
    cached_tokens: int
    elapsed_s: float

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the mean rate so far; unknown before the first batch."""
        if self.done_tokens <= 0 or self.elapsed_s <= 0:
            return None
        left = self.total_tokens - self.done_tokens
        return left * self.elapsed_s / self.done_tokens


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer: whole characters, of one or more tokens."""

    text: str
    completion_tokens: int
    """So far, this one included."""
    decode_s: float
    """From the first token to the latest one, by the engine's clock."""
    context_tokens: int
    """Prompt plus generated, of n_ctx."""
    ttft_s: float
    """From the request reaching the engine to the first token."""


@dataclass(frozen=True, slots=True)
class EngineNotice:
    """Something changed or was decided that a person may want to know."""

    code: str
    """Stable: `threads`, `cache_miss`, `completion_mode`, `memory`, `schema`, ..."""
    message: str
    unmet: bool = False
    """Something was asked for, or this build was made for it, and was not done: never silent."""


COMPLETION_MODE = EngineNotice(
    "completion_mode", "a base model: it continues the text, without a template"
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Exact token counts, as the engine made them."""

    prompt_tokens: int
    """As far as the prompt was read: all of it, unless it was stopped before the first token."""
    cached_tokens: int
    completion_tokens: int
    """Sampled ids, an end token included."""

    @property
    def evaluated_tokens(self) -> int:
        """Prompt tokens that were computed this time."""
        return self.prompt_tokens - self.cached_tokens


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds by the engine's monotonic clock; see `domain.metrics` for the definitions."""

    ttft_s: float | None
    prefill_s: float | None
    decode_s: float | None

    @property
    def busy_s(self) -> float | None:
        """From the request to the last token; without a token, what reading the prompt took."""
        if self.ttft_s is None:
            return self.prefill_s
        return self.ttft_s + (self.decode_s or 0.0)


@dataclass(frozen=True, slots=True)
class GenerationDone:
    """The last event of every generation that did not raise."""

    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    threads: int
    n_ctx: int
    ids: tuple[int, ...] = ()
    """The ids that were sampled, an end token included; empty of an engine that has none."""

    @property
    def prefill_tok_per_s(self) -> float | None:
        return metrics.prefill_tok_per_s(self.usage.evaluated_tokens, self.timings.prefill_s)

    @property
    def decode_tok_per_s(self) -> float | None:
        return metrics.decode_tok_per_s(self.usage.completion_tokens, self.timings.decode_s)


GenerationEvent = PrefillProgress | TextDelta | EngineNotice | GenerationDone
