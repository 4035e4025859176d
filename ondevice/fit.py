"""The memory verdict: will this model run on this machine, said before a byte is fetched.

What is predicted is the peak once the context is full, as the engine would load it: private memory
(weights repacked, KV cache, states, compute, the process) and pages of the file. Speed is not
predicted: it is unknown until profiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ondevice import units
from ondevice.domain.compute import compute_bytes
from ondevice.domain.fit import Fit, MemoryEstimate, MemoryVerdict
from ondevice.domain.generation import LoadOptions
from ondevice.domain.layout import (
    BATCH,
    CELLS_TOGETHER,
    SNAPSHOT_BYTES,
    SNAPSHOTS,
    Layout,
    default_n_ctx,
    kv_cache_bytes,
    may_repack,
)
from ondevice.domain.memory import KvType, MachineMemory
from ondevice.domain.model import FileSpec, ModelSpec
from ondevice.domain.offload import LayerSizes
from ondevice.gguf.from_catalogue import catalogue_layout
from ondevice.gguf.header import Header
from ondevice.gguf.layout import layout_of
from ondevice.onnx import layout as onnx_layout
from ondevice.onnx import memory as onnx_memory
from ondevice.onnx.folder import ModelFolder
from ondevice.onnx.layout import FolderLayout

AS_USUAL: Final = LoadOptions()
SMALLEST_N_CTX: Final = 512
RUNTIME_BYTES: Final = 22 << 20
"""The engine's process without a model's vocabulary: Python 12 MB, llama.cpp 3 MB, and what the
first generation adds. Measured, Linux and glibc (benchmarks/memory.py)."""
TOKEN_BYTES: Final = 160
"""What llama.cpp keeps of one token of a vocabulary: 148 for its text, kind and place in both
directions, measured as above, and 12 to choose the next token by."""
TREE_BYTES: Final = 120
"""A node of the tree of characters in which RWKV's tokenizer looks tokens up: about one a token."""
MERGE_BYTES: Final = 155
"""The same of one pair."""


def from_header(header: Header, size_bytes: int) -> Layout | None:
    """What memory depends on, from a file's own header; None where it leaves that out."""
    return layout_of(header, size_bytes, arm=_is_arm())


def from_catalogue(spec: ModelSpec, file: FileSpec) -> Layout | None:
    """The same from the catalogue's shape; None where the catalogue does not know enough."""
    return catalogue_layout(spec, file, arm=_is_arm())


def estimate(
    layout: Layout,
    n_ctx: int,
    *,
    kv_type: KvType = "f16",
    repack: bool = True,
    flash_attention: bool = False,
    snapshots: int = SNAPSHOTS,
    held: int | None = None,
) -> MemoryEstimate:
    """The memory of the engine's process when a context of `n_ctx` tokens is full, or has held
    `held` tokens.

    `snapshots` are the copies of states that a long conversation keeps; one generation makes one.
    """
    held = n_ctx if held is None else min(held, n_ctx)
    flash_attention = flash_attention or kv_type != "f16"
    kv = kv_cache_bytes(
        layout.attention,
        n_ctx,
        window=layout.window,
        kv_type=kv_type,
        flash_attention=flash_attention,
    )
    return MemoryEstimate(
        weights_bytes=layout.weights_bytes,
        repacked_bytes=layout.repackable_bytes if repack else 0,
        kv_bytes=kv,
        recurrent_bytes=layout.recurrent_bytes + _copies(layout, held, kv_type, snapshots),
        compute_bytes=compute_bytes(layout, held, flash_attention=flash_attention),
        runtime_bytes=RUNTIME_BYTES + _vocabulary_bytes(layout),
        n_ctx=n_ctx,
        kv_type=kv_type,
    )


