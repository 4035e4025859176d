"""The steps of scripts/quantize.sh that are no single command.

quantize.py gguf INPUT OUTPUT TYPE [IMATRIX]   llama.cpp's quantizer
quantize.py folder INPUT OUTPUT                a GGUF file as a Hugging Face folder, in float32, and
                                                   as OUTPUT.ids how its tokenizer reads a text
quantize.py reads INPUT IDS                    whether the GGUF file's own reads it alike
quantize.py table SOURCE RESULT...             what each result costs, how good and how fast it
                                                   is, and its entry for a catalogue
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TYPES = {"Q4_0": 2, "Q8_0": 7, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18, "IQ4_XS": 30, "F32": 0}
"""llama.cpp's numbers of them; F32 is for comparing the very same weights in another engine."""
TEXT = """Rivers run to the sea: 3 of them, 42 or 2,048. I've been told it's "so", isn't it?
\tdef grün(x):\n\t\treturn x ** 2  # 数字 и слова, naïve café 🙂\n\n\n    HELLO   World...
"""
"""Letters, numbers, spaces and signs that tokenizers split in different ways."""
PROMPT = "Rivers run to the sea, and the sea is never full. " * 24
ANSWER = 64


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


def size_of(path: Path) -> int:
    """Bytes of a file, or of the weights in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.iterdir() if ".onnx" in each.name)


def ondevice(*arguments: str) -> dict[str, Any] | None:
    """The document of a command; None where it failed, of which it has said why."""
    command = [sys.executable, "-m", "ondevice.cli.main", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    document: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return document


def speed(path: Path) -> dict[str, Any]:
    """The timings of one answer."""
    options = ("--raw", "--ignore-eos", "-t", "0", "-n", str(ANSWER), "-c", "1024")
    answer = ondevice("run", "-m", str(path), *options, PROMPT)
    if answer is None:
        sys.exit(f"quantize: {path.name} does not answer")
    timings: dict[str, Any] = answer["timings"]
    return timings


def quality(source: Path, paths: list[Path]) -> list[dict[str, Any]]:
    """Of the source and of each result; without a number where none was to be had."""
    judged = ondevice("perplexity", *map(str, paths), "--reference", str(source))
    unknown: list[dict[str, Any]] = [{"perplexity": None, "divergence": None}] * (1 + len(paths))
    return judged["models"] if judged else unknown


def table(source: Path, paths: list[Path]) -> None:
    """One row a result, after that of its source: bytes, bits per weight, perplexity over a text of
    our own, KL divergence from the source, decode and prefill tok/s of one run."""
    parameters = parameters_of(source)
    columns = f"{'perplexity':>16} {'KL':>17} {'decode':>8} {'prefill':>8}"
    print(f"{'result':<36} {'bytes':>13} {'bits/weight':>11} {columns}")
    for path, judged in zip([source, *paths], quality(source, paths), strict=True):
        timings, size, apart = speed(path), size_of(path), judged["divergence"]
        bits = f"{8 * size / parameters:.2f}" if parameters else "unknown"
        perplexity = estimate(judged["perplexity"])
        lost = "source" if path == source else estimate(apart and apart["mean"])
        decode, prefill = timings["decode_tok_per_s"], timings["prefill_tok_per_s"]
        print(
            f"{path.name:<36} {size:>13,} {bits:>11} {perplexity:>16} {lost:>17} "
            f"{decode:>8.1f} {prefill:>8.1f}"
        )


def estimate(of: dict[str, float] | None) -> str:
    """With its standard error."""
    from ondevice import units

    return units.estimate(of["value"], of["standard_error"]) if of else units.UNKNOWN


def entries(paths: list[Path]) -> None:
    """What a models.toml says of each; where it is given away is for its maker to fill in."""
    for path in paths:
        gguf = path.is_file()
        kind = "llama.cpp" if gguf else "onnx"
        print(f"\n[[model.files]]\nengine = '{kind}'")
        print(f"quantization = '{path.name.removesuffix('.gguf').rpartition('-')[2]}'")
        print(f"repository = 'OWNER/NAME'\npath = '{path.name}'")
        print(f"size_bytes = {size_of(path)}")
        if gguf:
            with path.open("rb") as file:
                print(f"sha256 = '{hashlib.file_digest(file, 'sha256').hexdigest()}'")


def parameters_of(path: Path) -> int | None:
    """As the header of a GGUF file counts them."""
    from ondevice.gguf.header import read_header

    return read_header(path).tensors.parameters if path.is_file() else None


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
        source, *paths = (Path(each) for each in arguments)
        table(source, paths)
        entries(paths)


if __name__ == "__main__":
    main()
