"""Opening a model file: every choice made on purpose, none inherited from a default."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ondevice import errors, fit, units
from ondevice.domain.device import Accelerators, Offload
from ondevice.domain.generation import EngineNotice, LoadOptions
from ondevice.domain.layout import BATCH, default_n_ctx, may_repack
from ondevice.domain.memory import KvType
from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean_line
from ondevice.engines.base import SMALLER_CONTEXT, LoadProgress
from ondevice.engines.llamacpp import adapters, devices, offload
from ondevice.engines.llamacpp.bound import state_binding
from ondevice.engines.llamacpp.choices import Choices
from ondevice.engines.llamacpp.context import Context
from ondevice.engines.llamacpp.kv_size import KvSize
from ondevice.engines.llamacpp.log import Log
from ondevice.engines.statefile import AdapterBinding, Binding
from ondevice.gguf.header import read_model
from ondevice.hardware import probe

KV_TYPES: dict[KvType, int] = {"f16": 1, "q8_0": 8}
"""ggml's numbers of the types of a KV cache."""
MMAP = 1
"""LLAMA_LOAD_MODE_MMAP: pages of the file, shared and dropped by the system as needed."""
FLASH_ATTENTION_OFF, FLASH_ATTENTION_ON = 0, 1
_NO_DEVICES = (ctypes.c_void_p * 1)()
"""A list of devices that ends at once: llama.cpp takes the CPU alone, as if it were built so."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that is ready, and what was decided for it."""

    context: Context
    binding: Binding
    """What its states belong to, but for the hash of the model, which the parent knows."""
    choices: Choices
    offload: Offload
    backend: str
    notices: tuple[EngineNotice, ...]


def open_file(
    lib: Any, file: ModelFile, options: LoadOptions, log: Log, progress: LoadProgress
) -> Opened:
    """Load `file`, with fewer layers on a GPU where there is no room for them.

    Raises ModelLoadFailed, UnsupportedModel or AdapterRefused.
    """
    lib.llama_backend_init()
    model_bytes = size_of(file)
    # A driver that hangs or dies when a device is opened leaves the CPU usable.
    there = Accelerators() if options.gpu_layers == 0 else devices.found()
    layers = tried = offload.first_try(file, options, there.devices)
    while True:
        log.begin()
        choices = choose(file, options, layers)
        try:
            context, applied = _open_context(lib, log, file, options, choices, progress)
            break
        except errors.ModelLoadFailed:
            if not layers or not log.no_room:
                raise
            layers = offload.fewer(layers, log.placement)
    log.end()
    placed = offload.seen(log.placement, devices.found().devices if layers else ())
    bound = state_binding(context, choices, model_bytes, applied, placed)
    notices = choices.notices + offload.told(options.gpu_layers, tried, placed, there)
    return Opened(context, bound, choices, placed, offload.backend_of(placed, layers), notices)


def choose(file: ModelFile, options: LoadOptions, gpu_layers: int = 0) -> Choices:
    """Fill in what the options leave open."""
    notices: list[EngineNotice] = []
    kv_type = options.kv_type or "f16"
    repack = options.repack
    if gpu_layers:
        if repack:
            said = "weights are not repacked beside a GPU, also not those of the CPU's layers"
            notices.append(EngineNotice("repack", said, unmet=True))
        repack = False
    elif repack is None:
        repack = _memory_allows_repacking(file, notices)
    return Choices(
        threads=options.threads or probe.usable_cores(),
        threads_fixed=options.threads is not None,
        flash_attention=_flash_attention(kv_type, options.flash_attention, notices),
        repack=repack,
        gpu_layers=gpu_layers,
        notices=tuple(notices),
        kv_type=kv_type,
    )


def _flash_attention(kv_type: KvType, asked: bool | None, notices: list[EngineNotice]) -> bool:
    """Off unless asked for, as on a CPU it slows decoding at depth by up to 3x and speeds prefill
    by 4-8 %; llama.cpp has no other way to read quantized values, so they turn it on."""
    if kv_type == "f16":
        return bool(asked)
    if asked is False:
        raise errors.ModelLoadFailed(
            f"a KV cache of {kv_type} needs flash attention, which was turned off",
            hint="Leave flash attention on, or keep the KV cache in f16.",
        )
    if asked is None:
        said = f"flash attention is on: a KV cache of {kv_type} needs it; deep in a context it is"
        notices.append(EngineNotice("flash_attention", f"{said} slower"))
    return True


def _memory_allows_repacking(file: ModelFile, notices: list[EngineNotice]) -> bool:
    """Repacked weights are a second copy in private memory, beside the pages of the file."""
    if may_repack(size_of(file), probe.machine_memory().available_bytes):
        return True
    if _has_faster_form(file):
        said = "weights are not repacked: little memory is free; decoding is slower"
        notices.append(EngineNotice("memory", said))
    return False


