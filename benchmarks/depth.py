"""Decode at depth: our choice of attention against llama-bench with its default flags.

On a CPU the default (flash attention on) gets slower with every token of context; see
docs/results.md. llama-bench without it is shown too, in a few pairs of its own: no choice of ours
can give more. What prefill loses by the choice is shown beside. The engine is kept, so that a
prompt is read once.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from common import conditions, llama_bench, pair_count, pairs, report, starter

from ondevice.domain.generation import (
    GREEDY,
    GenerationDone,
    GenerationRequest,
    LoadOptions,
    Prompt,
)
from ondevice.domain.model import ModelFile
from ondevice.engines import registry
from ondevice.gguf.shapes import temporary_shape
from ondevice.gguf.spec import SHAPES
from ondevice.hardware import probe

TOKENS = 32
FEW = 3
"""Pairs of llama-bench with itself."""
THREADS = probe.usable_cores()


def compare(name: str, model: Path, depth: int, bar: float, counts: tuple[int, int]) -> None:
    """One file at one depth, then llama-bench alone, and the prefill that leads there.

    `counts` are the pairs of our decode and of prefill.
    """
    engine = registry.in_child("llama.cpp")
    options = LoadOptions(n_ctx=depth + TOKENS + 64, threads=THREADS)
    engine.load(ModelFile(model, "llama.cpp", model.stem), options)

    def answer(prompt: tuple[int, ...], tokens: int) -> GenerationDone:
        request = GenerationRequest(Prompt(tokens=prompt), GREEDY, tokens, ignore_eos=True)
        return next(e for e in engine.generate(request) if isinstance(e, GenerationDone))

    draw = random.Random(depth)
    prompt = tuple(draw.randrange(1000, 10_000) for _ in range(depth))

    def decode() -> float:
        done = answer(prompt, TOKENS)
        assert done.usage.prompt_tokens == depth
        assert done.usage.completion_tokens == TOKENS
        return done.decode_tok_per_s or 0.0

    def prefill() -> float:
        answer((500, 501), 1)  # what is kept shares nothing with the prompt
        done = answer(prompt, 1)
        assert done.usage.evaluated_tokens == depth
        return done.prefill_tok_per_s or 0.0

    def bench(*flags: str) -> float:
        return float(llama_bench(model, "-t", str(THREADS), *flags)[0]["avg_ts"])

    deep = ("-p", "0", "-n", str(TOKENS), "-d", str(depth))
    found = pairs(decode, lambda: bench(*deep), counts[0])
    report(f"{name}: decode at {depth}", found, bar, "tok/s")
    few = min(FEW, counts[0])
    off, on = lambda: bench("-fa", "off", *deep), lambda: bench(*deep)
    found = pairs(off, on, few, warm_up=False)  # it warms up by itself
    report(f"{name}: llama-bench, -fa off / on", found, None, "tok/s")
    found = pairs(prefill, lambda: bench("-p", str(depth), "-n", "0"), counts[1])
    report(f"{name}: prefill {depth}", found, None, "tok/s")
    engine.close()


def main() -> None:
    """The real model at two depths, a full-attention shape at the deepest."""
    conditions()
    many, some, few = pair_count(15), pair_count(5), pair_count(3)
    compare("SmolLM2-135M Q4_1", starter(), 256, 1.15, (many, some))
    compare("SmolLM2-135M Q4_1", starter(), 2048, 1.4, (many, few))
    # eight layers, as the ratio does not depend on their number and 24 take half an hour
    spec = replace(SHAPES["llama-130m-mha"], name="llama-mha", n_layers=8, context=16384)
    with temporary_shape(spec, "Q4_0") as shape:
        compare("12-head full attention", shape, 8192, 2.0, (some, 1))


if __name__ == "__main__":
    main()
