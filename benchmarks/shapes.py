"""What this machine does with models it has not downloaded: random weights of their exact shape."""

from __future__ import annotations

from common import conditions, ondevice_run

from ondevice import units
from ondevice.gguf.shapes import temporary_shape

SHAPES = (
    ("phi-3-mini", "Q4_0"),
    ("gemma-2b", "Q4_0"),
    ("qwen2.5-0.5b", "Q4_0"),
    ("mamba-130m", "Q4_0"),
    ("rwkv7-0.1b", "Q8_0"),
)
PROMPT = "a" * 128
TOKENS = 32


def main() -> None:
    """One row a shape."""
    conditions()
    for name, quantization in SHAPES:
        with temporary_shape(name, quantization) as path:
            options = ("--raw", "-t", "0", "--ignore-eos", "-n", str(TOKENS), "-c", "1024")
            got = ondevice_run(path, PROMPT, *options)
        usage, timings, memory = got["usage"], got["timings"], got["memory"]
        assert usage["completion_tokens"] == TOKENS
        assert got["cost_avoided"] is None  # noise avoids nothing
        print(
            f"{name:<14}{quantization:<6}"
            f" prefill {usage['prompt_tokens']}: {units.rate(timings['prefill_tok_per_s']):>11}"
            f"  decode {units.rate(timings['decode_tok_per_s']):>11}"
            f"  load {units.duration(timings['load_s']):>7}"
            f"  private {units.size(memory['peak_private_bytes']):>7}"
            f"  pages {units.size(memory['model_pages_bytes']):>7}",
            flush=True,
        )


if __name__ == "__main__":
    main()