def _has_faster_form(file: ModelFile) -> bool:
    """Whether there is anything to repack."""
    try:
        layout = fit.from_header(read_model(file.paths), size_of(file))
    except errors.ModelTrouble:
        return False  # llama.cpp has the last word on the file
    return layout is not None and layout.repackable_bytes > 0


def size_of(file: ModelFile) -> int:
    """Bytes of all its parts. Raises ModelLoadFailed."""
    try:
        return sum(path.stat().st_size for path in file.paths)
    except OSError as error:
        part = f": {clean_line(Path(error.filename).name, 80)}" if file.paths[1:] else ""
        raise errors.ModelLoadFailed(
            f"{file.name} cannot be read{part}: {error.strerror}",
            hint="Has it been moved or deleted?",
        ) from error


def _open_context(
    lib: Any,
    log: Log,
    file: ModelFile,
    options: LoadOptions,
    choices: Choices,
    progress: LoadProgress,
) -> tuple[Context, tuple[AdapterBinding, ...]]:
    """Load the weights and make a context with its adapters."""
    model = _load_weights(lib, log, file, choices, progress)
    trained = lib.llama_model_n_ctx_train(model)
    wanted = options.n_ctx or default_n_ctx(trained)
    try:
        cache = KvSize(lib, model, file.path, choices.flash_attention, choices.kv_type)
        _refuse_what_cannot_fit(cache, wanted, log.placement.cpu_share)
    except errors.ModelLoadFailed:
        lib.llama_model_free(model)
        raise
    handle = lib.llama_init_from_model(model, _context_params(lib, wanted, choices))
    if not handle:
        lib.llama_model_free(model)
        raise errors.ModelLoadFailed(
            f"no context of {wanted} tokens could be made for {file.name}: {_reason(log)}",
            hint=SMALLER_CONTEXT,
        )
    context = Context(lib, model, handle)
    try:
        applied = adapters.attach(lib, model, handle, cache.architecture, options.adapters)
    except errors.AdapterRefused:
        context.close()
        raise
    return context, applied


def _refuse_what_cannot_fit(cache: KvSize, n_ctx: int, cpu_share: float = 1.0) -> None:
    """A KV cache larger than the free memory ends in swapping or a kill, not in an error.

    `cpu_share` of it is in this memory, the rest on devices.
    """
    free = probe.machine_memory().available_bytes
    if cache.most(n_ctx) * cpu_share <= free:
        return
    needed = int(cache.of(n_ctx) * cpu_share)
    if needed > free:
        sizes = f"needs {units.size(needed)}; {units.size(free)} are free"
        raise errors.ModelLoadFailed(
            f"a context of {n_ctx:,} tokens {sizes}",
            hint=SMALLER_CONTEXT,
        )


def _load_weights(
    lib: Any, log: Log, file: ModelFile, choices: Choices, progress: LoadProgress
) -> Any:
    def report(fraction: float, _data: Any) -> bool:
        progress(fraction)
        return True

    callback = lib.llama_progress_callback(report)
    params = lib.llama_model_default_params()
    params.load_mode = MMAP
    params.use_extra_bufts = choices.repack
    # Mapped weights are in no such buffer anyway, but each would be told as moved out of one, and
    # hide in the log what a device cannot compute with.
    params.no_host = True
    params.n_gpu_layers = choices.gpu_layers
    if not choices.gpu_layers:
        params.devices = ctypes.addressof(_NO_DEVICES)
    params.progress_callback = callback
    model = lib.llama_model_load_from_file(os.fsencode(file.path), params)
    if model:
        return model
    reason = _reason(log)
    if "unknown model architecture" in reason:
        raise errors.UnsupportedModel(
            f"{file.name}: {reason}", hint="A newer llama-cpp-python may know it."
        )
    raise errors.ModelLoadFailed(
        f"llama.cpp refused {file.name}: {reason}", hint="The file may be damaged; fetch it again."
    )


def _context_params(lib: Any, n_ctx: int, choices: Choices) -> Any:
    params = lib.llama_context_default_params()
    params.n_ctx = n_ctx
    params.n_batch = params.n_ubatch = BATCH
    params.n_seq_max = 1
    params.type_k = params.type_v = KV_TYPES[choices.kv_type]
    params.n_threads = params.n_threads_batch = choices.threads
    params.flash_attn_type = FLASH_ATTENTION_ON if choices.flash_attention else FLASH_ATTENTION_OFF
    params.offload_kqv = choices.gpu_layers != 0
    params.op_offload = choices.gpu_layers != 0
    params.swa_full = False
    params.no_perf = True
    return params


def _reason(log: Log) -> str:
    """The first error without the function that says it; names in it come from the file."""
    if not log.errors:
        return "no reason given"
    said = log.errors[0].split(": ", 1)[-1].removeprefix("error loading model: ")
    return clean_line(said)
