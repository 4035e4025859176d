"""genai_config.json: what ONNX Runtime GenAI is told of a model, checked before it is told.

The file can name native libraries, files to write and folders to look in. So every key must be
one of those below, whose values can do no harm, and no key may stand twice: of two, this reader
and the library could take different ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ondevice.domain.text import clean_line
from ondevice.errors import ModelTrouble, NotAModelFile, UnsupportedModel
from ondevice.onnx.cache import Cache

NAME = "genai_config.json"
MAX_BYTES = 1 << 20
MAX_COUNT = 1 << 31
"""Of layers, heads, ids, tokens: far more than any model has."""
MAX_TEXT = 200
DAMAGED = "The folder is damaged or incomplete: fetch it again."
TEXT_MODELS = {
    "chatglm", "decoder", "ernie4_5", "gemma", "gemma2", "gemma3_text", "gemma3_vl_text",
    "gemma4_text", "gpt2", "gptoss", "granite", "granitemoehybrid", "hunyuandensev1", "internlm2",
    "lfm2", "lfm2_audio_text", "lfm2_moe", "lfm2_vl_text", "llama", "mistral", "mistral3_text",
    "nemotron", "olmo", "phi", "phi3", "phi3small", "phimoe", "qwen2", "qwen2_5_vl_text", "qwen3",
    "qwen3_5_moe_text", "qwen3_5_text", "qwen3_vl_text", "smollm3",
}  # fmt: skip
"""Types that are one decoder of text. Of others the library opens files that have other keys, and
takes names of its own for those that have none."""
_NATIVE = {
    "custom_ops_library": "a native library",
    "enable_profiling": "a file to be written",
}
_SESSION = {
    "log_id",
    "log_severity_level",
    "log_verbosity_level",
    "intra_op_num_threads",
    "inter_op_num_threads",
    "enable_cpu_mem_arena",
    "enable_mem_pattern",
    "graph_optimization_level",
    "optimization.disable_specified_optimizers",
    "session.disable_prepacking",
    "session.intra_op.allow_spinning",
    "session.inter_op.allow_spinning",
    "session.set_denormal_as_zero",
    "session.use_device_allocator_for_initializers",
    "ep.cuda.fpa_intb_gemm",
}
_PROVIDERS = {"cpu", "cuda", "dml", "webgpu", "nvtensorrtrtx", "qnn", "openvino", "rocm"}
_PROVIDER_OPTIONS = {
    "device_id",
    "enable_cuda_graph",
    "enable_graph_capture",
    "enable_skip_layer_norm_strict_mode",
    "use_tf32",
    "validationMode",
}
_TOKENS = {
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id",
    "bot_token_id", "eot_token_id", "bor_token_id", "eor_token_id",
}  # fmt: skip
_MODEL = {"type", "vocab_size", "context_length", "decoder", *_TOKENS}
_DECODER = {
    "session_options", "filename", "head_size", "hidden_size", "inputs", "outputs",
    "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "sliding_window",
    "layer_types",
}  # fmt: skip
_SEARCH = {
    "batch_size", "chunk_size", "diversity_penalty", "do_sample", "early_stopping",
    "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beams",
    "num_return_sequences", "past_present_share_buffer", "random_seed", "repetition_penalty",
    "temperature", "top_k", "top_p",
}  # fmt: skip
_WINDOW = {
    "window_size", "pad_value", "alignment", "slide_key_value_cache", "slide_inputs", "layers",
    "cache_slack",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GenaiConfig:
    """The facts of a model; counts."""

    model_type: str
    context: int
    vocabulary: int
    n_layers: int
    n_kv_heads: int
    head_size: int
    width: int
    """Numbers of a token between layers; where the config does not say, those of all its heads."""
    end_tokens: tuple[int, ...]
    model_file: str
    """Of the graph, inside the folder."""
    key_input: str
    """Name of a layer's past keys in the graph, with `%d` for the layer."""
    providers: tuple[str, ...]
    """What the folder was made for, in its order; empty is the CPU."""
    cache: Cache
    logits_output: str
    """Name of the logits in the graph."""


