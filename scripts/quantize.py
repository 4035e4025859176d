"""The steps of scripts/quantize.sh that are no single command.

quantize.py gguf INPUT OUTPUT TYPE [IMATRIX]   llama.cpp's quantizer
quantize.py folder INPUT OUTPUT                a GGUF file as a Hugging Face folder, in float32, and
                                                   as OUTPUT.ids how its tokenizer reads a text
quantize.py reads INPUT IDS                    whether the GGUF file's own reads it alike
quantize.py room INPUT TYPE...                 bytes of disk that making these takes at most
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
from pathlib import Path

TYPES = {"Q4_0": 2, "Q8_0": 7, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18, "IQ4_XS": 30, "F32": 0}
"""llama.cpp's numbers of them; F32 is for comparing the very same weights in another engine."""
TEXT = """Rivers run to the sea: 3 of them, 42 or 2,048. I've been told it's "so", isn't it?
\tdef grün(x):\n\t\treturn x ** 2  # 数字 и слова, naïve café 🙂\n\n\n    HELLO   World...
"""
"""Letters, numbers, spaces and signs that tokenizers split in different ways."""
SMALL_FILES = 64 << 20
"""Vocabularies, graphs and headers."""


def quantize(source: str, target: str, kind: str, matrix: str | None = None) -> None:
    """Write `source` in the quantization `kind`. A source that is quantized already loses twice."""
    import imatrix
    import llama_cpp

    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = TYPES[kind]
    params.nthread = len(os.sched_getaffinity(0))
    params.allow_requantize = True
    kept = imatrix.weigh(params, Path(source), Path(matrix)) if matrix else None
    failed = llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params))
    del kept  # llama.cpp has only pointers to it
    if failed:
        sys.exit(f"quantize: llama.cpp did not quantize {source} (code {failed})")


def to_folder(source: str, target: str) -> None:
    """Take a GGUF file apart: its weights in float32, its config, its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(source)
    named = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(**named, dtype=torch.float32)
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(model.state_dict())
    fresh.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(**named)
    tokenizer.save_pretrained(target)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    Path(f"{target}.ids").write_text(json.dumps(ids))


def reads_alike(source: str, said: str) -> None:
    """Tell where a tokenizer that was made of a GGUF file's vocabulary splits text unlike it."""
    import llama_cpp

    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(source.encode(), params)
    if not model:
        sys.exit(f"quantize: llama.cpp does not open {source}")
    data = TEXT.encode()
    ids = (llama_cpp.llama_token * len(data))()
    vocab = llama_cpp.llama_model_get_vocab(model)
    count = llama_cpp.llama_tokenize(vocab, data, len(data), ids, len(ids), False, False)
    llama_cpp.llama_model_free(model)
    if ids[:count] != json.loads(Path(said).read_text()):
        print(
            "quantize: transformers splits text in other tokens than this GGUF file says. Where\n"
            "          the model has a Hugging Face folder of its own, that is the better INPUT.",
            file=sys.stderr,
        )


def room(source: str, *kinds: str) -> int:
    """Bytes of disk that making `kinds` of `source` takes at most, with what is made on the way.

    A folder is first a GGUF file of float16, which also the table needs; a GGUF file is first a
    folder of float32 for onnx-int4. No GGUF type has more than the 8.5 bits a weight of Q8_0. An
    int4 folder keeps its embedding in float32.
    """
    parameters, embedding = counted(Path(source))
    folder, onnx = Path(source).is_dir(), "onnx-int4" in kinds
    needed = sum(parameters * 11 // 10 for kind in kinds if kind != "onnx-int4")
    needed += 2 * parameters * folder
    needed += (4 * embedding + parameters + 4 * parameters * (not folder)) * onnx
    return needed and needed + SMALL_FILES


def counted(source: Path) -> tuple[int, int]:
    """All parameters of a model, and those of its embedding, as the headers of its files say."""
    from ondevice.errors import ModelTrouble
    from ondevice.gguf.header import read_model

    try:
        if source.is_dir():
            return counted_folder(source)
        header = read_model(parts_of(source))
    except ModelTrouble as error:
        sys.exit(f"quantize: {source}: {error.message}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"quantize: {source} is no model that can be read: {error!r}")
    parameters = header.tensors.parameters
    return parameters, (header.vocab or 0) * (header.n_embd or 0) or parameters


def counted_folder(source: Path) -> tuple[int, int]:
    """The same of a Hugging Face folder; one without safetensors is taken for float16."""
    config = json.loads((source / "config.json").read_text())
    config = config.get("text_config", config)
    parameters = sum(counted_safetensors(each) for each in source.glob("*.safetensors"))
    if not parameters:
        parameters = sum(each.stat().st_size for each in source.iterdir() if each.is_file()) // 2
    return parameters, config.get("vocab_size", 0) * config.get("hidden_size", 0) or parameters


def counted_safetensors(path: Path) -> int:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(each["shape"]) for name, each in header.items() if name[:1] != "_")


def parts_of(source: Path) -> tuple[Path, ...]:
    """All files of a GGUF model that may be split."""
    from ondevice.domain.model import ModelFile

    return ModelFile(source, "llama.cpp", source.name).paths


def main() -> None:
    """One step."""
    step, *arguments = sys.argv[1:]
    if step == "gguf":
        quantize(*arguments)
    elif step == "folder":
        to_folder(*arguments)
    elif step == "reads":
        reads_alike(*arguments)
    else:
        print(room(*arguments))


if __name__ == "__main__":
    main()
