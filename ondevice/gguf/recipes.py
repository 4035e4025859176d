"""Which type each tensor gets under a quantization, by the rules of llama.cpp's `llama-quantize`.

Where its versions differ (fused attention, mamba's small matrices), the published files decide.

Vectors and small matrices stay F32. The output matrix, or the embedding where that is the same
matrix, gets more bits, and so do some layers of the `_M` and `_S` mixes. A type whose block does
not divide a row gives way: Q4_K to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0, and what still does not fit
to F16.
"""

from __future__ import annotations

from typing import Final

from ondevice.errors import UsageTrouble
from ondevice.gguf.architectures import PlannedTensor
from ondevice.gguf.spec import ShapeSpec
from ondevice.gguf.tables import FILE_TYPES, TENSOR_TYPES

TYPE_NUMBERS: Final = {kind.name: number for number, kind in TENSOR_TYPES.items()}
FILE_TYPE_NUMBERS: Final = {name: number for number, name in FILE_TYPES.items()}

# The quantizations that can be written, and the type most tensors get.
MAIN_TYPES: Final = {
    "F32": "F32",
    "F16": "F16",
    "Q4_0": "Q4_0",
    "Q4_1": "Q4_1",
    "Q5_0": "Q5_0",
    "Q5_1": "Q5_1",
    "Q8_0": "Q8_0",
    "Q4_K_S": "Q4_K",
    "Q4_K_M": "Q4_K",
    "Q5_K_S": "Q5_K",
    "Q5_K_M": "Q5_K",
    "Q6_K": "Q6_K",
}
_ALIASES: Final = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
_QKV: Final = {"Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"}
_SMALLER_BLOCKS: Final = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


def known_quantization(name: str) -> str:
    """`name` as llama.cpp spells it; `Q4_K` means `Q4_K_M`."""
    upper = name.upper()
    known = _ALIASES.get(upper, upper)
    if known not in MAIN_TYPES:
        raise UsageTrouble(
            f"random weights cannot be written as {name!r}",
            f"Choose one of {', '.join(MAIN_TYPES)}.",
        )
    return known


def type_of(tensor: PlannedTensor, spec: ShapeSpec, quantization: str) -> str:
    """The tensor type `tensor` gets in a file of that quantization."""
    main = MAIN_TYPES[quantization]
    if len(tensor.dimensions) == 1 or main == "F32":
        return "F32"
    if tensor.kept:
        return tensor.kept
    return _fitting(_wanted(tensor, spec, quantization, main), tensor.dimensions[0])


def _wanted(tensor: PlannedTensor, spec: ShapeSpec, quantization: str, main: str) -> str:
    if main == "F16":
        return main
    part = tensor.name.split(".")[-2]
    if part == ("token_embd" if spec.tied else "output"):
        row_fits = tensor.dimensions[0] % _block(main) == 0
        return "Q6_K" if row_fits and main != "Q8_0" else "Q8_0"
    if part == "attn_qkv":
        return _QKV.get(quantization, main)
    if part in ("attn_v", "ffn_down"):
        return _sensitive(part, tensor.layer, spec.n_layers, quantization, main)
    return main


def _sensitive(part: str, layer: int, layers: int, quantization: str, main: str) -> str:
    if quantization in ("Q4_K_M", "Q5_K_M"):
        early, late = layer < layers // 8, layer >= 7 * layers // 8
        return "Q6_K" if early or late or (layer - layers // 8) % 3 == 2 else main
    if quantization == "Q4_K_S":
        return "Q5_K" if layer < (layers // 8 if part == "ffn_down" else 4) else main
    return main


def _fitting(kind: str, row: int) -> str:
    if row % _block(kind):
        kind = _SMALLER_BLOCKS.get(kind, kind)
    return "F16" if row % _block(kind) else kind


def _block(kind: str) -> int:
    return TENSOR_TYPES[TYPE_NUMBERS[kind]].block
