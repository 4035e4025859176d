"""What the memory of an ONNX model depends on, by its folder or by the catalogue.

matrix   a constant that is multiplied with. ONNX Runtime rewrites most of them into private memory
         when it loads, in the order its arithmetic wants, and gives their pages back
codes    of a matrix in int4 or int8: the numbers themselves, without the scales of its blocks
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ondevice.domain.model import FileSpec, ModelSpec, Shape
from ondevice.onnx.cache import Cache
from ondevice.onnx.folder import ModelFolder
from ondevice.onnx.graph import Graph

_FLOAT: Final = 4
_BLOCK: Final = 32
"""Numbers that share a scale, where a path does not say otherwise."""
_NAMED_BLOCK: Final = re.compile(r"block-(\d{1,4})(?!\d)", re.A)


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """Everything the memory of an ONNX model depends on, whatever said it."""

    n_layers: int
    n_embd: int
    cache: Cache
    number_bytes: int
    """Of one number in it."""
    n_ff: int
    """The most numbers a layer has between two matrices."""
    vocab: int
    weights_bytes: int
    """Of the files beside the graph, which are mapped."""
    copied_bytes: int
    """Of weights that become private as they are: inside the graph, or put into another shape."""
    given_back_bytes: int
    """Of the mapped weights, those that are only needed until they are rewritten."""
    rewritten_bytes: int
    """What the rewritten matrices take."""
    context: int


def layout_of(folder: ModelFolder) -> FolderLayout:
    """By what a folder says of itself; of its files only the sizes are looked at."""
    facts, said = folder.config, folder.said
    tensors = said.tensors
    matrices = {matrix for matrix, _ in said.multiplied} & tensors.keys()
    let_go = matrices - said.taken  # once they are rewritten
    inside = {name for name, each in tensors.items() if each.inside}
    widths = {tensors[name].largest for name in matrices} - {facts.vocabulary}

    def size(names: Iterable[str]) -> int:
        return sum(tensors[name].size_bytes for name in names if name in tensors)

    return FolderLayout(
        n_layers=facts.n_layers,
        n_embd=facts.width,
        cache=facts.cache,
        number_bytes=folder.number_bytes,
        n_ff=max(widths, default=facts.width),
        vocab=facts.vocabulary,
        weights_bytes=sum(each.stat().st_size for each in folder.weights),
        copied_bytes=size(said.reshaped | (inside - let_go)),
        given_back_bytes=size(let_go - inside),
        rewritten_bytes=sum(_rewritten(said, *each) for each in said.multiplied),
        context=facts.context,
    )


def _rewritten(said: Graph, matrix: str, scales: str) -> int:
    """Codes keep their size; with them go their scales and as many sums of blocks."""
    if matrix not in said.tensors:  # it is computed, not constant
        return 0
    beside = said.tensors[scales].size_bytes if scales in said.tensors else 0
    return said.tensors[matrix].size_bytes + 2 * beside


def catalogue_layout(spec: ModelSpec, file: FileSpec) -> FolderLayout | None:
    """By the catalogue's shape, for a model in int4; None where that says too little.

    Matrices are taken to be codes with a scale of float32 a block, all else to be float32, as the
    builder of onnxruntime-genai makes them for a CPU; and every layer to keep the whole context, as
    a folder has shorter caches behind a window only where its maker asked for them.
    """
    shape = spec.shape
    if shape is None or file.size_bytes is None or file.quantization.lower() != "int4":
        return None
    if not shape.n_heads or not shape.n_kv_heads or not shape.n_ff or shape.n_recurrent_layers:
        return None
    head_size = shape.head_dim or shape.n_embd // shape.n_heads
    named = _NAMED_BLOCK.search(file.path)
    block = int(named[1]) if named and int(named[1]) else _BLOCK
    head = shape.vocab * shape.n_embd
    layers = shape.n_layers * _numbers_of_layer(shape, head_size)
    codes, scales = (layers + head) // 2, _FLOAT * (layers + head) // block
    # Where the rest has no room for a table of embeddings, that is the output matrix, reshaped.
    shared = file.size_bytes - codes - scales < head // 2
    return FolderLayout(
        n_layers=shape.n_layers,
        n_embd=shape.n_embd,
        cache=Cache(shape.n_layers, 2 * shape.n_kv_heads * head_size),
        number_bytes=_FLOAT,
        n_ff=shape.n_ff,
        vocab=shape.vocab,
        weights_bytes=file.size_bytes,
        copied_bytes=head // 2 if shared else 0,
        given_back_bytes=min(codes, file.size_bytes),
        rewritten_bytes=codes + 2 * scales,
        context=spec.context,
    )


def _numbers_of_layer(shape: Shape, head_size: int) -> int:
    """Of its matrices: queries and output, keys and values, and three of the feed-forward."""
    attends = 2 * (shape.n_heads or 0) * head_size + 2 * (shape.n_kv_heads or 0) * head_size
    return shape.n_embd * (attends + 3 * (shape.n_ff or 0))
