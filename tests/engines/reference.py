"""What llama-cpp-python's own high-level class says, in a process of its own.

Reads {"model", "tokenizer"?, "chats"?, "complete"?} as JSON, answers {"ids": [...], "text": "..."}.
With a tokenizer.json the ids are those of Hugging Face's library.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ondevice.domain.model import ModelFile


def ask_for(file: ModelFile, model: Path, chats: list[Any]) -> list[list[int]]:
    """The ids of `chats` by another tokenizer than that of `file`'s engine; `model` is the GGUF."""
    tokenizer = str(file.path / "tokenizer.json") if file.engine == "onnx" else None
    ids: list[list[int]] = ask(model, tokenizer=tokenizer, chats=chats)["ids"]
    return ids


def ask(model: Path, **question: Any) -> dict[str, Any]:
    """Run this file as a script."""
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps({"model": str(model), **question}).encode(),
        capture_output=True,
        check=True,
        timeout=90,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main() -> None:
    import jinja2
    import tokenizers
    from llama_cpp import Llama

    question = json.load(sys.stdin)
    vocab_only = "complete" not in question
    llama = Llama(question["model"], vocab_only=vocab_only, n_ctx=512, verbose=False)
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(
        llama.metadata["tokenizer.chat_template"]
    )

    path = question.get("tokenizer")
    tokenizer = tokenizers.Tokenizer.from_file(path) if path else None

    def ids_of(messages: list[dict[str, str]]) -> list[int]:
        text = template.render(messages=messages, add_generation_prompt=True)
        if tokenizer is not None:
            ids: list[int] = tokenizer.encode(text).ids
            return ids
        return llama.tokenize(text.encode(), add_bos=False, special=True)

    answer: dict[str, Any] = {"ids": [ids_of(chat) for chat in question.get("chats", [])]}
    if not vocab_only:
        prompt = ids_of(question["complete"])
        made = llama.create_completion(prompt, temperature=0.0, max_tokens=question["max_tokens"])
        answer["text"] = made["choices"][0]["text"]
        answer["completion_tokens"] = made["usage"]["completion_tokens"]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
