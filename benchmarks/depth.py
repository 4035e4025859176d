"""Decode at depth: our choice of attention against llama-bench with its default flags.

On a CPU the default (flash attention on) gets slower with every token of context; see
docs/results.md. What prefill loses by our choice is shown beside.
"""

from __future__ import annotations

from pathlib import Path

from common import conditions, llama_bench, ondevice_run, pair_count, pairs, report, starter
from decode import prompt_of

from ondevice.gguf.shapes import temporary_shape
from ondevice.hardware import probe

TOKENS = 32
THREADS = str(probe.usable_cores())


def ours(model: Path, prompt: str, n_ctx: int) -> float:
    """Decode tok/s after `prompt`, with our own choices but a fixed thread count."""
    got = ondevice_run(
        model, prompt, "--raw", "--threads", THREADS, "-t", "0", "--ignore-eos",
        "-n", str(TOKENS), "-c", str(n_ctx),
    )  # fmt: skip
    return float(got["timings"]["decode_tok_per_s"])


def compare(name: str, model: Path, depth: int, bar: float, count: int) -> None:
    """One file at one depth, and the prefill that leads there."""
    n_ctx = depth + TOKENS + 64
    prompt = prompt_of(model, depth)

    def theirs() -> float:
        options = ("-t", THREADS, "-p", "0", "-n", str(TOKENS), "-d", str(depth))
        return float(llama_bench(model, *options)[0]["avg_ts"])

    report(
        f"{name}: decode at {depth}",
        pairs(lambda: ours(model, prompt, n_ctx), theirs, count),
        bar,
        "tok/s",
    )

    def prefill() -> float:
        got = ondevice_run(
            model, prompt, "--raw", "--threads", THREADS, "-n", "1", "-t", "0", "-c", str(n_ctx)
        )
        return float(got["timings"]["prefill_tok_per_s"])

    def their_prefill() -> float:
        return float(llama_bench(model, "-t", THREADS, "-p", str(depth), "-n", "0")[0]["avg_ts"])

    report(
        f"{name}: prefill {depth}", pairs(prefill, their_prefill, max(3, count // 3)), None, "tok/s"
    )


def main() -> None:
    """The real model at two depths, a full-attention shape at the deepest."""
    conditions()
    compare("SmolLM2-135M Q4_1", starter(), 256, 1.15, pair_count(15))
    compare("SmolLM2-135M Q4_1", starter(), 2048, 1.4, pair_count(15))
    with temporary_shape("llama-130m-mha", "Q4_0") as shape:
        compare("12-head full attention", shape, 8192, 2.0, pair_count(5))


if __name__ == "__main__":
    main()
