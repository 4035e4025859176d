"""Model folders of ONNX Runtime GenAI: a llama of any small shape, and SmolLM2 out of its GGUF.

The graph is the one the library's own builder makes for a llama, in float32, or with matrices in
int4. Weights of a GGUF are the numbers its blocks stand for, so that both engines compute with the
same ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx_tokens import Tokens, byte_tokens, tokenizer

Array = NDArray[Any]
BLOCK = 32
"""Numbers of a row that share a scale in int4."""


@dataclass(frozen=True)
class Shape:
    """The dimensions of a llama."""

    n_layers: int = 1
    width: int = 64
    n_ff: int = 128
    n_heads: int = 2
    n_kv_heads: int = 1
    head_size: int = 32
    context: int = 512
    rope_base: float = 10_000.0
    epsilon: float = 1e-5


class Graph:
    """Nodes and tensors of a graph as it grows."""

    def __init__(self, int4: bool = False) -> None:
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}
        self.int4 = int4

    def node(
        self,
        kind: str,
        *inputs: str,
        out: str | list[str] = "",
        domain: str = "",
        **more: Any,
    ) -> str:
        """Add a node; the name of its first output."""
        outs = out if isinstance(out, list) else [out or f"{kind}.{len(self.nodes)}"]
        made = helper.make_node(kind, list(inputs), outs, domain=domain, **more)
        self.nodes.append(made)
        return outs[0]

    def tensor(self, name: str, value: Array) -> str:
        """Add a constant; its name."""
        self.tensors[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def matmul(self, value: str, name: str, matrix: Array) -> str:
        """`value` times the constant `matrix` of (rows, columns), each row one result."""
        if not self.int4:
            constant = self.tensor(name, matrix)
            return self.node("FusedMatMul", value, constant, domain="com.microsoft", transB=1)
        codes, scales = in_int4(matrix)
        constants = self.tensor(f"{name}.int4", codes), self.tensor(f"{name}.scales", scales)
        sizes = {"N": matrix.shape[0], "K": matrix.shape[1], "block_size": BLOCK}
        how = {"bits": 4, "accuracy_level": 4, "domain": "com.microsoft"}
        return self.node("MatMulNBits", value, *constants, **how, **sizes)

    def norm(self, weights: str, value: str, epsilon: float) -> str:
        """Root mean square norm."""
        return self.node("SimplifiedLayerNormalization", value, weights, axis=-1, epsilon=epsilon)


def in_int4(matrix: Array) -> tuple[Array, Array]:
    """Codes, two a byte, and the scale of each BLOCK of a row."""
    blocks = matrix.reshape(len(matrix), -1, BLOCK)
    scales = np.abs(blocks).max(axis=2) / 7
    codes = np.rint(blocks / np.maximum(scales, 1e-12)[..., None]).astype(np.int8) + 8
    packed = codes[..., 0::2] | codes[..., 1::2] << 4
    return packed.astype(np.uint8), scales.reshape(-1).astype(np.float32)


Weights = Callable[[str], Array]
"""The tensor of a name that GGUF has for it, without `.weight`; a matrix is (rows, columns)."""


def random_weights(shape: Shape, vocabulary: int) -> Weights:
    """Noise, always the same."""
    random = np.random.default_rng(0)
    width, kv = shape.width, shape.n_kv_heads * shape.head_size
    q = shape.n_heads * shape.head_size
    sizes = {
        "token_embd": (vocabulary, width),
        "attn_q": (q, width),
        "attn_k": (kv, width),
        "attn_v": (kv, width),
        "attn_output": (width, q),
        "ffn_gate": (shape.n_ff, width),
        "ffn_up": (shape.n_ff, width),
        "ffn_down": (width, shape.n_ff),
    }

    def weights(name: str) -> Array:
        size = sizes.get(name.split(".")[-1])
        if size is None:
            return np.ones(width, dtype=np.float32)
        return (random.standard_normal(size) * size[1] ** -0.5).astype(np.float32)

    return weights


def _rotary(shape: Shape) -> tuple[Array, Array]:
    half = np.arange(shape.head_size // 2) * 2 / shape.head_size
    angles = np.arange(shape.context)[:, None] * shape.rope_base**-half
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _layer(graph: Graph, number: int, value: str, shape: Shape, weights: Weights) -> str:
    name = f"blk.{number}."

    def constant(part: str) -> str:
        return graph.tensor(name + part, weights(name + part))

    def times(value: str, part: str) -> str:
        return graph.matmul(value, name + part, weights(name + part))

    normed = graph.norm(constant("attn_norm"), value, shape.epsilon)
    q, k, v = (times(normed, part) for part in ("attn_q", "attn_k", "attn_v"))
    past = [f"past_key_values.{number}.key", f"past_key_values.{number}.value"]
    attended = graph.node(
        "GroupQueryAttention",
        *(q, k, v, *past, "lengths", "total", "cosines", "sines"),
        out=[f"attended.{number}", f"present.{number}.key", f"present.{number}.value"],
        domain="com.microsoft",
        num_heads=shape.n_heads,
        kv_num_heads=shape.n_kv_heads,
        do_rotary=1,
        rotary_interleaved=1,  # pairs stand side by side, as GGUF has them
    )
    value = graph.node("Add", value, times(attended, "attn_output"))
    normed = graph.norm(constant("ffn_norm"), value, shape.epsilon)
    gate, up = (times(normed, part) for part in ("ffn_gate", "ffn_up"))
    gated = graph.node("Mul", graph.node("Mul", gate, graph.node("Sigmoid", gate)), up)
    return graph.node("Add", value, times(gated, "ffn_down"))


def _ends(shape: Shape, vocabulary: int) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs of the graph."""
    real, whole = TensorProto.FLOAT, TensorProto.INT64
    inputs = [
        helper.make_tensor_value_info("input_ids", whole, ["batch", "new"]),
        helper.make_tensor_value_info("attention_mask", whole, ["batch", "all"]),
    ]
    outputs = [helper.make_tensor_value_info("logits", real, ["batch", "new", vocabulary])]
    for number in range(shape.n_layers):
        for part in ("key", "value"):
            rows: list[Any] = ["batch", shape.n_kv_heads, "past", shape.head_size]
            name = f"past_key_values.{number}.{part}"
            inputs.append(helper.make_tensor_value_info(name, real, rows))
            rows = ["batch", shape.n_kv_heads, "all", shape.head_size]
            outputs.append(helper.make_tensor_value_info(f"present.{number}.{part}", real, rows))
    return inputs, outputs


