"""The ONNX engine from CLI to child and back, against a bare onnxruntime-genai loop.

Same folder, threads, context size, greedy, end tokens ignored. The bare loop is the library's own
`generate_next_token`, without text; ours also turns every token into text and sends it on. Then a
conversation, to see that a second turn evaluates only what is new.

The folder is what `scripts/quantize.sh` makes of a model for `onnx-int4`; name it in ONDEVICE_ONNX.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from common import conditions, ondevice_run, pair_count, pairs, report

from ondevice.domain.generation import (
    GREEDY,
    ChatMessage,
    GenerationDone,
    GenerationRequest,
    LoadOptions,
    Prompt,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.engines import registry
from ondevice.hardware import probe

TOKENS = 128
CONTEXT = 2048
THREADS = probe.usable_cores()
FIXED = ("--raw", "--threads", str(THREADS), "--ignore-eos", "-t", "0", "-c", str(CONTEXT))
QUESTIONS = ("Name a river.", "Where does it begin?", "And where does it end?")


def folder() -> Path:
    """The model folder; says how to make one where it is missing."""
    path = Path(os.environ.get("ONDEVICE_ONNX", ""))
    if not (path / "genai_config.json").is_file():
        sys.exit("set ONDEVICE_ONNX to a model folder (see benchmarks/onnx.py)")
    return path


def ours(model: Path) -> float:
    """Decode tok/s of `ondevice run` after a one-word prompt."""
    got = ondevice_run(model, "a", *FIXED, "-n", str(TOKENS))
    assert got["usage"]["completion_tokens"] == TOKENS
    assert (got["engine"], got["backend"]) == ("onnx", "cpu")
    return float(got["timings"]["decode_tok_per_s"])


def bare(model: Path) -> float:
    """Decode tok/s of the library's loop, in a process of its own."""
    command = [sys.executable, __file__, "--bare", str(model)]
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(json.loads(done.stdout))


def bare_loop(model: Path) -> float:
    """(n - 1) tokens over the seconds from the first to the n-th, as everywhere here."""
    import onnxruntime_genai as genai

    config = genai.Config(str(model))
    config.clear_providers()
    session = {"intra_op_num_threads": THREADS}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
    loaded = genai.Model(config)
    params = genai.GeneratorParams(loaded)
    # below min_length an end token cannot be chosen
    params.set_search_options(max_length=CONTEXT, min_length=CONTEXT, do_sample=False)
    generator = genai.Generator(loaded, params)
    generator.append_tokens(genai.Tokenizer(loaded).encode("a"))
    generator.generate_next_token()
    start = time.monotonic()
    for _ in range(TOKENS - 1):
        generator.generate_next_token()
        generator.get_next_tokens()
    return (TOKENS - 1) / (time.monotonic() - start)


def converse(model: Path) -> None:
    """Print what each turn evaluates, and how long its first token takes."""
    engine = registry.in_child("onnx")
    engine.load(ModelFile(model, "onnx", model.name), LoadOptions(n_ctx=CONTEXT))
    messages: list[ChatMessage] = []
    held = 0
    for question in QUESTIONS:
        messages.append(ChatMessage("user", question))
        text = ""
        for event in engine.generate(
            GenerationRequest(Prompt(messages=tuple(messages)), GREEDY, 32)
        ):
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, GenerationDone):
                usage, ttft_s = event.usage, event.timings.ttft_s or 0.0
                new = usage.prompt_tokens - held
                print(f"prompt {usage.prompt_tokens}, new {new}, evaluated "
                      f"{usage.evaluated_tokens}, first token {1000 * ttft_s:.0f} ms")  # fmt: skip
                held = usage.prompt_tokens + usage.completion_tokens - 1
        messages.append(ChatMessage("assistant", text))
    engine.close()


def main() -> None:
    """Decode in pairs, then a conversation."""
    if sys.argv[1:2] == ["--bare"]:
        print(bare_loop(Path(sys.argv[2])))
        return
    conditions()
    model = folder()
    found = pairs(lambda: ours(model), lambda: bare(model), pair_count(15))
    report(f"{model.name}: decode, bare onnxruntime-genai", found, 0.97, "tok/s")
    converse(model)


if __name__ == "__main__":
    main()