def layer_sizes(
    header: Header,
    size_bytes: int,
    n_ctx: int,
    *,
    kv_type: KvType = "f16",
    flash_attention: bool = False,
) -> LayerSizes | None:
    """What each layer would take on a device; None where the header leaves that out.

    Caches are shared out evenly, though a few models have layers of several kinds.
    """
    layout = from_header(header, size_bytes)
    if layout is None:
        return None
    cache = layout.recurrent_bytes + kv_cache_bytes(
        layout.attention,
        n_ctx,
        window=layout.window,
        kv_type=kv_type,
        flash_attention=flash_attention,
    )
    each = -(-cache // layout.n_layers)
    weights = header.tensors.layer_bytes
    # What is reserved is taken there, so the logits of every token of a batch count.
    logits = 4 * min(BATCH, n_ctx) * layout.vocab
    return LayerSizes(
        layers=tuple(weights.get(n, 0) + each for n in range(layout.n_layers)),
        output=header.tensors.output_bytes,
        compute=logits + compute_bytes(layout, n_ctx, flash_attention=flash_attention),
    )


def _vocabulary_bytes(layout: Layout) -> int:
    token = TOKEN_BYTES + (TREE_BYTES if layout.tree else 0)
    return token * layout.vocab + MERGE_BYTES * layout.merges


def _copies(layout: Layout, held: int, kv_type: KvType, snapshots: int) -> int:
    """Snapshots of what cannot be cut back: recurrent states, and caches behind a window."""
    if not layout.needs_snapshots:
        return 0
    windowed = [layer for layer in layout.attention if layer.windowed]
    seen = min(held, layout.window + BATCH)  # its cache keeps a batch beside the window
    row = kv_cache_bytes(windowed, 1, kv_type=kv_type, flash_attention=True) // CELLS_TOGETHER
    one = layout.recurrent_bytes + row * seen
    if one > SNAPSHOT_BYTES // 2:
        return 0
    return min(SNAPSHOT_BYTES, one * snapshots)


def verdict_for(
    spec: ModelSpec,
    file: FileSpec,
    machine: MachineMemory,
    options: LoadOptions = AS_USUAL,
) -> MemoryVerdict | None:
    """The verdict from the catalogue alone; None where it does not know the model's shape."""
    if file.engine == "onnx":
        folder = onnx_layout.catalogue_layout(spec, file)
        return None if folder is None else _verdict_of_onnx(folder, machine, options.n_ctx)
    layout = from_catalogue(spec, file)
    return None if layout is None else _as_loaded(layout, machine, options)


def verdict_of(
    header: Header,
    size_bytes: int,
    machine: MachineMemory,
    options: LoadOptions = AS_USUAL,
) -> MemoryVerdict | None:
    """The verdict from a file's own header; None where it leaves out what memory depends on."""
    layout = from_header(header, size_bytes)
    return None if layout is None else _as_loaded(layout, machine, options)


def _as_loaded(layout: Layout, machine: MachineMemory, options: LoadOptions) -> MemoryVerdict:
    return verdict(layout, machine, options.n_ctx, kv_type=options.kv_type or "f16")


def verdict_of_folder(
    folder: ModelFolder, machine: MachineMemory, n_ctx: int | None = None
) -> MemoryVerdict:
    """The verdict from an ONNX folder itself."""
    return _verdict_of_onnx(onnx_layout.layout_of(folder), machine, n_ctx)


def _verdict_of_onnx(
    layout: FolderLayout, machine: MachineMemory, n_ctx: int | None
) -> MemoryVerdict:
    wanted = min(n_ctx or default_n_ctx(layout.context), layout.context)
    return _judged(lambda tokens: onnx_memory.estimate(layout, tokens), wanted, machine)


def verdict(
    layout: Layout,
    machine: MachineMemory,
    n_ctx: int | None = None,
    *,
    kv_type: KvType = "f16",
    flash_attention: bool = False,
) -> MemoryVerdict:
    """What would happen if it were loaded now, as the engine would choose to."""
    wanted = n_ctx or default_n_ctx(layout.context)
    free = machine.available_bytes
    repack = may_repack(layout.file_bytes, free)

    def need(tokens: int) -> MemoryEstimate:
        return estimate(
            layout, tokens, kv_type=kv_type, repack=repack, flash_attention=flash_attention
        )

    slower = bool(layout.repackable_bytes) and not repack
    return _judged(need, wanted, machine, slower=slower)


def _judged(
    need: Callable[[int], MemoryEstimate],
    wanted: int,
    machine: MachineMemory,
    *,
    slower: bool = False,
) -> MemoryVerdict:
    """`slower`: there is no room for a faster form of the weights."""
    chosen, free = need(wanted), machine.available_bytes

    def largest(pages_bytes: int) -> int | None:
        """With room to spare beside so many pages of the file."""
        return _largest(lambda n: need(n).most_private_bytes + pages_bytes <= free, wanted)

    kind: Fit
    fits, reason = largest(chosen.pages_bytes), _reason(chosen, free)
    if fits == wanted:
        kind = "tight" if slower else "well"
        reason += ": weights are not repacked, so it is slower" if slower else ""
    elif fits is not None:
        kind = "less_context"
        reason += f": {fits:,} tokens fit with room to spare"
    else:
        # Half of the file read again for every token is the most that still counts as running.
        fits = largest(chosen.pages_bytes // 2)
        kind = "no" if fits is None else "tight"
        reason += _few_pages(chosen, free, fits)
    return MemoryVerdict(kind, chosen, machine, fits, reason)


def _largest(fits: Callable[[int], bool], wanted: int) -> int | None:
    """The largest context that fits: the wanted one, or a shorter multiple of 256."""
    if fits(wanted):
        return wanted
    low, high = SMALLEST_N_CTX // CELLS_TOGETHER, (wanted - 1) // CELLS_TOGETHER
    if high < low or not fits(low * CELLS_TOGETHER):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * CELLS_TOGETHER) else (low, middle - 1)
    return low * CELLS_TOGETHER


def _reason(needed: MemoryEstimate, free: int) -> str:
    private, pages = units.size(needed.private_bytes), units.size(needed.pages_bytes)
    said = f"a context of {needed.n_ctx:,} tokens takes {private} private and {pages} of the file"
    return f"{said}; {units.size(free)} are free"


def _few_pages(needed: MemoryEstimate, free: int, fits: int | None) -> str:
    """Why not all of the file can stay in memory, or may not."""
    if fits is None:
        return ": not even half of the file could stay in memory"
    if needed.total_bytes <= free:
        return ": there is no room to spare, so parts of the file may be read again"
    return f": parts of the file are read again and again, at {fits:,} tokens"


def _is_arm() -> bool:
    import platform  # deferred: 2 ms

    return platform.machine().lower() in ("arm64", "aarch64")