def build(shape: Shape, vocabulary: int, weights: Weights, int4: bool = False) -> onnx.ModelProto:
    """The whole model."""
    graph = Graph(int4)
    one = graph.tensor("one", np.array([1], dtype=np.int64))
    summed = graph.node("ReduceSum", "attention_mask", one, keepdims=0)
    graph.node("Cast", graph.node("Sub", summed, one), out="lengths", to=TensorProto.INT32)
    size = graph.node("Shape", "attention_mask")
    index = graph.tensor("index", np.array(1, dtype=np.int64))
    graph.node("Cast", graph.node("Gather", size, index), out="total", to=TensorProto.INT32)
    for name, rotary in zip(("cosines", "sines"), _rotary(shape), strict=True):
        graph.tensor(name, rotary)
    table = weights("token_embd")
    value = graph.node("Gather", graph.tensor("token_embd", table), "input_ids")
    for number in range(shape.n_layers):
        value = _layer(graph, number, value, shape, weights)
    last = graph.tensor("output_norm", weights("output_norm"))
    normed = graph.norm(last, value, shape.epsilon)
    graph.node("Identity", graph.matmul(normed, "token_embd", table), out="logits")
    tensors = list(graph.tensors.values())
    made = helper.make_graph(graph.nodes, "llama", *_ends(shape, vocabulary), tensors)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


def genai_config(shape: Shape, vocabulary: int, end: int | list[int]) -> dict[str, Any]:
    """What the library's builder writes."""
    return {
        "model": {
            "bos_token_id": 1,
            "context_length": shape.context,
            "decoder": {
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "filename": "model.onnx",
                "head_size": shape.head_size,
                "hidden_size": shape.width,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
                "num_attention_heads": shape.n_heads,
                "num_hidden_layers": shape.n_layers,
                "num_key_value_heads": shape.n_kv_heads,
            },
            "eos_token_id": end,
            "pad_token_id": end if isinstance(end, int) else end[0],
            "type": "llama",
            "vocab_size": vocabulary,
        },
        "search": {"max_length": shape.context, "past_present_share_buffer": True},
    }


def write(
    folder: Path,
    shape: Shape,
    weights: Weights,
    tokens: Tokens,
    ends: tuple[int, ...] = (2,),
    int4: bool = False,
) -> Path:
    """Write all files of a model into `folder`, which is made; `ends` are its end tokens."""
    folder.mkdir(parents=True)
    vocabulary = len(tokens.texts)
    onnx.save_model(
        build(shape, vocabulary, weights, int4),
        str(folder / "model.onnx"),
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=1024,
    )
    documents = {
        "genai_config.json": genai_config(
            shape, vocabulary, ends[0] if len(ends) == 1 else list(ends)
        ),
        "tokenizer.json": tokenizer(tokens),
        "tokenizer_config.json": {
            "bos_token": tokens.special[1],
            "eos_token": tokens.special[2],
            "tokenizer_class": "GPT2Tokenizer",
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(tokens.template, encoding="utf-8")
    return folder


def write_tiny(
    folder: Path, shape: Shape | None = None, ends: tuple[int, ...] = (2,), int4: bool = False
) -> Path:
    """A model of random weights that reads and writes bytes."""
    shape, tokens = shape or Shape(), byte_tokens()
    weights = random_weights(shape, len(tokens.texts))
    return write(folder, shape, weights, tokens, ends, int4)


def write_smollm2(folder: Path, gguf_path: Path, int4: bool = False) -> Path:
    """SmolLM2 with the very weights of its GGUF, or those in int4."""
    import gguf

    reader = gguf.GGUFReader(gguf_path)

    def field(name: str) -> Any:
        return reader.fields[name].contents()

    heads = field("llama.attention.head_count")
    shape = Shape(
        n_layers=field("llama.block_count"),
        width=field("llama.embedding_length"),
        n_ff=field("llama.feed_forward_length"),
        n_heads=heads,
        n_kv_heads=field("llama.attention.head_count_kv"),
        head_size=field("llama.embedding_length") // heads,
        context=field("llama.context_length"),
        rope_base=field("llama.rope.freq_base"),
        epsilon=field("llama.attention.layer_norm_rms_epsilon"),
    )
    texts, kinds = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    special = [text for text, kind in zip(texts, kinds, strict=True) if kind in (3, 4)]
    template = field("tokenizer.chat_template")
    tokens = Tokens(texts, field("tokenizer.ggml.merges"), special, template)
    tensors = {each.name.removesuffix(".weight"): each for each in reader.tensors}

    def weights(name: str) -> Array:
        tensor = tensors[name]
        return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)

    return write(folder, shape, weights, tokens, int4=int4)


def move_weights(graph: Path, location: str, only: str = "") -> None:
    """Let every tensor outside of the graph, or only one, stand in `location`; the file stays where
    it is."""
    model = onnx.load_model(str(graph), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location" and only in ("", tensor.name):
                entry.value = location
    graph.write_bytes(model.SerializeToString())
