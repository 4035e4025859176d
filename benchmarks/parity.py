"""The same weights in float32 through both native engines: where do greedy answers part?

The starter is dequantized twice: by llama.cpp's own quantizer into a GGUF file, and by gguf's
functions into the folder that the tests run on ONNX Runtime. What is left to differ is arithmetic:
the order of sums, and the type of the KV cache, which is float16 in llama.cpp.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from common import ONDEVICE, conditions, starter

from ondevice.hardware.temporary import temporary_folder

ROOT = Path(__file__).resolve().parent.parent
WRITE_FOLDER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from onnx_folder import write_smollm2
write_smollm2(Path(sys.argv[2]), Path(sys.argv[3]))
"""
"""In a process of its own, as beside this file another one is called `onnx`."""
PROMPTS = (
    "What is the capital of France?",
    "Name three rivers in Europe.",
    "Why is the sky blue?",
    "Write a sentence about the sea.",
    "How many legs does a spider have?",
    "Explain what a database is to a child.",
    "Give me a recipe for pancakes.",
    "Translate 'good morning' into Spanish.",
    "What is 17 plus 25?",
    "Who wrote Romeo and Juliet?",
    "List the planets of the solar system.",
    "What should I pack for a week in the mountains?",
    "Write a Python function that reverses a string.",
    "What is the difference between weather and climate?",
    "Tell me a short story about a fox.",
    "How do I boil an egg?",
    "Describe the colour red to somebody who cannot see.",
    "What is photosynthesis?",
    "Suggest a name for a small bakery.",
    "Summarize the story of Cinderella in two sentences.",
)


def main() -> None:
    """Make both, compare them, and say how far each is from the other over a text."""
    conditions()
    with temporary_folder() as folder:
        gguf, onnx = folder / "starter-F32.gguf", folder / "starter-onnx-float32"
        quantize = [sys.executable, str(ROOT / "scripts" / "quantize.py"), "gguf"]
        subprocess.run(
            [*quantize, str(starter()), str(gguf), "F32"], check=True, capture_output=True
        )
        write = [sys.executable, "-P", "-c", WRITE_FOLDER, str(ROOT / "tests")]
        subprocess.run([*write, str(onnx), str(starter())], check=True)
        prompts = folder / "prompts.txt"
        prompts.write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
        for command in (
            ["compare", str(gguf), str(onnx), str(prompts), "--ctx", "1024"],
            ["perplexity", str(onnx), str(starter()), "--reference", str(gguf)],
        ):
            print("$ ondevice", *(each.removeprefix(f"{folder}/") for each in command), flush=True)
            subprocess.run([*ONDEVICE, *command], check=True)


if __name__ == "__main__":
    main()