def parse(data: bytes) -> GenaiConfig:
    """Check all of it. Raises NotAModelFile or UnsupportedModel."""
    if len(data) > MAX_BYTES:
        raise NotAModelFile(f"{NAME} is over 1 MB", hint=DAMAGED)
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except ModelTrouble:
        raise
    except (ValueError, RecursionError) as error:
        raise NotAModelFile(f"{NAME} is not JSON: {clean_line(str(error), 80)}", DAMAGED) from None
    root = _section(document, "")
    _only(root, {"model", "search"}, "")
    model = _section(root.get("model"), "model")
    _only(model, _MODEL, "model")
    inside = "model.decoder"
    decoder = _section(model.get("decoder"), inside)
    _only(decoder, _DECODER, inside)
    _check_search(root.get("search", {}))
    n_kv_heads = _count(decoder, "num_key_value_heads", inside, 100_000)
    n_heads = _count(decoder, "num_attention_heads", inside, 100_000, default=n_kv_heads)
    head_size = _count(decoder, "head_size", inside, 100_000)
    n_layers = _count(decoder, "num_hidden_layers", inside, 10_000)
    window = _window(decoder.get("sliding_window"), n_layers)
    return GenaiConfig(
        model_type=_type(model),
        context=_count(model, "context_length", "model"),
        vocabulary=_count(model, "vocab_size", "model"),
        n_layers=n_layers,
        n_kv_heads=n_kv_heads,
        head_size=head_size,
        width=_count(decoder, "hidden_size", inside, 10_000_000, default=n_heads * head_size),
        end_tokens=_end_tokens(model),
        model_file=_text(decoder, "filename", inside),
        key_input=_names(decoder),
        providers=_providers(decoder.get("session_options", {})),
        cache=Cache(n_layers, 2 * n_kv_heads * head_size, *window),
        logits_output=decoder.get("outputs", {}).get("logits") or "logits",
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotAModelFile(f"a key stands twice in {NAME}", hint=DAMAGED)
    return found


def _only(section: dict[str, Any], known: set[str], where: str) -> None:
    for key in section:
        if key in _NATIVE:
            _refuse(where, key, f"names {_NATIVE[key]}")
        if key not in known:
            _refuse(where, key, "is not supported")


def _refuse(where: str, key: str, why: str) -> NoReturn:
    raise UnsupportedModel(
        f"{NAME}: {_named(where, key)} {why}",
        hint="Only folders of one text model, without code of their own, are opened.",
    )


def _wrong(where: str, key: str) -> NoReturn:
    raise NotAModelFile(
        f"{NAME}: {_named(where, key)} is missing or not what it must be", hint=DAMAGED
    )


def _named(where: str, key: str) -> str:
    return clean_line(f"{where}.{key}" if where else key, 80) or "a key without a name"


def _section(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong("", where or "the whole")
    return value


def _count(
    section: dict[str, Any],
    key: str,
    where: str,
    most: int = MAX_COUNT,
    default: int | None = None,
) -> int:
    value = section.get(key, default)
    if type(value) is not int or not 0 < value < most:
        _wrong(where, key)
    return value


def _text(section: dict[str, Any], key: str, where: str) -> str:
    value = section.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or "\0" in value:
        _wrong(where, key)
    return value


def _type(model: dict[str, Any]) -> str:
    found = _text(model, "type", "model")
    if found not in TEXT_MODELS:
        _refuse("model", "type", f"is no known type of text model: {clean_line(found, 40)}")
    return found


def _end_tokens(model: dict[str, Any]) -> tuple[int, ...]:
    """The ids with which the model ends an answer; the library writes to their logits unasked."""
    for key in _TOKENS & model.keys():
        for each in _listed(model[key]):
            if each is not None and (type(each) is not int or not -1 <= each < MAX_COUNT):
                _wrong("model", key)
    named = [each for each in _listed(model.get("eos_token_id")) if each is not None and each >= 0]
    ends = tuple(each for each in named if each < model["vocab_size"])
    if named and not ends:
        _wrong("model", "eos_token_id")
    return ends


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(section: dict[str, Any], where: str, fits: Callable[[Any], bool]) -> None:
    for key, value in section.items():
        if not fits(value):
            _wrong(where, key)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float) or _is_text(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and "\0" not in value


def _names(decoder: dict[str, Any]) -> str:
    """Inputs and outputs are names in the graph. The name of the keys' input is returned."""
    for key in ("inputs", "outputs"):
        where = f"model.decoder.{key}"
        _plain(_section(decoder.get(key, {}), where), where, _is_text)
    named: str = decoder.get("inputs", {}).get("past_key_names", "past_key_values.%d.key")
    return named


def _check_search(value: Any) -> None:
    search = _section(value, "search")
    _only(search, _SEARCH, "search")
    _plain(search, "search", _is_scalar)


def _providers(value: Any) -> tuple[str, ...]:
    """The execution providers that are asked for, by the names used here."""
    where = "model.decoder.session_options"
    options = _section(value, where)
    _only(options, _SESSION | {"provider_options"}, where)
    listed = options.get("provider_options", [])
    _plain({key: each for key, each in options.items() if key in _SESSION}, where, _is_scalar)
    if not isinstance(listed, list):
        _wrong(where, "provider_options")
    found = []
    for each in listed:
        for name, chosen in _section(each, f"{where}.provider_options").items():
            known = name.lower().removesuffix("executionprovider")
            if known not in _PROVIDERS:
                _refuse(f"{where}.provider_options", name, "is an unknown execution provider")
            inside = f"{where}.provider_options.{known}"
            _only(_section(chosen, inside), _PROVIDER_OPTIONS, inside)
            _plain(chosen, inside, _is_text)
            found.append(known)
    return tuple(found)


def _window(value: Any, n_layers: int) -> tuple[int | None, int]:
    """Tokens that a sliding window keeps, and how many layers have a cache no longer than that."""
    where = "model.decoder.sliding_window"
    if value is None:
        return None, 0
    window = _section(value, where)
    _only(window, _WINDOW, where)
    for key, each in window.items():
        if not all(_is_scalar(one) for one in _listed(each)):
            _wrong(where, key)
    cells = _count(window, "window_size", where)
    if window.get("cache_slack"):
        cells += _count(window, "cache_slack", where)
    windowed = window.get("layers") if window.get("slide_key_value_cache") is False else None
    return cells, min(n_layers, len(_listed(windowed or [])))
