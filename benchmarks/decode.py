"""Decode and prefill from CLI to child and back, against llama-bench and llama-server.

Same file, threads, flash attention, repacking and context size; greedy; adaptive threads off.
llama-bench neither samples nor detokenizes; llama-server does both. llama-bench makes its context
no larger than its test, so the size that people use is shown beside.
"""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import (
    conditions,
    llama_bench,
    ondevice_run,
    pair_count,
    pairs,
    report,
    starter,
    yardstick,
)

from ondevice.gguf.shapes import temporary_shape
from ondevice.hardware import probe

TOKENS = 128
PROMPT_TOKENS = 512
THREADS = str(probe.usable_cores())
FIXED = ("--raw", "--threads", THREADS, "--flash-attention", "off", "--ignore-eos")
SERVED = 2048
"""Context of llama-server and of the prompts."""
SMALLEST = 256
"""Context of llama-bench for 128 tokens, after its rounding."""
GREEDY = ("-t", "0")


def ours(model: Path, n_ctx: int, *sampling: str) -> float:
    """Decode tok/s of `ondevice run` after a one-word prompt."""
    got = ondevice_run(model, "a", *FIXED, "-c", str(n_ctx), "-n", str(TOKENS), *sampling)
    assert got["usage"]["completion_tokens"] == TOKENS
    return float(got["timings"]["decode_tok_per_s"])


def ours_prefill(model: Path, prompt: str) -> float:
    """Prefill tok/s of `ondevice run`."""
    got = ondevice_run(model, prompt, *FIXED, "-c", str(SERVED), "-n", "1", *GREEDY)
    assert got["usage"]["cached_tokens"] == 0
    return float(got["timings"]["prefill_tok_per_s"])


def prompt_of(model: Path, tokens: int) -> str:
    """A text of exactly `tokens` tokens."""
    size, tail = tokens, ""
    for _ in range(30):
        text = "a" + " a" * (size - 1) + tail
        got = ondevice_run(model, text, *FIXED, "-c", str(2 * tokens + 64), "-n", "1", *GREEDY)
        missing = tokens - got["usage"]["prompt_tokens"]
        if missing == 0:
            return text
        if abs(missing) == 1:  # where a word is two tokens
            size, tail = size - (missing < 0), tail + "b"
        else:
            size += missing // 2 or -1
    raise AssertionError(f"no text of {tokens} tokens was found")


def bench(model: Path, prompt: int, generate: int) -> float:
    """tok/s of llama-bench."""
    options = ("-t", THREADS, "-fa", "off", "-p", str(prompt), "-n", str(generate))
    return float(llama_bench(model, *options)[0]["avg_ts"])


@contextmanager
def server(model: Path) -> Iterator[str]:
    """A llama-server on the loopback with the same settings."""
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        port = probe_socket.getsockname()[1]
    command = [str(yardstick("llama-server")), "-m", str(model), "-t", THREADS, "-fa", "off",
               "-c", str(SERVED), "-np", "1", "--port", str(port), "--no-webui"]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "listening" in line:
                break
        process.stderr.close()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def ask(address: str) -> float:
    """Decode tok/s of llama-server for the same request."""
    body = {"prompt": "a", "n_predict": TOKENS, "temperature": 0, "ignore_eos": True,
            "cache_prompt": False}  # fmt: skip
    request = urllib.request.Request(
        f"{address}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return float(json.load(answer)["timings"]["predicted_per_second"])


def compare(name: str, model: Path, count: int) -> None:
    """All arms for one file."""

    def bench_decode() -> float:
        return bench(model, 0, TOKENS)

    decode = pairs(lambda: ours(model, SMALLEST, *GREEDY), bench_decode, count)
    report(f"{name}: decode, llama-bench", decode, 0.97, "tok/s")
    larger = pairs(lambda: ours(model, SERVED, *GREEDY), bench_decode, count)
    report(f"{name}: the same, context of {SERVED}", larger, None, "tok/s")
    with server(model) as address:
        found = pairs(lambda: ours(model, SERVED, *GREEDY), lambda: ask(address), count)
        report(f"{name}: decode, llama-server", found, 1.0, "tok/s")
    prompt = prompt_of(model, PROMPT_TOKENS)
    prefill = pairs(
        lambda: ours_prefill(model, prompt), lambda: bench(model, PROMPT_TOKENS, 0), count
    )
    report(f"{name}: prefill {PROMPT_TOKENS}, llama-bench", prefill, 0.97, "tok/s")
    sampled = pairs(lambda: ours(model, SMALLEST), bench_decode, count)
    report(f"{name}: decode, default sampling", sampled, None, "tok/s")


def main() -> None:
    """Both files."""
    conditions()
    count = pair_count(15)
    compare("SmolLM2-135M Q4_1", starter(), count)
    with temporary_shape("qwen2.5-0.5b", "Q4_0") as shape:
        compare("Qwen2.5-0.5B shape Q4_0", shape, count)


if __name__ == "__main__":
    main()
