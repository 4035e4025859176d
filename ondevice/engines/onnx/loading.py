"""Opening a model folder: checked first, every choice made on purpose."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ondevice import errors, units
from ondevice.domain.generation import EngineNotice, LoadOptions
from ondevice.domain.layout import default_n_ctx
from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean_line
from ondevice.engines.base import SMALLER_CONTEXT
from ondevice.engines.onnx import binding
from ondevice.engines.onnx.binding import Library, NativeError
from ondevice.engines.onnx.context import Context
from ondevice.hardware import probe
from ondevice.onnx.config import NAME
from ondevice.onnx.folder import ModelFolder, read_folder

_HINT = "The folder may be damaged, or made for another build; fetch it again."


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that is ready, and what was decided for it."""

    context: Context
    folder: ModelFolder
    backend: str
    """Where it computes, as the library says."""
    threads: int
    notices: tuple[EngineNotice, ...]


def open_folder(lib: Library, file: ModelFile, options: LoadOptions) -> Opened:
    """Raises ModelTrouble for the folder, EngineTrouble for what the library or options say."""
    folder = read_folder(file.path)
    notices = _unmet(options)
    n_ctx = _context_size(folder, options, notices)
    threads = options.threads or probe.usable_cores()
    asked = _provider(options, notices)

    def start(provider: str) -> tuple[Context, str]:
        model = _model(lib, folder, options, threads, provider)
        try:
            backend = _device(lib, model)
            return Context(lib, model, folder, n_ctx), backend
        except (NativeError, errors.OnDeviceError):
            lib.plain("OgaDestroyModel", model)
            raise

    try:
        context, backend = _started(start, asked, notices)
    except NativeError as error:
        said = clean_line(str(error), 200)
        raise errors.ModelLoadFailed(
            f"ONNX Runtime refused {file.name}: {said}", hint=_HINT
        ) from None
    notices += _fallbacks(folder, asked, backend, notices) + _layers(folder, options, backend)
    return Opened(context, folder, backend, threads, tuple(notices))


def _started(
    start: Callable[[str], tuple[Context, str]], asked: str, notices: list[EngineNotice]
) -> tuple[Context, str]:
    """On the provider that was asked for, or else on the CPU, which is told. Raises NativeError."""
    try:
        return start(asked)
    except NativeError as error:
        if asked == "cpu":
            raise
        said = f"{asked} does not start, so it computes on: cpu ({clean_line(str(error), 160)})"
        notices.append(EngineNotice("execution_provider", said, unmet=True))
    return start("cpu")


def _context_size(folder: ModelFolder, options: LoadOptions, notices: list[EngineNotice]) -> int:
    """Tokens; the cache for all of them is made at once. Raises ModelLoadFailed."""
    most = folder.config.context
    n_ctx = options.n_ctx or default_n_ctx(most)
    if n_ctx > most:
        said = f"the context is {most:,} tokens: more is not allowed by {NAME}"
        notices.append(EngineNotice("context", said, unmet=True))
        n_ctx = most
    needed, free = folder.cache_bytes(n_ctx), probe.machine_memory().available_bytes
    if needed > free:
        raise errors.ModelLoadFailed(
            f"a context of {n_ctx:,} tokens needs {units.size(needed)}; "
            f"{units.size(free)} are free",
            hint=SMALLER_CONTEXT,
        )
    return n_ctx


def _unmet(options: LoadOptions) -> list[EngineNotice]:
    """Options that only the other engine has. Raises AdapterRefused."""
    if options.adapters:
        raise errors.AdapterRefused(
            "LoRA adapters are not loaded for ONNX folders", hint="Use a GGUF file of this model."
        )
    told = []
    if options.kv_type not in (None, "f16"):
        said = f"the KV cache is not of {options.kv_type}: an ONNX folder has a type of its own"
        told.append(EngineNotice("kv_type", said, unmet=True))
    if options.flash_attention:
        said = "flash attention is no choice for ONNX folders: their graph says how they attend"
        told.append(EngineNotice("flash_attention", said, unmet=True))
    return told


def _provider(options: LoadOptions, notices: list[EngineNotice]) -> str:
    """The execution provider to ask for."""
    has = binding.PACKAGES[binding.package_name()]
    if options.gpu_layers == 0:
        return "cpu"
    if has == "cpu" and options.gpu_layers is not None:
        said = "this build of onnxruntime-genai has no GPU support: CPU only"
        notices.append(EngineNotice("gpu_missing", said, unmet=True))
    return has


def _model(
    lib: Library, folder: ModelFolder, options: LoadOptions, threads: int, provider: str
) -> Any:
    """Raises NativeError."""
    path = str(folder.path).encode("utf-8", "surrogateescape")
    config = lib.make("OgaCreateConfig", path)
    try:
        lib.call("OgaConfigClearProviders", config)
        if provider != "cpu":
            lib.call("OgaConfigAppendProvider", config, provider.encode())
        session: dict[str, Any] = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
        # Always, as a folder's own config may say otherwise.
        session["session.disable_prepacking"] = "1" if options.repack is False else "0"
        # A prompt that ends with the pad token would get the logits of the token before.
        overlay: dict[str, Any] = {"decoder": {"session_options": session}, "pad_token_id": -1}
        if ends := folder.config.end_tokens:
            # Of several the library would make all but the first impossible, in the logits that
            # are sampled from. Here `Context.is_end` tells ends, so it needs to know of one alone.
            overlay["eos_token_id"] = ends[0]
        lib.call("OgaConfigOverlay", config, json.dumps({"model": overlay}).encode())
        return lib.make("OgaCreateModelFromConfig", config)
    finally:
        lib.plain("OgaDestroyConfig", config)


def _device(lib: Library, model: Any) -> str:
    """What the library says it computes on."""
    text = lib.make("OgaModelGetDeviceType", model)
    try:
        return ctypes.string_at(text.value or 0).decode("utf-8", "replace").lower()
    finally:
        lib.plain("OgaDestroyString", text)


def _fallbacks(
    folder: ModelFolder, asked: str, backend: str, told: list[EngineNotice]
) -> list[EngineNotice]:
    """What was asked for, by a person or by the folder, and is not what computes."""
    if any(each.code == "execution_provider" for each in told):
        return []
    if asked not in ("cpu", backend):
        said = f"{asked} was asked for, but it computes on: {backend}"
        return [EngineNotice("execution_provider", said, unmet=True)]
    made_for = next((each for each in folder.config.providers if each != "cpu"), None)
    if made_for and made_for != backend:
        said = f"{NAME} was made for {made_for}; it computes on: {backend}"
        return [EngineNotice("execution_provider", said)]
    return []


def _layers(folder: ModelFolder, options: LoadOptions, backend: str) -> list[EngineNotice]:
    """A number of them for a GPU is not kept, unless it is all, the output matrix counted too."""
    asked, of = options.gpu_layers, folder.config.n_layers + 1
    if backend == "cpu" or not isinstance(asked, int) or not 0 < asked < of:
        return []
    said = f"{asked} of {of} layers were asked for, but an ONNX folder computes whole on: {backend}"
    return [EngineNotice("gpu_layers", said, unmet=True)]
